//! Concat: <https://onnx.ai/onnx/operators/onnx__Concat.html>.

use serde::{Deserialize, Serialize};


/// The inputs one after the other along `axis`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concat {
    /// The axis, counted from the front.
    pub axis: usize,
}
