//! Slice: <https://onnx.ai/onnx/operators/onnx__Slice.html>, all axes resolved.

use serde::{Deserialize, Serialize};

use super::movement::{self, Move};
use super::quant::QuantTensor;
use super::runs::Runs;
use super::tensor::{Data, Shape, TensorType, Values, picked_indices, row_major_strides};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// `y[i…] = x[starts + i·steps …]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// First index of every axis.
    pub starts: Vec<usize>,
    /// Step of every axis; may be negative.
    pub steps: Vec<i64>,
    /// Extents of the output.
    pub shape: Shape,
}

impl Operator for Slice {
    const ONNX: &'static [&'static str] = &["Slice"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        let x = inputs[0];
        expect::one_per_axis("`starts`", self.starts.len(), x)?;
        expect::one_per_axis("`steps`", self.steps.len(), x)?;
        expect::one_per_axis("the shape", self.shape.len(), x)?;
        for (axis, &extent) in x.shape.iter().enumerate() {
            let (start, step, taken) = (self.starts[axis], self.steps[axis], self.shape[axis]);
            // i128: a start and a last index of i64 each, and their step, cannot overflow it.
            let last = start as i128 + step as i128 * (taken as i128 - 1);
            if step == 0 || taken > 0 && (start >= extent || !(0..extent as i128).contains(&last)) {
                return Err(OpError::new(format!(
                    "indices within {extent} wanted along axis {axis}, {taken} from {start} in steps of {step} found"
                )));
            }
        }
        Ok(vec![TensorType::new(x.dtype, self.shape.clone())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        let strides = row_major_strides(&x.shape);
        let Ok(steps) = self
            .steps
            .iter()
            .map(|&step| usize::try_from(step))
            .collect::<Result<Vec<_>, _>>()
        else {
            return Ok(vec![Values::new(ty.shape.clone(), self.backward(x, &ty.shape))]);
        };
        let first = self
            .starts
            .iter()
            .zip(&strides)
            .map(|(start, stride)| start * stride);
        let base = if ty.is_empty() { 0 } else { first.sum() };
        let strides: Vec<usize> = steps
            .iter()
            .zip(&strides)
            .map(|(step, stride)| step.saturating_mul(*stride))
            .collect();
        let data = x.data.gather_runs(&Runs::new(&ty.shape, [&strides]), base);
        Ok(vec![Values::new(ty.shape, data)])
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
        let strides = row_major_strides(&inputs[0].ty.shape);
        let moved = Move {
            from_strides: strides
                .iter()
                .zip(&self.steps)
                .map(|(&stride, &step)| stride as i64 * step)
                .collect(),
            from_offset: strides
                .iter()
                .zip(&self.starts)
                .map(|(stride, start)| stride * start)
                .sum(),
            ..Move::all(&self.shape)
        };
        movement::lower_move(&moved, inputs, outputs)
    }
}

impl Slice {
    /// The elements where some axis runs backward.
    fn backward(&self, x: &Values, shape: &[usize]) -> Data {
        let picks: Vec<Vec<usize>> = (0..shape.len())
            .map(|axis| {
                let (start, step) = (self.starts[axis], self.steps[axis]);
                // The type check proved every index to lie within the axis.
                (0..shape[axis])
                    .map(|i| (start as i64 + i as i64 * step) as usize)
                    .collect()
            })
            .collect();
        x.data.gather(picked_indices(&x.shape, &picks).into_iter())
    }
}
