//! Conv: <https://onnx.ai/onnx/operators/onnx__Conv.html>, two spatial axes, channels-last.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams, Window};
use crate::target::Target;

/// `y[n,h,w,o] = clamp(b[o] + Σ x[n, h·s+ky·d−p, …, i]·weights[o,ky,kx,i])`.
///
/// Inputs: `x [n, h, w, c]`, `weights [out_c, kernel_h, kernel_w, c / groups]`, optionally `bias [out_c]`. Depthwise
/// where `groups = c`. One-dimensional convolutions have `h = 1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Kernel, strides, dilations, padding.
    pub window: Window,
    /// Channel groups.
    pub groups: usize,
    /// The activation fused behind it.
    pub clamp: Clamp,
}

impl Operator for Conv2d {
    const ONNX: &'static [&'static str] = &["Conv"];
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
