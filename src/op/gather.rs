//! Gather: <https://onnx.ai/onnx/operators/onnx__Gather.html>.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{DType, TensorType, Values, picked_indices};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// `y[…, j…, …] = x[…, indices[j…], …]` along `axis`. Inputs: `x`, `indices` (negative ones count from the end).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gather {
    /// The axis, counted from the front.
    pub axis: usize,
}

impl Operator for Gather {
    const ONNX: &'static [&'static str] = &["Gather"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=2)?;
        let (x, indices) = (inputs[0], inputs[1]);
        expect::axis(self.axis, x)?;
        if !matches!(indices.dtype, DType::I32 | DType::I64) {
            return Err(OpError::new(format!(
                "`indices` of i32 or i64 wanted, {indices} found"
            )));
        }
        let shape = [&x.shape[..self.axis], &indices.shape, &x.shape[self.axis + 1..]].concat();
        Ok(vec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let (x, axis) = (inputs[0], self.axis);
        let extent = x.shape[axis];
        let indices = inputs[1].to_i64().expect("the type check asked for integers");
        let rows: Result<Vec<usize>, OpError> = indices
            .iter()
            .map(|&index| {
                // i128: adding the extent to an index of i64 cannot overflow it.
                let index = index as i128;
                let from_front = if index < 0 { index + extent as i128 } else { index };
                usize::try_from(from_front)
                    .ok()
                    .filter(|&i| i < extent)
                    .ok_or_else(|| {
                        OpError::new(format!(
                            "indices from -{extent} up to but not {extent} wanted, {index} found"
                        ))
                    })
            })
            .collect();
        let inner: usize = x.shape[axis + 1..].iter().product();
        let outer: usize = x.shape[..axis].iter().product();
        let picks = picked_indices(
            &[outer, extent, inner],
            &[(0..outer).collect(), rows?, (0..inner).collect()],
        );
        Ok(vec![Values::new(ty.shape, x.data.gather(picks.into_iter()))])
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
