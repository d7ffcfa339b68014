//! CumSum and CumProd: <https://onnx.ai/onnx/operators/onnx__CumSum.html>.

use serde::{Deserialize, Serialize};
use tinsmith_runtime::format::CumulateF32;
use tinsmith_runtime::kernels::Layer;

use super::data::with_numbers;
use super::element::Element;
use super::lower::{KernelCall, Operand};
use super::movement::fitting;
use super::quant::QuantTensor;
use super::ranking::around;
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect, real};
use crate::target::Target;

/// The sums or products of all elements up to each one along an axis, taken one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cumulate {
    /// The axis, counted from the front.
    pub axis: usize,
    /// Whether products are taken, not sums.
    pub product: bool,
    /// Whether the element itself is left out.
    pub exclusive: bool,
    /// Whether it starts at the end.
    pub reverse: bool,
}

impl Operator for Cumulate {
    const ONNX: &'static [&'static str] = &["CumSum", "CumProd"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        let x = inputs[0];
        expect::axis(self.axis, x)?;
        if matches!(x.dtype, DType::Bool | DType::Narrow(_)) {
            return Err(OpError::new(format!("numbers wanted, {x} found")));
        }
        Ok(vec![x.clone()])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        let one = Data::F32(vec![if self.product { 1.0 } else { 0.0 }]).cast(ty.dtype);
        let data = with_numbers!(
            x.data, v => self.cumulated(v, &one, &x.shape),
            else return Err(OpError::new("numbers wanted"))
        );
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if !real::computes(inputs, outputs)? {
            return Err(OpError::new("sums that grow along an axis have no int8 kernel")
                .with_help("compile with --precision f32")
                .into());
        }
        let x = inputs[0];
        let [outer, extent, inner] = around(&x.ty.shape, self.axis);
        let record = CumulateF32 {
            outer: fitting(outer)?,
            extent: fitting(extent)?,
            inner: fitting(inner)?,
            product: self.product.into(),
            exclusive: self.exclusive.into(),
            reverse: self.reverse.into(),
            ..CumulateF32::default()
        };
        Ok(Lowered::from(KernelCall::new(
            Layer::CumulateF32(record),
            vec![Operand::of_input(0, x)],
            Vec::new(),
        )))
    }
}

impl Cumulate {
    fn cumulated<T: Element>(&self, x: &[T], neutral: &Data, shape: &[usize]) -> Data {
        let neutral = T::of(neutral).expect("it was cast to this type")[0];
        let [outer, extent, inner] = around(shape, self.axis);
        let mut y = vec![neutral; x.len()];
        for row in 0..outer * inner {
            let (o, i) = (row / inner, row % inner);
            let mut sum = neutral;
            for k in 0..extent {
                let k = if self.reverse { extent - 1 - k } else { k };
                let at = (o * extent + k) * inner + i;
                let next = if self.product {
                    sum.multiply(x[at])
                } else {
                    sum.add(x[at])
                };
                y[at] = if self.exclusive { sum } else { next };
                sum = next;
            }
        }
        T::data(y)
    }
}
