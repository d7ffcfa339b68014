//! Softmax: <https://onnx.ai/onnx/operators/onnx__Softmax.html>, along one axis (opset 13; older forms are reshaped at import).

use serde::{Deserialize, Serialize};


/// `y = exp(x − max x) / Σ exp(x − max x)` along `axis`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Softmax {
    /// The axis, counted from the front.
    pub axis: usize,
}
