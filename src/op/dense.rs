//! A product with constant weights: what `Gemm` and `MatMul` become.

use serde::{Deserialize, Serialize};

use super::Clamp;

/// `y[…, o] = clamp(b[o] + Σ x[…, i]·weights[o, i])`.
///
/// Inputs: `x […, in]`, `weights [out, in]`, optionally `bias [out]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dense {
    /// The activation fused behind it.
    pub clamp: Clamp,
}
