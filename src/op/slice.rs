//! Slice: <https://onnx.ai/onnx/operators/onnx__Slice.html>, all axes resolved.

use serde::{Deserialize, Serialize};

use super::tensor::Shape;

/// `y[i…] = x[starts + i·steps …]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// First index of every axis.
    pub starts: Vec<usize>,
    /// Step of every axis; may be negative.
    pub steps: Vec<i64>,
    /// Extents of the output.
    pub shape: Shape,
}
