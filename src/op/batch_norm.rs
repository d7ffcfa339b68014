//! BatchNormalization: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>, inference, channels-last.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::element::Real;
use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// `y[…, c] = (x[…, c] − mean[c]) / sqrt(variance[c] + epsilon) · scale[c] + bias[c]`.
///
/// Inputs: `x`, `scale`, `bias`, `mean`, `variance`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNormalization {
    /// Keeps the root from zero.
    pub epsilon: f32,
}

impl Operator for BatchNormalization {
    const ONNX: &'static [&'static str] = &["BatchNormalization"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 5..=5)?;
        let x = inputs[0];
        expect::float("x", x)?;
        let Some(&channels) = x.shape.last() else {
            return Err(OpError::new(format!("`x` of rank 1 or more wanted, {x} found")));
        };
        for (name, ty) in ["scale", "bias", "mean", "variance"]
            .into_iter()
            .zip(&inputs[1..])
        {
            expect::dtype(name, ty, x.dtype)?;
            expect::shape(name, ty, &[channels])?;
        }
        Ok(vec![x.clone()])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        expect::output(self, inputs)?;
        let data = match inputs[0].data.dtype() {
            DType::F64 => self.normalize::<f64>(inputs),
            DType::F16 => self.normalize::<f16>(inputs),
            DType::BF16 => self.normalize::<bf16>(inputs),
            _ => self.normalize::<f32>(inputs),
        };
        Ok(vec![Values::new(inputs[0].shape.clone(), data)])
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new("a batch normalization of its own has no integer kernel")
            .with_help("it folds into the convolution or dense layer before it, where nothing else reads that one")
            .into())
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        inputs[0].len() as u64
    }
}

impl BatchNormalization {
    fn normalize<T: Real>(&self, inputs: &[&Values]) -> Data {
        let input = |i: usize| T::of(&inputs[i].data).expect("the type check found one float type");
        let (x, scale, bias, mean, variance) = (input(0), input(1), input(2), input(3), input(4));
        let epsilon = T::from_f64(self.epsilon.into());
        let mut y = x.to_vec();
        for row in y.chunks_exact_mut(scale.len().max(1)) {
            for (c, y) in row.iter_mut().enumerate() {
                let deviation = variance[c].add(epsilon).sqrt();
                // Only a division of integers by zero has no result.
                let normal = y.subtract(mean[c]).divide(deviation).unwrap_or_default();
                *y = normal.multiply(scale[c]).add(bias[c]);
            }
        }
        T::data(y)
    }
}
