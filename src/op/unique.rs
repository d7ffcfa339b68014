//! Unique with a bound: <https://onnx.ai/onnx/operators/onnx__Unique.html>.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::data::with_elements;
use super::quant::QuantTensor;
use super::ranking::{around, ascending};
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// The different slices along an axis, packed: `i64[1 + most + extent + most]`: how many there are (at most `most`),
/// the index of each one's first occurrence (filled up with 0), for every slice which of them it equals, and how often
/// each occurs (filled up with 0). A slice that equals none of the first `most` stands as `most`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unique {
    /// The axis of the slices.
    pub axis: usize,
    /// Whether they come in ascending order, not in that of their first occurrence.
    pub sorted: bool,
    /// The most different slices it finds.
    pub most: usize,
}

impl Operator for Unique {
    const ONNX: &'static [&'static str] = &["Unique"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        expect::axis(self.axis, inputs[0])?;
        let extent = inputs[0].shape[self.axis]
            .saturating_add(self.most.saturating_mul(2))
            .saturating_add(1);
        Ok(vec![TensorType::new(DType::I64, [extent])])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let found = Found::of(inputs[0], self.axis, self.sorted);
        let count = found.firsts.len().min(self.most);
        let filled = |list: &[usize]| -> Vec<i64> {
            let list = list.iter().take(count).map(|&x| x as i64);
            list.chain(std::iter::repeat_n(0, self.most - count)).collect()
        };
        let mut packed = vec![count as i64];
        packed.extend(filled(&found.firsts));
        packed.extend(found.of_slice.iter().map(|&i| i.min(self.most) as i64));
        packed.extend(filled(&found.counts));
        Ok(vec![Values::new(ty.shape, Data::I64(packed))])
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(
            OpError::new("finding the different values of computed data has no kernel")
                .with_help("do it on the host, behind the model")
                .into(),
        )
    }
}

/// The different slices of a tensor.
pub(crate) struct Found {
    /// Index of the first occurrence of each.
    pub(crate) firsts: Vec<usize>,
    /// Which one every slice equals.
    of_slice: Vec<usize>,
    /// How often each occurs.
    counts: Vec<usize>,
}

impl Found {
    /// Those along an axis; NaN equals NaN.
    pub(crate) fn of(x: &Values, axis: usize, sorted: bool) -> Self {
        with_elements!(x.data, v => Self::among(v, &x.shape, axis, sorted))
    }

    fn among<T: PartialOrd + Copy>(x: &[T], shape: &[usize], axis: usize, sorted: bool) -> Self {
        let [outer, extent, inner] = around(shape, axis);
        let compare = |a: usize, b: usize| {
            (0..outer * inner)
                .map(|row| {
                    let at = |k: usize| x[(row / inner * extent + k) * inner + row % inner];
                    ascending(at(a), at(b))
                })
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        let mut order: Vec<usize> = (0..extent).collect();
        // Stable: the first of equal slices is their first occurrence.
        order.sort_by(|&a, &b| compare(a, b));
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for slice in order {
            match groups.last_mut() {
                Some(group) if compare(group[0], slice).is_eq() => group.push(slice),
                _ => groups.push(vec![slice]),
            }
        }
        if !sorted {
            groups.sort_by_key(|group| group[0]);
        }
        let mut of_slice = vec![0; extent];
        for (index, group) in groups.iter().enumerate() {
            group.iter().for_each(|&slice| of_slice[slice] = index);
        }
        Self {
            firsts: groups.iter().map(|group| group[0]).collect(),
            counts: groups.iter().map(Vec::len).collect(),
            of_slice,
        }
    }
}
