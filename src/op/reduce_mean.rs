//! ReduceMean: <https://onnx.ai/onnx/operators/onnx__ReduceMean.html>.

use serde::{Deserialize, Serialize};

use super::average_pool::Mean;
use super::data::with_reals;
use super::element::Element;
use super::element::Real;
use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values, broadcast_indices};
use super::window::MAX_EXTENT;
use super::{Clamp, Window, movement};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;
use std::collections::BTreeSet;

/// The mean over `axes`, which stay as extents of 1 (a reshape follows where the model drops them).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReduceMean {
    /// The axes, ascending, counted from the front.
    pub axes: Vec<usize>,
}

impl Operator for ReduceMean {
    const ONNX: &'static [&'static str] = &["ReduceMean"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[
        Constraint {
            text: "the averaged axes are neighbours",
            holds: |op, inputs| op.run(&inputs[0].shape).is_some(),
        },
        Constraint {
            text: "the axes before, among and behind the averaged ones have at most 65535 elements each",
            holds: |op, inputs| {
                let run = op.run(&inputs[0].shape);
                run.is_none_or(|run| run.iter().all(|&extent| extent <= MAX_EXTENT))
            },
        },
    ];

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
        let data = with_reals!(
            x.data, v => Element::data(mean(v, &places, ty.len())),
            else return Err(OpError::new(format!("reals wanted, {} found", x.ty())))
        );
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::SameAsInput(0)
    }

    fn output_range(&self, observed: Range) -> Range {
        observed
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let [outer, reduced, inner] = self
            .run(&inputs[0].ty.shape)
            .ok_or_else(|| OpError::new("the averaged axes are not neighbours"))?;
        let window = Window {
            kernel: [1, reduced],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [0; 4],
        };
        let mean = Mean {
            window: window.record([outer, reduced], [outer, 1])?,
            channels: movement::fitting(inner)?,
            count_include_pad: false,
            clamp: Clamp::NONE,
        };
        mean.lower(BTreeSet::from([reduced]), inputs[0], outputs[0])
    }

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}

impl ReduceMean {
    /// Elements before, among and behind the averaged axes; `None` where others lie among them.
    fn run(&self, shape: &[usize]) -> Option<[usize; 3]> {
        // Extents of one are everybody's neighbours.
        let wide = |axis: &usize| shape.get(*axis).is_some_and(|&extent| extent != 1);
        let averaged: Vec<usize> = self.axes.iter().copied().filter(wide).collect();
        let (first, last) = match averaged[..] {
            [] => (shape.len(), shape.len()),
            [first, ..] => (first, averaged[averaged.len() - 1] + 1),
        };
        let among = (first..last).filter(wide).count();
        let product = |range: std::ops::Range<usize>| shape[range].iter().product::<usize>();
        (among == averaged.len()).then(|| {
            [
                product(0..first),
                product(first..last),
                product(last..shape.len()),
            ]
        })
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
