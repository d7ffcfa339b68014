//! Add, Sub, Mul, Div: <https://onnx.ai/onnx/operators/onnx__Add.html> and its neighbours, NumPy broadcasting.

use serde::{Deserialize, Serialize};

use super::Clamp;

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BinaryKind {
    Add,
    Sub,
    Mul,
    Div,
}

/// `y = clamp(a ∘ b)` elementwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binary {
    /// Which of the four.
    pub kind: BinaryKind,
    /// The activation fused behind it.
    pub clamp: Clamp,
}
