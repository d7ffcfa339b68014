//! QuantizeLinear and DequantizeLinear: <https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>.

use serde::{Deserialize, Serialize};


/// `y = saturate(round_half_even(x / scale) + zero_point)`.
///
/// Inputs: `x`, `scale` and `zero_point`, both of one element or of one per index of `axis`; the zero point's type
/// is the output's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizeLinear {
    /// The axis of per-axis parameters, counted from the front.
    pub axis: usize,
}

/// `y = (x − zero_point) · scale`. Inputs as [`QuantizeLinear`]'s; always with a zero point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DequantizeLinear {
    /// The axis of per-axis parameters, counted from the front.
    pub axis: usize,
}
