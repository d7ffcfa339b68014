//! NonZero with a bound: <https://onnx.ai/onnx/operators/onnx__NonZero.html>.

use serde::{Deserialize, Serialize};
use tinsmith_runtime::format::NonZero as Record;
use tinsmith_runtime::kernels::Layer;

use super::data::with_numbers;
use super::lower::{KernelCall, Operand};
use super::movement::fitting;
use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values, View, row_major_strides};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// How many elements are other than zero, and where the first `most` of them lie: `i64[1 + rank · most]`, the count
/// (at most `most`), then a row of `most` indices per axis, filled up with 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NonZero {
    /// The most elements it finds.
    pub most: usize,
}

impl Operator for NonZero {
    const ONNX: &'static [&'static str] = &["NonZero", "Compress"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        let x = inputs[0];
        if matches!(x.dtype, DType::Narrow(_)) {
            return Err(OpError::new(format!("numbers or Booleans wanted, {x} found")));
        }
        let extent = self.most.saturating_mul(x.shape.len()).saturating_add(1);
        Ok(vec![TensorType::new(DType::I64, [extent])])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        let strides = row_major_strides(&x.shape);
        let mut packed = vec![0; ty.len()];
        let found = places(x);
        let found = &found[..found.len().min(self.most)];
        packed[0] = found.len() as i64;
        for (row, (&stride, &extent)) in strides.iter().zip(&x.shape).enumerate() {
            for (slot, &place) in packed[1 + row * self.most..].iter_mut().zip(found) {
                *slot = (place / stride % extent) as i64;
            }
        }
        Ok(vec![Values::new(ty.shape, Data::I64(packed))])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let x = inputs[0];
        let zero_point = x.params().map_or(0, |params| params.zero_point);
        let dims: Vec<usize> = x.ty.shape.clone();
        let mut record = Record {
            rank: fitting(dims.len())?,
            dims: [1; 5],
            most: fitting(self.most)?,
            element_bytes: fitting(x.ty.dtype.bytes())?,
            is_real: x.ty.dtype.is_float().into(),
            zero: fitting(zero_point)?,
            ..Record::default()
        };
        if dims.len() > record.dims.len() {
            return Err(OpError::new(format!(
                "looks through {} dimensions; at most {} are possible",
                dims.len(),
                record.dims.len()
            ))
            .into());
        }
        for (slot, &extent) in record.dims.iter_mut().zip(&dims) {
            *slot = fitting(extent)?;
        }
        Ok(Lowered::from(KernelCall::new(
            Layer::NonZero(record),
            vec![Operand::of_input(0, x)],
            Vec::new(),
        )))
    }
}

/// Where elements other than zero lie, in order. NaN is one of them.
pub(crate) fn places(x: &Values) -> Vec<usize> {
    fn of<T: PartialEq + Default>(x: &[T]) -> Vec<usize> {
        let zero = T::default();
        let others = x.iter().enumerate().filter(|(_, x)| **x != zero);
        others.map(|(place, _)| place).collect()
    }
    with_numbers!(x.data, v => of(v), else match x.data.view() {
        View::Bool(v) => of(v),
        _ => Vec::new(),
    })
}
