//! Cast: <https://onnx.ai/onnx/operators/onnx__Cast.html>.

use serde::{Deserialize, Serialize};

use super::tensor::DType;

/// The elements in another type: floats toward zero into integers, anything but zero is true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cast {
    /// The type.
    pub to: DType,
}
