//! BatchNormalization: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>, inference, channels-last.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// `y[…, c] = (x[…, c] − mean[c]) / sqrt(variance[c] + epsilon) · scale[c] + bias[c]`.
///
/// Inputs: `x`, `scale`, `bias`, `mean`, `variance`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNormalization {
    /// Keeps the root from zero.
    pub epsilon: f32,
}

impl Operator for BatchNormalization {
    const ONNX: &'static [&'static str] = &["BatchNormalization"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 5..=5)?;
        let x = inputs[0];
        expect::float("x", x)?;
        let Some(&channels) = x.shape.last() else {
            return Err(OpError::new(format!("`x` of rank 1 or more wanted, {x} found")));
        };
        for (name, ty) in ["scale", "bias", "mean", "variance"]
            .into_iter()
            .zip(&inputs[1..])
        {
            expect::dtype(name, ty, x.dtype)?;
            expect::shape(name, ty, &[channels])?;
        }
        Ok(vec![x.clone()])
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
        inputs[0].len() as u64
    }
}
