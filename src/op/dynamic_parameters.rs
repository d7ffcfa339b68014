//! DynamicQuantizeLinear: <https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html>.

use serde::{Deserialize, Serialize};

use super::quant::QuantTensor;
use super::tensor::{DType, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// `[scale, zero_point]`, f32, by which the range of `x` and zero becomes 0 to 255: `scale = (max − min) / 255`,
/// `zero_point = saturate(round_half_even(−min / scale))`. Where there is only zero, the scale is 1, as in ONNX Runtime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DynamicParameters {}

impl Operator for DynamicParameters {
    const ONNX: &'static [&'static str] = &["DynamicQuantizeLinear"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        expect::dtype("x", inputs[0], DType::F32)?;
        Ok(vec![TensorType::new(DType::F32, [2])])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0].as_f32().expect("the type check asked for f32");
        let min = x.iter().fold(0.0, |least: f32, &x| least.min(x));
        let max = x.iter().fold(0.0, |most: f32, &x| most.max(x));
        let scale = if min == max { 1.0 } else { (max - min) / 255.0 };
        let zero_point = (0.0 - min / scale).clamp(0.0, 255.0).round_ties_even();
        Ok(vec![Values::f32(ty.shape, vec![scale, zero_point])])
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(
            OpError::new("quantization by a range that is only met when running has no kernel")
                .with_help("quantize the model statically, or compile the float model")
                .into(),
        )
    }
}
