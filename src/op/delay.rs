//! Delay (domain `ai.tinsmith`): gives out what came in one inference before. The operator that keeps state.

use serde::{Deserialize, Serialize};

use super::lower::{KernelCall, Operand};
use super::quant::QuantTensor;
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use super::{movement, rescale, wide};
use crate::target::Target;
use tinsmith_runtime::kernels::Layer;

/// `y = state; state = x`; the state starts as zeros. In the reference executor, which keeps nothing between
/// samples, the input passes through: what the operator does to a steady signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delay {}

impl Operator for Delay {
    const ONNX: &'static [&'static str] = &["ai.tinsmith.Delay"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        expect::output(self, inputs)?;
        Ok(vec![inputs[0].clone()])
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::SameAsInput(0)
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let count = outputs[0].ty.len();
        let bytes = outputs[0].ty.bytes();
        let record = tinsmith_runtime::format::Delay {
            count: movement::fitting(bytes)?,
            initial: if wide::computes(inputs, outputs)? {
                initial_wide(inputs[0])?
            } else {
                let x = rescale::activation(inputs.first().copied(), "input")?;
                movement::fitting(x.zero_point)?
            },
            ..Default::default()
        };
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let delay = KernelCall {
            state_bytes: bytes,
            in_place: vec![0],
            ..KernelCall::new(Layer::Delay(record), vec![source], Vec::new())
        };
        let table = movement::change_between(inputs[0], outputs[0])?;
        let table = table.map(|change| change.call(Operand::Output, count));
        Ok(Lowered {
            calls: std::iter::once(Ok(delay))
                .chain(table)
                .collect::<Result<_, _>>()?,
            ..Lowered::default()
        })
    }
}

/// The byte that a state of int16 zeros consists of.
fn initial_wide(x: &QuantTensor) -> Result<i8, OpError> {
    let zero_point = x.params().map_or(0, |params| params.zero_point);
    match (zero_point as i16).to_le_bytes() {
        [low, high] if low == high => Ok(low as i8),
        _ => Err(OpError::new(format!(
            "it begins with zeros, which are the code {zero_point} in `{}`; a state of int16 begins with one byte all over",
            x.name
        ))
        .with_help("quantize its input with zero point 0")),
    }
}
