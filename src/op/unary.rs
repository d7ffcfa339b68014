//! Functions of one value: <https://onnx.ai/onnx/operators/onnx__Sigmoid.html> and its neighbours.

use serde::{Deserialize, Serialize};

use super::data::{with_numbers, with_reals};
use super::element::{Element, Real};
use super::lower::{InexactChannel, Operand, Proof};
use super::quant::{QuantParams, QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use super::{movement, real, rescale};
use crate::target::Target;

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum UnaryKind {
    /// Relu and Clip: the value, limited.
    Clamp(Clamp),
    /// `1 / (1 + exp(−x))`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
}

/// `y = f(x)` elementwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unary {
    /// Which function.
    pub kind: UnaryKind,
}

impl Operator for Unary {
    const ONNX: &'static [&'static str] = &["Relu", "Clip", "Sigmoid", "Tanh"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        match self.kind {
            UnaryKind::Clamp(_) => expect::number("x", inputs[0])?,
            UnaryKind::Sigmoid | UnaryKind::Tanh => expect::float("x", inputs[0])?,
        }
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        expect::output(self, inputs)?;
        let x = inputs[0];
        let data = match (self.kind, x.data.dtype().is_float()) {
            (UnaryKind::Clamp(_), false) => with_numbers!(
                x.data, v => Element::data(integers(self.kind, v)),
                else return Err(OpError::new("numbers wanted, bool found"))
            ),
            _ => with_reals!(
                x.data, v => Element::data(reals(self.kind, v)),
                else return Err(OpError::new(format!("reals wanted, {} found", x.ty())))
            ),
        };
        Ok(vec![Values::new(x.shape.clone(), data)])
    }

    fn output_params(&self) -> OutputParams {
        match self.kind {
            UnaryKind::Clamp(_) => OutputParams::Observed,
            UnaryKind::Sigmoid => OutputParams::Fixed(QuantParams {
                scale: 1.0 / 256.0,
                zero_point: -128,
            }),
            UnaryKind::Tanh => OutputParams::Fixed(QuantParams {
                scale: 1.0 / 128.0,
                zero_point: 0,
            }),
        }
    }

    fn output_range(&self, observed: Range) -> Range {
        match self.kind {
            UnaryKind::Clamp(clamp) => observed.clamped(clamp),
            UnaryKind::Sigmoid => Range { min: 0.0, max: 1.0 },
            UnaryKind::Tanh => Range { min: -1.0, max: 1.0 },
        }
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if real::computes(inputs, outputs)? {
            return real::unary(self.kind, inputs[0]);
        }
        let (x, y) = (inputs[0], outputs[0]);
        let (from, to) = (
            rescale::activation(Some(x), "input")?,
            rescale::activation(Some(y), "output")?,
        );
        let (table, unsure) = rescale::unary(self.kind, from, to);
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let proof = Proof {
            // An entry that f64 cannot place is listed under its index.
            inexact: unsure
                .into_iter()
                .map(|code| InexactChannel {
                    channel: (i32::from(code) + 128) as usize,
                    factor: f64::from(from.scale) / f64::from(to.scale),
                })
                .collect(),
            ..Proof::default()
        };
        Ok(Lowered::one(
            movement::table_call(source, table, x.ty.len())?,
            proof,
        ))
    }

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}

fn reals<T: Real>(kind: UnaryKind, x: &[T]) -> Vec<T> {
    let one = T::from_f64(1.0);
    let sigmoid = |x: T| {
        let below = one.add(T::default().subtract(x).exp());
        // Only a division of integers by zero has no result.
        one.divide(below).unwrap_or(one)
    };
    match kind {
        UnaryKind::Clamp(clamp) => x.iter().map(|&x| x.clamped(clamp)).collect(),
        UnaryKind::Sigmoid => x.iter().map(|&x| sigmoid(x)).collect(),
        UnaryKind::Tanh => x.iter().map(|&x| x.tanh()).collect(),
    }
}

/// Only a clamp has a meaning in integers; the type check refused the rest.
fn integers<T: Element>(kind: UnaryKind, x: &[T]) -> Vec<T> {
    match kind {
        UnaryKind::Clamp(clamp) => x.iter().map(|&x| x.clamped(clamp)).collect(),
        UnaryKind::Sigmoid | UnaryKind::Tanh => x.to_vec(),
    }
}
