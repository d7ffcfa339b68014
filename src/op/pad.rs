//! Pad: <https://onnx.ai/onnx/operators/onnx__Pad.html>.

use serde::{Deserialize, Serialize};


/// What stands outside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum PadMode {
    /// One value.
    Constant(f32),
    /// The edge, repeated.
    Edge,
    /// The inside, mirrored without repeating the edge.
    Reflect,
}

/// The input, surrounded. Negative pads were turned into slices at import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pad {
    /// Elements before, per axis.
    pub before: Vec<usize>,
    /// Elements after, per axis.
    pub after: Vec<usize>,
    /// What stands there.
    pub mode: PadMode,
}
