//! ReduceMean: <https://onnx.ai/onnx/operators/onnx__ReduceMean.html>.

use serde::{Deserialize, Serialize};

use super::element::Real;
use super::quant::{QuantTensor, Range};
use super::tensor::{Data, TensorType, Values, broadcast_indices};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// The mean over `axes`, which stay as extents of 1 (a reshape follows where the model drops them).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReduceMean {
    /// The axes, ascending, counted from the front.
    pub axes: Vec<usize>,
}

impl Operator for ReduceMean {
    const ONNX: &'static [&'static str] = &["ReduceMean"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        expect::float("x", inputs[0])?;
        let mut shape = inputs[0].shape.clone();
        for &axis in &self.axes {
            expect::axis(axis, inputs[0])?;
            shape[axis] = 1;
        }
        if !self.axes.is_sorted_by(|a, b| a < b) {
            return Err(OpError::new(format!(
                "ascending axes wanted, {:?} found",
                self.axes
            )));
        }
        Ok(vec![TensorType::new(inputs[0].dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        // Where each element goes: the output's index of the axes that stay, in the order of the input.
        let places = broadcast_indices(&ty.shape, &x.shape);
        let data = match &x.data {
            Data::F32(v) => Data::F32(mean(v, &places, ty.len())),
            Data::F64(v) => Data::F64(mean(v, &places, ty.len())),
            Data::I8(_) | Data::U8(_) | Data::I16(_) | Data::I32(_) | Data::I64(_) | Data::Bool(_) => {
                return Err(OpError::new(format!("f32 or f64 wanted, {} found", x.ty())));
            }
        };
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

/// Means of the elements that share a place: sums in f64, in the order of the input, rounded once.
fn mean<T: Real>(x: &[T], places: &[usize], len: usize) -> Vec<T> {
    let mut sums = vec![0.0; len];
    for (x, &place) in x.iter().zip(places) {
        sums[place] += x.to_f64();
    }
    let count = x.len() as f64 / len as f64;
    sums.into_iter().map(|sum| T::from_f64(sum / count)).collect()
}
