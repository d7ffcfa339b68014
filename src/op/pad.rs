//! Pad: <https://onnx.ai/onnx/operators/onnx__Pad.html>.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// What stands outside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum PadMode {
    /// One value.
    Constant(f32),
    /// The edge, repeated.
    Edge,
    /// The inside, mirrored without repeating the edge.
    Reflect,
}

/// The input, surrounded. Negative pads were turned into slices at import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pad {
    /// Elements before, per axis.
    pub before: Vec<usize>,
    /// Elements after, per axis.
    pub after: Vec<usize>,
    /// What stands there.
    pub mode: PadMode,
}

impl Operator for Pad {
    const ONNX: &'static [&'static str] = &["Pad"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        let x = inputs[0];
        expect::one_per_axis("`before`", self.before.len(), x)?;
        expect::one_per_axis("`after`", self.after.len(), x)?;
        let mut shape = x.shape.clone();
        for (axis, extent) in shape.iter_mut().enumerate() {
            let (before, after) = (self.before[axis], self.after[axis]);
            let most = match self.mode {
                PadMode::Constant(_) => usize::MAX,
                PadMode::Edge if *extent > 0 => usize::MAX,
                PadMode::Edge => 0,
                PadMode::Reflect => extent.saturating_sub(1),
            };
            if before > most || after > most {
                return Err(OpError::new(format!(
                    "at most {most} elements of padding wanted along axis {axis} of {x}, {before} and {after} found"
                )));
            }
            *extent = extent.saturating_add(before).saturating_add(after);
        }
        Ok(vec![TensorType::new(x.dtype, shape)])
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
