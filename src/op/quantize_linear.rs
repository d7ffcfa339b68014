//! QuantizeLinear and DequantizeLinear: <https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{DType, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
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
        check(self.axis, inputs)?;
        if !matches!(inputs[0].dtype, DType::F32 | DType::I32) {
            return Err(OpError::new(format!(
                "`x` of f32 or i32 wanted, {} found",
                inputs[0]
            )));
        }
        Ok(vec![TensorType::new(inputs[2].dtype, inputs[0].shape.clone())])
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

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}

impl Operator for DequantizeLinear {
    const ONNX: &'static [&'static str] = &["DequantizeLinear"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        check(self.axis, inputs)?;
        expect::dtype("x", inputs[0], inputs[2].dtype)?;
        Ok(vec![TensorType::new(DType::F32, inputs[0].shape.clone())])
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

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}

/// What both expect: an f32 scale and an integer zero point of the same size, one element or one per index.
fn check(axis: usize, inputs: &[&TensorType]) -> Result<(), OpError> {
    expect::count(inputs, 3..=3)?;
    let (x, scale, zero_point) = (inputs[0], inputs[1], inputs[2]);
    expect::dtype("scale", scale, DType::F32)?;
    if !matches!(zero_point.dtype, DType::I8 | DType::U8 | DType::I16 | DType::I32) {
        return Err(OpError::new(format!(
            "`zero_point` of i8, u8, i16 or i32 wanted, {zero_point} found"
        )));
    }
    expect::shape("zero_point", zero_point, &scale.shape)?;
    if scale.len() == 1 && scale.shape.len() <= 1 {
        return Ok(());
    }
    expect::axis(axis, x)?;
    expect::shape("scale", scale, &[x.shape[axis]])
}
