//! Softmax: <https://onnx.ai/onnx/operators/onnx__Softmax.html>, along one axis (opset 13; older forms are reshaped at
//! import), and its neighbours LogSoftmax and Hardmax.

use serde::{Deserialize, Serialize};

use super::data::with_reals;
use super::element::Element;
use super::element::Real;
use super::lower::{KernelCall, Operand, Proof};
use super::quant::{QuantParams, QuantTensor, Range};
use super::rescale::{self, Codes};
use super::tensor::{DType, TensorType, Values};
use super::{Clamp, movement, real};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;
use tinsmith_runtime::kernels::{Layer, softmax};

/// What a line becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SoftmaxKind {
    /// Softmax: `exp(x − max x) / Σ exp(x − max x)`.
    #[default]
    Probability,
    /// The same, but 0 for a line of nothing but −∞: where attention finds nothing to attend.
    Attended,
    /// LogSoftmax: `(x − max x) − log Σ exp(x − max x)`.
    Logarithm,
    /// Hardmax: 1 at the first of the greatest, 0 elsewhere.
    Greatest,
}

impl SoftmaxKind {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Lines along `axis`, made probabilities. Reals of every type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Softmax {
    /// The axis, counted from the front.
    pub axis: usize,
    /// What a line becomes.
    #[serde(default, skip_serializing_if = "SoftmaxKind::is_default")]
    pub kind: SoftmaxKind,
}

impl Softmax {
    /// The probabilities along this axis.
    pub fn along(axis: usize) -> Self {
        Self {
            axis,
            kind: SoftmaxKind::Probability,
        }
    }
}

impl Operator for Softmax {
    const ONNX: &'static [&'static str] = &["Softmax", "LogSoftmax", "Hardmax"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[
        Constraint {
            text: "softmax runs along the last axis, or all axes behind its own have one element",
            holds: |op, inputs| {
                let mut behind = inputs[0].shape.iter().skip(op.axis + 1);
                inputs[0].dtype == DType::F32 || behind.all(|&extent| extent == 1)
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
            x.data, v => Element::data(lines(self.kind, v, extent, inner)),
            else return Err(OpError::new(format!("reals wanted, {} found", x.ty())))
        );
        Ok(vec![Values::new(x.shape.clone(), data)])
    }

    fn output_params(&self) -> OutputParams {
        match self.kind {
            SoftmaxKind::Probability | SoftmaxKind::Attended | SoftmaxKind::Greatest => {
                OutputParams::Fixed(QuantParams {
                    scale: 1.0 / 256.0,
                    zero_point: -128,
                })
            }
            SoftmaxKind::Logarithm => OutputParams::Observed,
        }
    }

    fn output_range(&self, observed: Range) -> Range {
        match self.kind {
            SoftmaxKind::Probability | SoftmaxKind::Attended | SoftmaxKind::Greatest => {
                Range { min: 0.0, max: 1.0 }
            }
            SoftmaxKind::Logarithm => Range {
                max: observed.max.min(0.0),
                ..observed
            },
        }
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if real::computes(inputs, outputs)? {
            return real::softmax(self, inputs[0]);
        }
        let refused = match self.kind {
            SoftmaxKind::Probability => None,
            SoftmaxKind::Attended => Some("a softmax that may attend to nothing"),
            SoftmaxKind::Logarithm => Some("a logarithm of softmax"),
            SoftmaxKind::Greatest => Some("a hardmax"),
        };
        if let Some(what) = refused {
            return Err(OpError::new(format!("{what} has no integer kernel"))
                .with_help(
                    "compile with --precision f32, or leave it out: the order of the scores is the same",
                )
                .into());
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
}

/// Lines of `extent` elements that lie `inner` apart.
pub(super) fn lines<T: Real>(kind: SoftmaxKind, x: &[T], extent: usize, inner: usize) -> Vec<T> {
    let mut y = x.to_vec();
    if y.is_empty() {
        return y;
    }
    let one = T::from_f64(1.0);
    for block in y.chunks_exact_mut(extent * inner) {
        for line in 0..inner {
            let places = (0..extent).map(|i| line + i * inner);
            let greatest = places
                .clone()
                .fold(T::LOWEST, |m, i| if block[i] > m { block[i] } else { m });
            match kind {
                SoftmaxKind::Attended if greatest == T::LOWEST => {
                    // A NaN is no line of −∞, and stays.
                    for i in places {
                        if !block[i].is_nan() {
                            block[i] = T::default();
                        }
                    }
                }
                SoftmaxKind::Probability | SoftmaxKind::Attended => {
                    let mut sum = T::Sum::default();
                    for i in places.clone() {
                        block[i] = block[i].subtract(greatest).exp();
                        sum = T::accumulate(sum, block[i], one);
                    }
                    let sum = T::from_sum(sum);
                    for i in places {
                        // Only a division of integers by zero has no result.
                        block[i] = block[i].divide(sum).unwrap_or_default();
                    }
                }
                SoftmaxKind::Logarithm => {
                    let mut sum = T::Sum::default();
                    for i in places.clone() {
                        block[i] = block[i].subtract(greatest);
                        sum = T::accumulate(sum, block[i].exp(), one);
                    }
                    // One of the terms is 1, so that the sum's logarithm is at least 0.
                    let log = T::from_sum(sum).log();
                    for i in places {
                        block[i] = block[i].subtract(log);
                    }
                }
                SoftmaxKind::Greatest => {
                    let first = places.clone().find(|&i| block[i] >= greatest);
                    for i in places {
                        let is_first = first == Some(i);
                        block[i] = T::from_f64(f64::from(u8::from(is_first)));
                    }
                }
            }
        }
    }
    y
}
