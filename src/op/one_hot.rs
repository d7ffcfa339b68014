//! OneHot: <https://onnx.ai/onnx/operators/onnx__OneHot.html>.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::ranking::around;
use super::tensor::{DType, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// A new axis of `depth` in which every index puts one element apart. Inputs: `indices` (numbers; negative ones count
/// from the end, those out of range and those between integers put none apart), `values` (all others', and that one's).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OneHot {
    /// The new axis, counted in the output.
    pub axis: usize,
    /// Its extent.
    pub depth: usize,
}

impl Operator for OneHot {
    const ONNX: &'static [&'static str] = &["OneHot"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=2)?;
        let (indices, values) = (inputs[0], inputs[1]);
        if matches!(indices.dtype, DType::Bool | DType::Narrow(_)) {
            return Err(OpError::new(format!(
                "numbers as indices wanted, {indices} found"
            )));
        }
        expect::shape("values", values, &[2])?;
        let mut shape = indices.shape.clone();
        if self.axis > shape.len() {
            return Err(OpError::new(format!(
                "a new axis of at most {} wanted, {} found",
                shape.len(),
                self.axis
            )));
        }
        shape.insert(self.axis, self.depth);
        Ok(vec![TensorType::new(values.dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let (indices, values) = (inputs[0], inputs[1]);
        let places: Vec<f64> = match indices.to_i64() {
            Some(ints) => ints.into_iter().map(|index| index as f64).collect(),
            None => indices.to_f64(),
        };
        let depth = self.depth as f64;
        let [outer, extent, inner] = around(&ty.shape, self.axis);
        let picks = (0..outer * extent * inner).map(|at| {
            let (o, k, i) = (at / inner / extent, at / inner % extent, at % inner);
            let place = places[o * inner + i];
            let place = if place < 0.0 { place + depth } else { place };
            usize::from(place == k as f64)
        });
        Ok(vec![Values::new(ty.shape, values.data.gather(picks))])
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::Observed
    }

    fn output_range(&self, observed: Range) -> Range {
        observed
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new("one-hot codes of computed indices have no kernel")
            .with_help("take rows of an identity matrix with Gather instead")
            .into())
    }

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}
