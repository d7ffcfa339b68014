//! QuantizeLinear and DequantizeLinear: <https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams};
use crate::target::Target;

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

impl Operator for QuantizeLinear {
    const ONNX: &'static [&'static str] = &["QuantizeLinear"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        unimplemented!("{inputs:?}")
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        unimplemented!("{inputs:?}")
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::Observed
    }

    fn output_range(&self, observed: Range) -> Range {
        observed
    }

    fn lower(
        &self,
        target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        unimplemented!("{target:?} {inputs:?} {outputs:?}")
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        unimplemented!("{inputs:?}")
    }
}

impl Operator for DequantizeLinear {
    const ONNX: &'static [&'static str] = &["DequantizeLinear"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        unimplemented!("{inputs:?}")
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        unimplemented!("{inputs:?}")
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::Observed
    }

    fn output_range(&self, observed: Range) -> Range {
        observed
    }

    fn lower(
        &self,
        target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        unimplemented!("{target:?} {inputs:?} {outputs:?}")
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        unimplemented!("{inputs:?}")
    }
}
