//! GatherElements: <https://onnx.ai/onnx/operators/onnx__GatherElements.html>.

use serde::{Deserialize, Serialize};

use super::places;
use super::quant::QuantTensor;
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// `y[…, i, …] = x[…, indices[…, i, …], …]` along `axis`, of the shape of `indices`. Inputs: `x`, `indices` (of `x`'s
/// rank, along no other axis longer than `x`; negative ones count from the end).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatherElements {
    /// The axis, counted from the front.
    pub axis: usize,
}

impl Operator for GatherElements {
    const ONNX: &'static [&'static str] = &["GatherElements", "TopK"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=2)?;
        let (x, indices) = (inputs[0], inputs[1]);
        expect::axis(self.axis, x)?;
        places::expect_indices(indices)?;
        places::expect_within(self.axis, x, indices)?;
        Ok(vec![TensorType::new(x.dtype, indices.shape.clone())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let sources = places::along(self.axis, &inputs[0].shape, inputs[1])?;
        Ok(vec![Values::new(
            ty.shape,
            inputs[0].data.gather(sources.into_iter()),
        )])
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
        if let Some(indices) = inputs[1].data.as_deref() {
            let sources = places::along(self.axis, &x.ty.shape, indices)?;
            return places::lower_picks(&sources, 1, x, y);
        }
        places::lower_elements(self.axis, inputs, y)
    }
}
