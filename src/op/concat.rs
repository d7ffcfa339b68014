//! Concat: <https://onnx.ai/onnx/operators/onnx__Concat.html>.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams};
use crate::target::Target;

/// The inputs one after the other along `axis`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concat {
    /// The axis, counted from the front.
    pub axis: usize,
}

impl Operator for Concat {
    const ONNX: &'static [&'static str] = &["Concat"];
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
