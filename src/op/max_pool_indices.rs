//! The second output of MaxPool: <https://onnx.ai/onnx/operators/onnx__MaxPool.html>, channels first.

use serde::{Deserialize, Serialize};

use super::data::with_numbers;
use super::element::Element;
use super::lower::{KernelCall, Operand};
use super::quant::{QuantTensor, Quantization};
use super::tensor::{DType, Data, TensorType, Values};
use super::window_nd::WindowNd;
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect, movement};
use crate::target::Target;
use tinsmith_runtime::format::MaxPoolIndicesF32;
use tinsmith_runtime::kernels::Layer;

/// Where the largest element of each window of `x [n, c, d…]` lies in all of `x`, as i64: the first one of several,
/// NaN before all, −1 where the whole window is padding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaxPoolIndices {
    /// Kernel, strides, dilations, padding, output; no spread.
    pub window: WindowNd,
    /// Whether positions within a channel count column-major, the first spatial axis fastest.
    pub column_major: bool,
}

impl Operator for MaxPoolIndices {
    const ONNX: &'static [&'static str] = &["MaxPool"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[Constraint {
        text: "there are at most 3 spatial axes",
        holds: |op, _| op.window.axes() <= 3,
    }];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        self.window.check()?;
        expect::rank("x", inputs[0], self.window.axes() + 2)?;
        expect::number("x", inputs[0])?;
        let shape = [&inputs[0].shape[..2], &self.window.output].concat();
        Ok(vec![TensorType::new(DType::I64, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        let indices = with_numbers!(
            x.data, v => self.indices(v, &x.shape),
            else return Err(OpError::new(format!("numbers wanted, {} found", x.ty())))
        );
        Ok(vec![Values::new(ty.shape, Data::I64(indices))])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let (x, y) = (inputs[0], outputs[0]);
        if !x.is_real() || y.ty.dtype != DType::I64 || y.quantization != Quantization::Plain {
            return Err(OpError::new(format!(
                "indices of the largest have a kernel over f32 alone, not {}",
                x.ty
            ))
            .with_help("compile with --precision f32")
            .into());
        }
        let record = MaxPoolIndicesF32 {
            planes: movement::fitting(x.ty.shape[0] * x.ty.shape[1])?,
            window: self.window.record(&x.ty.shape[2..])?,
            column_major: self.column_major.into(),
            ..MaxPoolIndicesF32::default()
        };
        Ok(Lowered::from(KernelCall::new(
            Layer::MaxPoolIndicesF32(record),
            vec![Operand::of_input(0, x)],
            Vec::new(),
        )))
    }
}

impl MaxPoolIndices {
    fn indices<T: Element>(&self, x: &[T], shape: &[usize]) -> Vec<i64> {
        let extents = &shape[2..];
        let plane: usize = extents.iter().product();
        let positions: usize = self.window.output.iter().product();
        let mut indices = Vec::with_capacity(shape[0] * shape[1] * positions);
        for first in (0..shape[0] * shape[1]).map(|channel| channel * plane) {
            for place in 0..positions {
                let position = digits(place, &self.window.output);
                let mut largest: Option<(T, usize)> = None;
                for (_, pixel) in self.window.live(&position, extents) {
                    let x = x[first + pixel];
                    if largest.is_none_or(|(most, _)| x > most || (x.is_nan() && !most.is_nan())) {
                        largest = Some((x, pixel));
                    }
                }
                indices.push(match largest {
                    None => -1,
                    Some((_, pixel)) if self.column_major => {
                        let at = digits(pixel, extents);
                        let columns = at.iter().zip(extents).rev();
                        (first + columns.fold(0, |index, (&i, &extent)| index * extent + i)) as i64
                    }
                    Some((_, pixel)) => (first + pixel) as i64,
                });
            }
        }
        indices
    }
}

/// The index along every axis of an element counted row-major.
pub(super) fn digits(mut element: usize, extents: &[usize]) -> Vec<usize> {
    let mut digits = vec![0; extents.len()];
    for (digit, &extent) in digits.iter_mut().zip(extents).rev() {
        *digit = element % extent.max(1);
        element /= extent.max(1);
    }
    digits
}
