//! A product with constant weights: what `Gemm` and `MatMul` become.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams};
use crate::target::Target;

/// `y[…, o] = clamp(b[o] + Σ x[…, i]·weights[o, i])`.
///
/// Inputs: `x […, in]`, `weights [out, in]`, optionally `bias [out]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dense {
    /// The activation fused behind it.
    pub clamp: Clamp,
}

impl Operator for Dense {
    const ONNX: &'static [&'static str] = &["Gemm", "MatMul"];
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
