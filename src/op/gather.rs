//! Gather: <https://onnx.ai/onnx/operators/onnx__Gather.html>.

use serde::{Deserialize, Serialize};


/// `y[…, j…, …] = x[…, indices[j…], …]` along `axis`. Inputs: `x`, `indices` (negative ones count from the end).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gather {
    /// The axis, counted from the front.
    pub axis: usize,
}
