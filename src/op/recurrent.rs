//! RNN, GRU and LSTM: <https://onnx.ai/onnx/operators/onnx__LSTM.html>, one direction of one layer.
//!
//! Import takes the products with the inputs out: they do not depend on the state, so one dense layer computes them
//! for all steps.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::lower::{KernelCall, Operand};
use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values, View};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use super::{movement, real};
use crate::target::Target;
use tinsmith_runtime::format::RecurrentF32;
use tinsmith_runtime::kernels::Layer;

/// What a step computes, from `x` (the gates' products with the input, and their biases) and the state before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cell {
    /// `h' = f(x + R·h)`.
    Rnn,
    /// Gates z, r, h: `h' = (1 − z)·n + z·h`, with `n = g(x + R·(r·h) + b)`, or `g(x + r·(R·h + b))` where the linear
    /// part comes before the reset.
    Gru {
        /// Whether it does.
        linear_before_reset: bool,
    },
    /// Gates i, o, f, c, with peepholes: `c' = f·c + i·g(…)`, `h' = o·h(c')`.
    Lstm {
        /// Whether `f = 1 − i`.
        input_forget: bool,
    },
}

impl Cell {
    /// Gates, each of the hidden size.
    pub fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru { .. } => 3,
            Self::Lstm { .. } => 4,
        }
    }
}

