//! Delay (domain `ai.tinsmith`): gives out what came in one inference before. The operator that keeps state.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

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
