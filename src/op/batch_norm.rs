//! BatchNormalization: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>, inference, channels-last.

use serde::{Deserialize, Serialize};


/// `y[…, c] = (x[…, c] − mean[c]) / sqrt(variance[c] + epsilon) · scale[c] + bias[c]`.
///
/// Inputs: `x`, `scale`, `bias`, `mean`, `variance`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNormalization {
    /// Keeps the root from zero.
    pub epsilon: f32,
}
