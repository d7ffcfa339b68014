//! LayerNormalization: <https://onnx.ai/onnx/operators/onnx__LayerNormalization.html>, with one output. Mean and deviation
//! are not given out, and scale and bias lie over exactly the axes that are normalized.

use serde::{Deserialize, Serialize};

use super::data::with_reals;
use super::element::{Element, Real};
use super::quant::QuantTensor;
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect, real};
use crate::target::Target;

/// `y = (x − mean) / √(variance + epsilon) · scale + bias`, mean and variance over the axes from `axis` on.
///
/// Inputs: x; scale and bias of the shape of those axes, both optional. All reals of one type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerNorm {
    /// The first axis that is normalized, counted from the front; all behind it are too.
    pub axis: usize,
    /// What is added to the variance; at least 0.
    pub epsilon: f32,
}

impl Operator for LayerNorm {
    const ONNX: &'static [&'static str] = &["LayerNormalization"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=3)?;
        expect::float("x", inputs[0])?;
        expect::axis(self.axis, inputs[0])?;
        // Not a number is refused too.
        if !(self.epsilon >= 0.0 && self.epsilon.is_finite()) {
            return Err(OpError::new(format!(
                "an epsilon from 0 wanted, {} found",
                self.epsilon
            )));
        }
        let row = TensorType::new(inputs[0].dtype, &inputs[0].shape[self.axis..]);
        for (name, input) in ["scale", "bias"].into_iter().zip(&inputs[1..]) {
            if **input != row {
                return Err(OpError::new(format!("`{name}` as {row} wanted, {input} found")));
            }
        }
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        expect::output(self, inputs)?;
        let x = inputs[0];
        let width = x.shape[self.axis..].iter().product();
        let data = with_reals!(
            x.data, v => Element::data(rows(v, width, self.epsilon, &inputs[1..])),
            else return Err(OpError::new(format!("reals wanted, {} found", x.ty())))
        );
        Ok(vec![Values::new(x.shape.clone(), data)])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if real::computes(inputs, outputs)? {
            return Ok(real::layer_norm(self, inputs)?);
        }
        self.lower_codes(inputs, outputs[0])
    }
}

/// Rows of `width` elements: statistics in f64; what is normalized is rounded to the type before scale and bias.
fn rows<T: Real>(x: &[T], width: usize, epsilon: f32, affine: &[&Values]) -> Vec<T> {
    let count = width as f64;
    let (scale, bias) = (
        affine.first().and_then(|scale| T::of(&scale.data)),
        affine.get(1).and_then(|bias| T::of(&bias.data)),
    );
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks_exact(width.max(1)) {
        let mean = row.iter().fold(0.0, |sum, x| sum + x.to_f64()) / count;
        let squares = row.iter().fold(0.0, |sum, x| {
            let centered = x.to_f64() - mean;
            sum + centered * centered
        });
        let deviation = (squares / count + f64::from(epsilon)).sqrt();
        for (i, x) in row.iter().enumerate() {
            let normal = T::from_f64((x.to_f64() - mean) / deviation);
            let scaled = scale.map_or(normal, |scale| normal.multiply(scale[i]));
            y.push(bias.map_or(scaled, |bias| scaled.add(bias[i])));
        }
    }
    y
}
