//! MaxPool: <https://onnx.ai/onnx/operators/onnx__MaxPool.html>, two spatial axes, channels-last.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{
    Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams, Window, expect, window::pooled,
};
use crate::target::Target;

/// The largest of each window; padding does not take part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaxPool {
    /// Kernel, strides, dilations, padding.
    pub window: Window,
    /// The activation fused behind it.
    pub clamp: Clamp,
}

impl Operator for MaxPool {
    const ONNX: &'static [&'static str] = &["MaxPool"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        expect::rank("x", inputs[0], 4)?;
        expect::number("x", inputs[0])?;
        pooled(&self.window, inputs[0])
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
