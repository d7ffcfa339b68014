//! One direction of a whole LSTM, products with its input included: <https://onnx.ai/onnx/operators/onnx__LSTM.html>, with
//! ONNX's own functions, without peepholes, clip or lengths. The form that integers are computed in; see
//! [`super::Recurrent`] for the one over reals, which import makes.

use serde::{Deserialize, Serialize};
use tinsmith_runtime::format;
use tinsmith_runtime::kernels::{Layer, lstm};

use super::lower::{KernelCall, Operand, Proof};
use super::quant::{QuantParams, QuantTensor, Quantization, Range};
use super::recurrent::{Activation, Cell, Function};
use super::rescale::{self, Codes, Factor, Reach};
use super::tensor::{TensorType, Values};
use super::{
    Clamp, Concat, Constraint, Dense, LowerError, Lowered, OpError, Operator, Recurrent, Slice, expect,
    movement,
};
use crate::target::Target;

/// What an [`Lstm`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gives {
    /// `h` of every step, then the last one: `[steps + 1, batch, hidden]`.
    States,
    /// The last `c`: `[1, batch, hidden]`.
    Cell,
}

/// Inputs: `x [steps, batch, features]`, `weights [4·hidden, features]`, `bias [4·hidden]`, `recurrence [4·hidden, hidden]`, gates
/// in the order i, o, f, c, and the first `h` and `c`, `[batch·hidden]` each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lstm {
    /// What of it is wanted. The recurrence runs once for each.
    pub gives: Gives,
    /// From the last step to the first.
    pub backward: bool,
}

impl Lstm {
    /// The functions that it has: those that ONNX takes where none are named.
    pub(crate) fn activations() -> [Activation; 3] {
        [Function::Sigmoid, Function::Tanh, Function::Tanh].map(|function| Activation {
            function,
            alpha: 0.0,
            beta: 0.0,
        })
    }

    /// The cell that it has.
    pub(crate) const CELL: Cell = Cell::Lstm { input_forget: false };

    /// What it is written out; `inputs` are its own.
    pub(crate) fn parts(&self, inputs: &[&TensorType]) -> Parts {
        let [steps, batch, _, hidden] = Self::extents(inputs);
        let (first, given) = match self.gives {
            Gives::States => (0, steps + 1),
            Gives::Cell => (steps + 1, 1),
        };
        Parts {
            product: Dense { clamp: Clamp::NONE },
            side: Concat { axis: 0 },
            recurrent: Recurrent {
                cell: Self::CELL,
                activations: Self::activations(),
                clip: None,
                backward: self.backward,
            },
            given: Slice {
                starts: vec![first, 0, 0],
                steps: vec![1; 3],
                shape: vec![given, batch, hidden],
            },
            hidden,
        }
    }

    /// Steps, samples, elements of an input and of the state.
    fn extents(inputs: &[&TensorType]) -> [usize; 4] {
        let (x, recurrence) = (&inputs[0].shape, &inputs[3].shape);
        [x[0], x[1], x[2], recurrence[1]]
    }
}

/// An [`Lstm`] as the operators that reals are computed with.
pub(crate) struct Parts {
    /// Of the input, the weights and the bias.
    pub(crate) product: Dense,
    /// Of the first `h`, the first `c` and [`Self::no_peepholes`].
    pub(crate) side: Concat,
    /// Of the product, the recurrence and the side.
    pub(crate) recurrent: Recurrent,
    /// What is wanted of the recurrence's output.
    pub(crate) given: Slice,
    hidden: usize,
}

impl Parts {
    /// Zeros where the side has the bias inside a reset and peepholes.
    pub(crate) fn no_peepholes(&self) -> Values {
        Values::f32([4 * self.hidden], vec![0.0; 4 * self.hidden])
    }
}

