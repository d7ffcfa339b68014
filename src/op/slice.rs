//! Slice: <https://onnx.ai/onnx/operators/onnx__Slice.html>, all axes resolved.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{Shape, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams};
use crate::target::Target;

/// `y[i…] = x[starts + i·steps …]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// First index of every axis.
    pub starts: Vec<usize>,
    /// Step of every axis; may be negative.
    pub steps: Vec<i64>,
    /// Extents of the output.
    pub shape: Shape,
}

impl Operator for Slice {
    const ONNX: &'static [&'static str] = &["Slice"];
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
