//! AveragePool and GlobalAveragePool: <https://onnx.ai/onnx/operators/onnx__AveragePool.html>, channels-last.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{
    Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams, Window, expect, window::pooled,
};
use crate::target::Target;

/// The mean of each window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AveragePool {
    /// Kernel, strides, dilations, padding.
    pub window: Window,
    /// Whether padding counts, as zeros, in the window's size.
    pub count_include_pad: bool,
    /// Rows at the bottom and columns at the right that only `ceil_mode` added to the padding; they never count.
    #[serde(default)]
    pub ceil_pads: [usize; 2],
    /// The activation fused behind it.
    pub clamp: Clamp,
}

impl Operator for AveragePool {
    const ONNX: &'static [&'static str] = &["AveragePool", "GlobalAveragePool"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        expect::rank("x", inputs[0], 4)?;
        expect::float("x", inputs[0])?;
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