impl Operator for Lstm {
    const ONNX: &'static [&'static str] = &["LSTM"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 6..=6)?;
        let x = inputs[0];
        expect::float("x", x)?;
        expect::rank("x", x, 3)?;
        expect::rank("recurrence", inputs[3], 2)?;
        let [steps, batch, features, hidden] = Self::extents(inputs);
        let rows = hidden.saturating_mul(4);
        let states = vec![batch.saturating_mul(hidden)];
        let wanted = [
            ("weights", vec![rows, features]),
            ("bias", vec![rows]),
            ("recurrence", vec![rows, hidden]),
            ("h", states.clone()),
            ("c", states),
        ];
        for ((name, shape), input) in wanted.iter().zip(&inputs[1..]) {
            expect::dtype(name, input, x.dtype)?;
            expect::shape(name, input, shape)?;
        }
        let given = match self.gives {
            Gives::States => steps.saturating_add(1),
            Gives::Cell => 1,
        };
        Ok(vec![TensorType::new(x.dtype, [given, batch, hidden])])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let types: Vec<TensorType> = inputs.iter().map(|input| input.ty()).collect();
        let parts = self.parts(&types.iter().collect::<Vec<_>>());
        let product = parts.product.eval(&inputs[..3])?.remove(0);
        let no_peepholes = parts.no_peepholes();
        let side = parts
            .side
            .eval(&[
                inputs[4],
                inputs[5],
                &Values::new(no_peepholes.shape, no_peepholes.data.cast(ty.dtype)),
            ])?
            .remove(0);
        let packed = parts.recurrent.eval(&[&product, inputs[3], &side])?.remove(0);
        parts.given.eval(&[&packed])
    }

    fn output_range(&self, observed: Range) -> Range {
        match self.gives {
            Gives::States => Range {
                min: observed.min.max(-1.0),
                max: observed.max.min(1.0),
            },
            Gives::Cell => observed,
        }
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let [x, weights, bias, recurrence, h, c] = inputs[..] else {
            return Err(OpError::new("six inputs wanted").into());
        };
        let from = rescale::activation(Some(x), "input")?;
        let to = rescale::activation(Some(outputs[0]), "output")?;
        let (first_h, first_c) = (
            rescale::activation(Some(h), "first state")?,
            rescale::activation(Some(c), "first cell state")?,
        );
        let [steps, batch, features, hidden] =
            Self::extents(&inputs.iter().map(|input| &input.ty).collect::<Vec<_>>());
        for (what, extent, most) in [
            ("features", features, lstm::MOST_FEATURES),
            ("elements of a state", hidden, lstm::MOST_HIDDEN),
        ] {
            if extent > most as usize {
                return Err(OpError::new(format!("at most {most} {what} wanted, {extent} found")).into());
            }
        }
        if outputs[0].ty.is_empty() || x.ty.is_empty() {
            return Err(OpError::new("a sequence without elements has no kernel").into());
        }
        let (weights, weight_scales) = by_row(weights)?;
        let (recurrence, recurrence_scales) = by_row(recurrence)?;
        let bias = bias.data.as_deref().and_then(|values| values.as_f32());
        let bias = bias.ok_or_else(|| OpError::new("the bias is not a constant of reals"))?;

        let (unit, widest) = match self.gives {
            Gives::States => (H_UNIT, i64::from(i16::MAX)),
            Gives::Cell => (C_UNIT, i64::from(i32::MAX)),
        };
        let factor = Factor::new(&[unit], &[to.scale], 1)
            .ok_or_else(|| OpError::new("a scale is not positive and finite"))?;
        if rescale::shift_that_fits(&[factor], widest)? > 0 {
            return Err(OpError::new(format!(
                "an output scale of {:e} is finer than states are",
                to.scale
            ))
            .into());
        }
        let solved = rescale::solve(
            factor,
            Reach::Range(-widest, widest),
            0,
            Codes::new(to, Clamp::NONE),
        );
        let (multiplier, shift) = solved.scale.to_stored();
        let state = |params: QuantParams, unit: f32| fixed(f64::from(params.scale) / f64::from(unit));
        let (h_multiplier, h_shift) = state(first_h, H_UNIT)?;
        let (c_multiplier, c_shift) = state(first_c, C_UNIT)?;
        let record = format::Lstm {
            steps: movement::fitting(steps)?,
            batch: movement::fitting(batch)?,
            features: movement::fitting(features)?,
            hidden: movement::fitting(hidden)?,
            h_multiplier,
            c_multiplier,
            multiplier,
            h_shift,
            c_shift,
            shift,
            ifm_zero_point: movement::fitting(from.zero_point)?,
            h_zero_point: movement::fitting(first_h.zero_point)?,
            c_zero_point: movement::fitting(first_c.zero_point)?,
            ofm_zero_point: movement::fitting(to.zero_point)?,
            backward: self.backward.into(),
            cell: (self.gives == Gives::Cell).into(),
            ..format::Lstm::default()
        };
        let rows = |scales: &[f32], step: f64| -> Result<Vec<(i32, u8)>, OpError> {
            scales
                .iter()
                .map(|&scale| fixed(f64::from(scale) * step / Z_UNIT))
                .collect()
        };
        let of_x = rows(weight_scales, from.scale.into())?;
        let of_h = rows(recurrence_scales, H_UNIT.into())?;
        let mut constants: Vec<u8> = tangents().flat_map(u16::to_le_bytes).collect();
        // The cast saturates; no gate tells such sums apart.
        let biases = bias
            .iter()
            .map(|&bias| libm::rint(f64::from(bias) / Z_UNIT) as i32);
        constants.extend(biases.flat_map(i32::to_le_bytes));
        for factors in [&of_x, &of_h] {
            constants.extend(
                factors
                    .iter()
                    .flat_map(|(multiplier, _)| multiplier.to_le_bytes()),
            );
        }
        for factors in [&of_x, &of_h] {
            constants.extend(factors.iter().map(|&(_, shift)| shift));
        }
        constants.extend(weights.iter().chain(recurrence).map(|&weight| weight as u8));
        let sources = vec![
            Operand::of_input(0, x),
            Operand::of_input(4, h),
            Operand::of_input(5, c),
        ];
        let call = KernelCall {
            state_bytes: hidden * lstm::STATE_BYTES as usize,
            ..KernelCall::new(Layer::Lstm(record), sources, constants)
        };
        // What is given is next to its meaning, whatever its rescale: nothing is proven equal.
        Ok(Lowered::one(call, Proof::default()))
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        let [steps, batch, features, hidden] = Self::extents(inputs).map(|extent| extent as u64);
        let taps = hidden
            .saturating_mul(4)
            .saturating_mul(features.saturating_add(hidden));
        steps.saturating_mul(batch).saturating_mul(taps)
    }
}

