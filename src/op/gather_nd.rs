//! GatherND: <https://onnx.ai/onnx/operators/onnx__GatherND.html>.

use serde::{Deserialize, Serialize};

use super::quant::QuantTensor;
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect, places};
use crate::target::Target;

/// `y[b…, j…] = x[b…, indices[b…, j…, 0], indices[b…, j…, 1], …]`: slices that tuples of indices name. Inputs: `x`,
/// `indices` (negative ones count from the end).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatherNd {
    /// Leading axes that `x` and `indices` share.
    pub batch_dims: usize,
}

impl Operator for GatherNd {
    const ONNX: &'static [&'static str] = &["GatherND"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=2)?;
        let (x, indices) = (inputs[0], inputs[1]);
        places::expect_indices(indices)?;
        let batch_dims = self.batch_dims;
        let shared = x.shape.get(..batch_dims);
        let (Some((&depth, tuples)), Some(shared)) = (indices.shape.split_last(), shared) else {
            return Err(OpError::new(format!(
                "tuples of indices behind {batch_dims} axes of {x} wanted, {indices} found"
            )));
        };
        let inner = x.shape.get(batch_dims.saturating_add(depth)..);
        let (Some(inner), true) = (inner, tuples.get(..batch_dims) == Some(shared)) else {
            return Err(OpError::new(format!(
                "tuples of indices into {x} behind {batch_dims} axes that both share wanted, {indices} found"
            )));
        };
        Ok(vec![TensorType::new(x.dtype, [tuples, inner].concat())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let (firsts, inner) = places::slices(self.batch_dims, &inputs[0].shape, inputs[1])?;
        let sources = firsts.into_iter().flat_map(|first| first..first + inner);
        Ok(vec![Values::new(ty.shape, inputs[0].data.gather(sources))])
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::SameAsInput(0)
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let (x, y) = (inputs[0], outputs[0]);
        let indices = inputs[1].data.as_deref().ok_or_else(|| {
            OpError::new("the indices are not constant")
                .with_help("make them part of the model, or use Gather along one axis")
        })?;
        let (firsts, inner) = places::slices(self.batch_dims, &x.ty.shape, indices)?;
        places::lower_picks(&firsts, inner, x, y)
    }
}
