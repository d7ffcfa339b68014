//! Pad: <https://onnx.ai/onnx/operators/onnx__Pad.html>.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{Data, TensorType, Values, picked_indices, row_major_strides, strided_indices};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, cast, expect};
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
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        if let PadMode::Constant(value) = self.mode {
            // The elements, and behind them the one that stands everywhere else.
            let mut data = x.data.clone();
            data.append(&cast::convert(&Data::F32(vec![value]), x.data.dtype()));
            let mut sources = vec![x.data.len(); ty.len()];
            let strides = row_major_strides(&ty.shape);
            let base = strides
                .iter()
                .zip(&self.before)
                .map(|(stride, before)| stride * before)
                .sum();
            for (source, inside) in strided_indices(&x.shape, &strides, base).into_iter().enumerate() {
                sources[inside] = source;
            }
            return Ok(vec![Values::new(ty.shape, data.gather(sources.into_iter()))]);
        }
        let mirrored = self.mode == PadMode::Reflect;
        let picks: Vec<Vec<usize>> = (0..x.shape.len())
            .map(|axis| picks(x.shape[axis], self.before[axis], ty.shape[axis], mirrored))
            .collect();
        let data = x.data.gather(picked_indices(&x.shape, &picks).into_iter());
        Ok(vec![Values::new(ty.shape, data)])
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

/// Where each of `padded` places along an axis takes its element from, of `extent` that begin after `before`.
fn picks(extent: usize, before: usize, padded: usize, mirrored: bool) -> Vec<usize> {
    let last = extent.saturating_sub(1);
    (0..padded)
        .map(|place| match place.checked_sub(before) {
            None if mirrored => before - place,
            None => 0,
            Some(inside) if inside <= last => inside,
            Some(beyond) if mirrored => 2 * last - beyond,
            Some(_) => last,
        })
        .collect()
}
