//! Delay (domain `ai.tinsmith`): gives out what came in one inference before. The operator that keeps state.

use serde::{Deserialize, Serialize};

use super::lower::{KernelCall, Operand};
use super::quant::QuantTensor;
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use super::{movement, rescale};
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
        let (x, count) = (
            rescale::activation(inputs.first().copied(), "input")?,
            outputs[0].ty.len(),
        );
        let record = tinsmith_runtime::format::Delay {
            count: movement::fitting(count)?,
            initial: movement::fitting(x.zero_point)?,
            ..Default::default()
        };
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let delay = KernelCall {
            state_bytes: count,
            in_place: vec![0],
            ..KernelCall::new(Layer::Delay(record), vec![source], Vec::new())
        };
        let table = movement::table_between(inputs[0], outputs[0])?;
        let table = table.map(|table| movement::table_call(Operand::Output, table, count));
        Ok(Lowered {
            calls: std::iter::once(Ok(delay))
                .chain(table)
                .collect::<Result<_, _>>()?,
            ..Lowered::default()
        })
    }
}
