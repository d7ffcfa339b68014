//! What orders elements: the greatest and the first k of them. ArgMax: <https://onnx.ai/onnx/operators/onnx__ArgMax.html>,
//! TopK: <https://onnx.ai/onnx/operators/onnx__TopK.html>.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use tinsmith_runtime::format::Rank;
use tinsmith_runtime::kernels::Layer;

use super::data::with_numbers;
use super::lower::{KernelCall, Operand};
use super::movement::fitting;
use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// The indices of the first `count` elements along an axis in their order: i64, the input's shape but for the axis.
///
/// NaN counts as greater than every number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopK {
    /// The axis, counted from the front.
    pub axis: usize,
    /// How many.
    pub count: usize,
    /// Whether the greatest come first, not the least.
    pub largest: bool,
    /// Whether of equal elements the last comes first.
    pub last_of_equals: bool,
}

impl Operator for TopK {
    const ONNX: &'static [&'static str] = &["TopK", "ArgMax", "ArgMin"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        let x = inputs[0];
        expect::axis(self.axis, x)?;
        if matches!(x.dtype, DType::Bool | DType::Narrow(_)) {
            return Err(OpError::new(format!("numbers wanted, {x} found")));
        }
        if self.count > x.shape[self.axis] {
            return Err(OpError::new(format!(
                "at most {} of axis {} of {x} wanted, {} found",
                x.shape[self.axis], self.axis, self.count
            )));
        }
        let mut shape = x.shape.clone();
        shape[self.axis] = self.count;
        Ok(vec![TensorType::new(DType::I64, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        let indices = with_numbers!(
            x.data, v => self.indices(v, &x.shape),
            else return Err(OpError::new("numbers wanted"))
        );
        Ok(vec![Values::new(ty.shape, Data::I64(indices))])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let x = inputs[0];
        let [outer, extent, inner] = around(&x.ty.shape, self.axis);
        let record = Rank {
            outer: fitting(outer)?,
            extent: fitting(extent)?,
            inner: fitting(inner)?,
            count: fitting(self.count)?,
            largest: self.largest.into(),
            last_of_equals: self.last_of_equals.into(),
            element: match x.ty.dtype {
                DType::F32 => 0,
                DType::I8 => 1,
                other => {
                    return Err(
                        OpError::new(format!("orders elements of {other}; f32 and i8 are possible")).into(),
                    );
                }
            },
            ..Rank::default()
        };
        Ok(Lowered::from(KernelCall::new(
            Layer::Rank(record),
            vec![Operand::of_input(0, x)],
            Vec::new(),
        )))
    }
}

impl TopK {
    fn indices<T: PartialOrd + Copy>(&self, x: &[T], shape: &[usize]) -> Vec<i64> {
        let [outer, extent, inner] = around(shape, self.axis);
        let mut indices = vec![0; outer * self.count * inner];
        let mut order: Vec<usize> = Vec::with_capacity(extent);
        for row in 0..outer * inner {
            let (o, i) = (row / inner, row % inner);
            let at = |k: usize| x[(o * extent + k) * inner + i];
            order.clear();
            order.extend(0..extent);
            order.sort_unstable_by(|&a, &b| {
                let by_value = ascending(at(a), at(b));
                let by_value = if self.largest {
                    by_value.reverse()
                } else {
                    by_value
                };
                let by_index = a.cmp(&b);
                by_value.then(if self.last_of_equals {
                    by_index.reverse()
                } else {
                    by_index
                })
            });
            for (k, &index) in order.iter().take(self.count).enumerate() {
                indices[(o * self.count + k) * inner + i] = index as i64;
            }
        }
        indices
    }
}

/// Elements before an axis, along it, and behind it.
pub(super) fn around(shape: &[usize], axis: usize) -> [usize; 3] {
    [
        shape[..axis].iter().product(),
        shape[axis],
        shape[axis + 1..].iter().product(),
    ]
}

/// The order of two elements, NaN above every number.
pub(super) fn ascending<T: PartialOrd + Copy>(a: T, b: T) -> Ordering {
    let is_nan = |x: T| x.partial_cmp(&x).is_none();
    a.partial_cmp(&b).unwrap_or_else(|| is_nan(a).cmp(&is_nan(b)))
}