/// The function of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Function {
    /// `max(x, 0)`.
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^−x)`.
    Sigmoid,
    /// `alpha·x + beta`.
    Affine,
    /// `x`, or `alpha·x` below zero.
    LeakyRelu,
    /// `x` from alpha on, else 0.
    ThresholdedRelu,
    /// `alpha·tanh(beta·x)`.
    ScaledTanh,
    /// `alpha·x + beta` between 0 and 1.
    HardSigmoid,
    /// `x`, or `alpha·(e^x − 1)` below zero.
    Elu,
    /// `x / (1 + |x|)`.
    Softsign,
    /// `ln(1 + e^x)`.
    Softplus,
}

/// A function with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activation {
    /// Which one.
    pub function: Function,
    /// Its first parameter.
    pub alpha: f32,
    /// Its second parameter.
    pub beta: f32,
}

/// Inputs: `x [steps, batch, gates·hidden]`, `recurrence [gates·hidden, hidden]`, `side [2·batch·hidden + 4·hidden]`:
/// the first `h` and `c` of every sample, the bias inside a GRU's reset, the peepholes of i, o and f; optionally
/// `lengths [batch]`.
///
/// Output `[steps + 2, batch, hidden]`: `h` of every step, zero behind a sequence's end, then the last `h`, then the
/// last `c` (zeros but for an LSTM).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recurrent {
    /// What a step computes.
    pub cell: Cell,
    /// Functions f, g and h; those that the cell has not are unused.
    pub activations: [Activation; 3],
    /// What reaches the functions lies within ± this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f32>,
    /// From the end of each sequence to its start.
    pub backward: bool,
}

impl Operator for Recurrent {
    const ONNX: &'static [&'static str] = &["GRU", "LSTM", "RNN"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 3..=4)?;
        let (x, recurrence) = (inputs[0], inputs[1]);
        expect::float("x", x)?;
        expect::rank("x", x, 3)?;
        expect::rank("recurrence", recurrence, 2)?;
        let (steps, batch, hidden) = (x.shape[0], x.shape[1], recurrence.shape[1]);
        let rows = self.cell.gates().saturating_mul(hidden);
        expect::shape("recurrence", recurrence, &[rows, hidden])?;
        expect::shape("x", x, &[steps, batch, rows])?;
        let side = batch.saturating_mul(2).saturating_add(4).saturating_mul(hidden);
        expect::shape("side", inputs[2], &[side])?;
        expect::dtype("recurrence", recurrence, x.dtype)?;
        expect::dtype("side", inputs[2], x.dtype)?;
        if let Some(lengths) = inputs.get(3) {
            expect::shape("lengths", lengths, &[batch])?;
            if lengths.dtype.is_float() || lengths.dtype == DType::Bool {
                return Err(OpError::new(format!(
                    "integers as `lengths` wanted, {lengths} found"
                )));
            }
        }
        let shape = [steps.saturating_add(2), batch, hidden];
        Ok(vec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let [steps, batch, hidden] = [ty.shape[0] - 2, ty.shape[1], ty.shape[2]];
        let mut lengths = vec![steps; batch];
        if let Some(given) = inputs.get(3).and_then(|given| given.to_i64()) {
            for (length, given) in lengths.iter_mut().zip(given) {
                *length = usize::try_from(given)
                    .ok()
                    .filter(|&given| given <= steps)
                    .ok_or_else(|| {
                        OpError::new(format!("lengths from 0 to {steps} wanted, {given} found"))
                    })?;
            }
        }
        let run = Run {
            op: self,
            steps,
            batch,
            hidden,
            lengths: &lengths,
        };
        let data = match inputs[0].data.view() {
            View::F64(_) => Data::F64(run.over(inputs)),
            View::F32(_) => Data::F32(run.over(inputs)),
            // Narrow floats are computed in f32 and rounded once.
            View::F16(_) => Data::F16(run.widened(inputs).into_iter().map(f16::from_f32).collect()),
            View::BF16(_) => Data::BF16(run.widened(inputs).into_iter().map(bf16::from_f32).collect()),
            _ => return Err(OpError::new(format!("reals wanted, {} found", inputs[0].ty()))),
        };
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let is_real = real::computes(&inputs[..3], outputs)?;
        if !is_real {
            return Err(OpError::new(
                "of recurrent layers, only an LSTM whose functions are ONNX's own, with constant weights and without \
                 peepholes, clip and lengths, has an int8 kernel",
            )
            .with_help("compile with --precision f32")
            .into());
        }
        if inputs[..3].iter().any(|input| input.ty.is_empty()) {
            return Err(OpError::new("a sequence without elements has no kernel").into());
        }
        let y = &outputs[0].ty.shape;
        let (steps, batch, hidden) = (y[0] - 2, y[1], y[2]);
        let mut lengths: Vec<u32> = vec![movement::fitting(steps)?; batch];
        if let Some(given) = inputs.get(3) {
            let given = given
                .data
                .as_ref()
                .and_then(|given| given.to_i64())
                .ok_or_else(|| {
                    OpError::new("its sequence lengths are known only when running")
                        .with_help("give the model's input of lengths a fixed value, or leave it out")
                })?;
            for (length, &given) in lengths.iter_mut().zip(&given) {
                *length = movement::fitting(given)?;
            }
        }
        let (cell, flag) = match self.cell {
            Cell::Rnn => (0, false),
            Cell::Gru { linear_before_reset } => (1, linear_before_reset),
            Cell::Lstm { input_forget } => (2, input_forget),
        };
        let record = RecurrentF32 {
            steps: movement::fitting(steps)?,
            batch: movement::fitting(batch)?,
            hidden: movement::fitting(hidden)?,
            clip: self.clip.unwrap_or(f32::INFINITY),
            functions: self.activations.map(|activation| activation.function as u8),
            alphas: self.activations.map(|activation| activation.alpha),
            betas: self.activations.map(|activation| activation.beta),
            cell,
            flag: flag.into(),
            backward: self.backward.into(),
            ..RecurrentF32::default()
        };
        let sources = (0..3)
            .map(|index| Operand::of_input(index, inputs[index]))
            .collect();
        let lengths = lengths.iter().flat_map(|length| length.to_le_bytes()).collect();
        let call = KernelCall::new(Layer::RecurrentF32(record), sources, lengths);
        Ok(Lowered::from(call))
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        let (x, recurrence) = (&inputs[0].shape, inputs[1]);
        let runs = x
            .iter()
            .take(2)
            .fold(1_u64, |product, &n| product.saturating_mul(n as u64));
        runs.saturating_mul(recurrence.len() as u64)
    }
}

/// A float that the recurrence is computed in.
trait Float: super::element::Real + std::ops::Neg<Output = Self> {
    fn ln_1p(self) -> Self;
    fn plus(self, other: Self) -> Self {
        self.add(other)
    }
    fn times(self, other: Self) -> Self {
        self.multiply(other)
    }
    fn of_f32(x: f32) -> Self {
        Self::from_f64(x.into())
    }
    fn over(self, other: Self) -> Self {
        self.divide(other).unwrap_or_default()
    }
}

impl Float for f32 {
    fn ln_1p(self) -> Self {
        libm::log1pf(self)
    }
}

impl Float for f64 {
    fn ln_1p(self) -> Self {
        libm::log1p(self)
    }
}

impl Activation {
    /// Its value.
    fn of<T: Float>(self, x: T) -> T {
        let (zero, one) = (T::default(), T::of_f32(1.0));
        let (alpha, beta) = (T::of_f32(self.alpha), T::of_f32(self.beta));
        match self.function {
            Function::Relu if x < zero => zero,
            Function::Relu => x,
            Function::Tanh => x.tanh(),
            Function::Sigmoid => one.over(one.plus(zero.subtract(x).exp())),
            Function::Affine => alpha.times(x).plus(beta),
            Function::LeakyRelu if x < zero => alpha.times(x),
            Function::LeakyRelu => x,
            Function::ThresholdedRelu if x >= alpha => x,
            Function::ThresholdedRelu => zero,
            Function::ScaledTanh => alpha.times(beta.times(x).tanh()),
            Function::HardSigmoid => {
                let y = alpha.times(x).plus(beta);
                let y = if y < zero { zero } else { y };
                if y > one { one } else { y }
            }
            Function::Elu if x < zero => alpha.times(x.exp().subtract(one)),
            Function::Elu => x,
            Function::Softsign => {
                let size = if x < zero { -x } else { x };
                x.over(one.plus(size))
            }
            Function::Softplus => x.exp().ln_1p(),
        }
    }
}

/// One evaluation.
struct Run<'a> {
    op: &'a Recurrent,
    steps: usize,
    batch: usize,
    hidden: usize,
    lengths: &'a [usize],
}

impl Run<'_> {
    fn widened(&self, inputs: &[&Values]) -> Vec<f32> {
        let wide: Vec<Values> = inputs
            .iter()
            .take(3)
            .map(|values| Values::new(values.shape.clone(), values.data.cast(DType::F32)))
            .collect();
        self.over(&wide.iter().collect::<Vec<_>>())
    }

    fn over<T: Float>(&self, inputs: &[&Values]) -> Vec<T> {
        let input = |i: usize| T::of(&inputs[i].data).expect("the type check found one float type");
        let (x, recurrence, side) = (input(0), input(1), input(2));
        let (batch, hidden, rows) = (self.batch, self.hidden, self.op.cell.gates() * self.hidden);
        let mut y = vec![T::default(); (self.steps + 2) * batch * hidden];
        if hidden == 0 {
            return y;
        }
        let (first, fixed) = side.split_at(2 * batch * hidden);
        for (sample, &length) in self.lengths.iter().enumerate() {
            let state = |index: usize| first[(index * batch + sample) * hidden..][..hidden].to_vec();
            let (mut h, mut c) = (state(0), state(1));
            for step in 0..length {
                let at = if self.op.backward { length - 1 - step } else { step };
                let row = at * batch + sample;
                let next = self.step(&x[row * rows..][..rows], recurrence, fixed, &h, &mut c);
                y[row * hidden..][..hidden].copy_from_slice(&next);
                h = next;
            }
            y[(self.steps * batch + sample) * hidden..][..hidden].copy_from_slice(&h);
            if matches!(self.op.cell, Cell::Lstm { .. }) {
                y[((self.steps + 1) * batch + sample) * hidden..][..hidden].copy_from_slice(&c);
            }
        }
        y
    }

    /// The next `h`; `c` is changed in place.
    fn step<T: Float>(&self, x: &[T], recurrence: &[T], fixed: &[T], h: &[T], c: &mut [T]) -> Vec<T> {
        let hidden = self.hidden;
        let dot = |gate: usize, j: usize, h: &[T]| {
            let row = &recurrence[(gate * hidden + j) * hidden..][..hidden];
            let products = row.iter().zip(h).map(|(&weight, &h)| h.times(weight));
            products.fold(T::default(), |sum, product| sum.plus(product))
        };
        let [f, g, last] = self.op.activations;
        let clip = |x: T| match self.op.clip.map(T::of_f32) {
            Some(clip) if x > clip => clip,
            Some(clip) if x < -clip => -clip,
            _ => x,
        };
        let act = |activation: Activation, x: T| activation.of(clip(x));
        let gate = |gate: usize, j: usize| x[gate * hidden + j].plus(dot(gate, j, h));
        let one = T::of_f32(1.0);
        match self.op.cell {
            Cell::Rnn => (0..hidden).map(|j| act(f, gate(0, j))).collect(),
            Cell::Gru { linear_before_reset } => {
                let reset: Vec<T> = (0..hidden).map(|j| act(f, gate(1, j))).collect();
                let kept: Vec<T> = reset.iter().zip(h).map(|(&r, &h)| r.times(h)).collect();
                (0..hidden)
                    .map(|j| {
                        let z = act(f, gate(0, j));
                        let (x, bias) = (x[2 * hidden + j], fixed[j]);
                        let inner = if linear_before_reset {
                            reset[j].times(dot(2, j, h).plus(bias))
                        } else {
                            dot(2, j, &kept).plus(bias)
                        };
                        let n = act(g, x.plus(inner));
                        one.subtract(z).times(n).plus(z.times(h[j]))
                    })
                    .collect()
            }
            Cell::Lstm { input_forget } => (0..hidden)
                .map(|j| {
                    let peephole = |gate: usize, c: T| fixed[(1 + gate) * hidden + j].times(c);
                    let i = act(f, gate(0, j).plus(peephole(0, c[j])));
                    let forget = if input_forget {
                        one.subtract(i)
                    } else {
                        act(f, gate(2, j).plus(peephole(2, c[j])))
                    };
                    let cell = act(g, gate(3, j));
                    c[j] = forget.times(c[j]).plus(i.times(cell));
                    let o = act(f, gate(1, j).plus(peephole(1, c[j])));
                    o.times(act(last, c[j]))
                })
                .collect(),
        }
    }
}