/// Units of the kernel: see its numbers.
const H_UNIT: f32 = 1.0 / 32768.0;
const C_UNIT: f32 = 1.0 / 1048576.0;
const Z_UNIT: f64 = 1.0 / 65536.0;

/// `tanh(k / 64)` in units of 2^−16, saturating.
fn tangents() -> impl Iterator<Item = u16> {
    (0..lstm::TANH_ENTRIES).map(|k| libm::rint(libm::tanh(k as f64 / 64.0) * 65536.0).min(65535.0) as u16)
}

/// A positive factor as a multiplier and a shift to the right, to nearest.
fn fixed(factor: f64) -> Result<(i32, u8), OpError> {
    let bits = lstm::MULTIPLIER_BITS as i32;
    let shift = (bits - libm::ilogb(factor) - 1).min(62);
    let multiplier = |shift: i32| libm::rint(libm::ldexp(factor, shift));
    // Rounding up may take one bit more.
    let shift = if multiplier(shift) >= libm::ldexp(1.0, bits) {
        shift - 1
    } else {
        shift
    };
    match u8::try_from(shift) {
        Ok(short @ 1..) if factor.is_finite() => Ok((multiplier(shift) as i32, short)),
        _ => Err(OpError::new(format!(
            "a factor of {factor:e} is beyond what states can hold"
        ))),
    }
}

/// int8 constants with a scale for each row.
fn by_row(tensor: &QuantTensor) -> Result<(&[i8], &[f32]), OpError> {
    let codes = tensor.data.as_deref().and_then(|values| values.as_i8());
    match (&tensor.quantization, codes) {
        (Quantization::PerChannel { axis: 0, scales }, Some(codes)) => Ok((codes, scales)),
        _ => Err(OpError::new(format!(
            "weights `{}` of int8 with a scale for each row wanted",
            tensor.name
        ))),
    }
}
