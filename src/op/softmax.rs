//! Softmax: <https://onnx.ai/onnx/operators/onnx__Softmax.html>, along one axis (opset 13; older forms are reshaped at import).

use serde::{Deserialize, Serialize};

use super::data::with_reals;
use super::element::Element;
use super::element::Real;
use super::lower::{KernelCall, Operand, Proof};
use super::quant::{QuantParams, QuantTensor, Range};
use super::rescale::{self, Codes};
use super::tensor::{TensorType, Values};
use super::{Clamp, movement, real};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;
use tinsmith_runtime::kernels::{Layer, softmax};

/// `y = exp(x − max x) / Σ exp(x − max x)` along `axis`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Softmax {
    /// The axis, counted from the front.
    pub axis: usize,
}

impl Operator for Softmax {
    const ONNX: &'static [&'static str] = &["Softmax"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[
        Constraint {
            text: "softmax runs along the last axis, or all axes behind its own have one element",
            holds: |op, inputs| {
                inputs[0]
                    .shape
                    .iter()
                    .skip(op.axis + 1)
                    .all(|&extent| extent == 1)
            },
        },
        Constraint {
            text: "a row has at most 16777216 elements",
            holds: |op, inputs| {
                inputs[0]
                    .shape
                    .get(op.axis)
                    .is_none_or(|&extent| extent <= 1 << 24)
            },
        },
    ];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        expect::float("x", inputs[0])?;
        expect::axis(self.axis, inputs[0])?;
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        expect::output(self, inputs)?;
        let x = inputs[0];
        let extent = x.shape[self.axis];
        let inner: usize = x.shape[self.axis + 1..].iter().product();
        let data = with_reals!(
            x.data, v => Element::data(softmax(v, extent, inner)),
            else return Err(OpError::new(format!("reals wanted, {} found", x.ty())))
        );
        Ok(vec![Values::new(x.shape.clone(), data)])
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::Fixed(QuantParams {
            scale: 1.0 / 256.0,
            zero_point: -128,
        })
    }

    fn output_range(&self, _observed: Range) -> Range {
        Range { min: 0.0, max: 1.0 }
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if real::computes(inputs, outputs)? {
            return real::softmax(inputs[0].ty.shape[self.axis], inputs[0]);
        }
        let (x, y) = (inputs[0], outputs[0]);
        let from = rescale::activation(Some(x), "input")?;
        let to = rescale::activation(Some(y), "output")?;
        let (scale_mantissa, scale_shift) = softmax::output_scale(to.scale).ok_or_else(|| {
            OpError::new(format!(
                "an output scale of {:e} makes every result saturate",
                to.scale
            ))
            .with_help("1/256 with zero point -128 holds every result")
        })?;
        let depth = x.ty.shape[self.axis];
        let codes = Codes::new(to, Clamp::NONE);
        let record = tinsmith_runtime::format::Softmax {
            rows: movement::fitting(x.ty.len() / depth.max(1))?,
            depth: movement::fitting(depth)?,
            scale_mantissa,
            scale_shift,
            ofm_zero_point: movement::fitting(to.zero_point)?,
            min: codes.min,
            max: codes.max,
            ..Default::default()
        };
        let mut exponentials = [0; softmax::CONSTANTS_BYTES];
        softmax::constants(from.scale, &mut exponentials);
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let call = KernelCall {
            in_place: vec![0],
            ..KernelCall::new(Layer::Softmax(record), vec![source], exponentials.to_vec())
        };
        Ok(Lowered::one(call, Proof::default()))
    }

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}

/// Softmax over lines of `extent` elements that lie `inner` apart.
fn softmax<T: Real>(x: &[T], extent: usize, inner: usize) -> Vec<T> {
    let mut y = x.to_vec();
    if y.is_empty() {
        return y;
    }
    for block in y.chunks_exact_mut(extent * inner) {
        for line in 0..inner {
            let places = (0..extent).map(|i| line + i * inner);
            let greatest = places
                .clone()
                .fold(T::LOWEST, |m, i| if block[i] > m { block[i] } else { m });
            let mut sum = T::default();
            for i in places.clone() {
                block[i] = block[i].subtract(greatest).exp();
                sum = sum.add(block[i]);
            }
            for i in places {
                // Only a division of integers by zero has no result.
                block[i] = block[i].divide(sum).unwrap_or_default();
            }
        }
    }
    y
}
