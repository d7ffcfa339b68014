//! Concat: <https://onnx.ai/onnx/operators/onnx__Concat.html>.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
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
        expect::count(inputs, 1..=usize::MAX)?;
        let first = inputs[0];
        expect::axis(self.axis, first)?;
        let mut joined = first.clone();
        for ty in &inputs[1..] {
            let mut apart = ty.shape.clone();
            if let Some(extent) = apart.get_mut(self.axis) {
                joined.shape[self.axis] = joined.shape[self.axis].saturating_add(*extent);
                *extent = first.shape[self.axis];
            }
            if apart != first.shape || ty.dtype != first.dtype {
                return Err(OpError::new(format!(
                    "inputs alike but for axis {} wanted, {first} and {ty} found",
                    self.axis
                )));
            }
        }
        Ok(vec![joined])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        // The inputs end to end, then their rows in turn: row r of every input, for every index of the leading axes.
        let mut ends = inputs[0].data.clone();
        for input in &inputs[1..] {
            ends.append(&input.data);
        }
        let leading: usize = ty.shape[..self.axis].iter().product();
        let mut indices = Vec::with_capacity(ends.len());
        for row in 0..leading {
            let mut first = 0;
            for input in inputs {
                let len: usize = input.shape[self.axis..].iter().product();
                indices.extend(first + row * len..first + (row + 1) * len);
                first += input.data.len();
            }
        }
        Ok(vec![Values::new(ty.shape, ends.gather(indices.into_iter()))])
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
