//! ReduceMean: <https://onnx.ai/onnx/operators/onnx__ReduceMean.html>.

use serde::{Deserialize, Serialize};


/// The mean over `axes`, which stay as extents of 1 (a reshape follows where the model drops them).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReduceMean {
    /// The axes, ascending, counted from the front.
    pub axes: Vec<usize>,
}
