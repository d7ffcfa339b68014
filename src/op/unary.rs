//! Functions of one value: <https://onnx.ai/onnx/operators/onnx__Sigmoid.html> and its neighbours.

use serde::{Deserialize, Serialize};

use super::Clamp;

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum UnaryKind {
    /// Relu and Clip: the value, limited.
    Clamp(Clamp),
    /// `1 / (1 + exp(−x))`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
}

/// `y = f(x)` elementwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unary {
    /// Which function.
    pub kind: UnaryKind,
}
