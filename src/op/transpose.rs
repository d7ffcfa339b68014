//! Transpose: <https://onnx.ai/onnx/operators/onnx__Transpose.html>.

use serde::{Deserialize, Serialize};


/// `y.shape[i] = x.shape[perm[i]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transpose {
    /// The permutation.
    pub perm: Vec<usize>,
}
