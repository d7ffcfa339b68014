//! Functions of one int8 value as 256-entry tables.

use super::dyadic::Dyadic;
use super::solve::Codes;

use crate::op::quant::QuantParams;

use crate::op::{BinaryKind, Clamp, OpError, UnaryKind};

/// The 256 bytes of a table: `f` of every code, −128 first.
pub fn tabulate(f: impl Fn(i8) -> i8) -> Vec<u8> {
    (i8::MIN..=i8::MAX).map(|code| f(code) as u8).collect()
}

impl Codes {
    /// The codes of an output: its zero point, and what `clamp` lets through. Clamping codes equals clamping reals,
    /// because quantizing is monotone.
    pub fn new(params: QuantParams, clamp: Clamp) -> Self {
        let code = |end: Option<f32>, open: i32| match end {
            Some(value) if value.is_finite() => params.zero_point + exact(value).divided(exact(params.scale)),
            Some(value) if value == f32::INFINITY => 127,
            Some(value) if value == f32::NEG_INFINITY => -128,
            Some(_) | None => open,
        };
        Self {
            zero_point: params.zero_point,
            min: code(clamp.min, -128).clamp(-128, 127) as i8,
            max: code(clamp.max, 127).clamp(-128, 127) as i8,
        }
    }

    /// `clamp(steps + zero_point)`.
    pub fn of(self, steps: i32) -> i8 {
        // Where the ends cross, the upper one wins, as in the runtime and in `Clamp`.
        let code = steps.saturating_add(self.zero_point);
        code.max(self.min.into()).min(self.max.into()) as i8 // between two i8
    }
}

/// `value`, which is finite.
fn exact(value: f32) -> Dyadic {
    Dyadic::new(value).expect("a finite number")
}

/// The table from one set of parameters to another: exact.
pub fn requantize(from: QuantParams, to: QuantParams, clamp: Clamp) -> Vec<u8> {
    let (from_scale, to_scale, codes) = (exact(from.scale), exact(to.scale), Codes::new(to, clamp));
    tabulate(|code| {
        let steps = exact_steps(i32::from(code) - from.zero_point);
        codes.of(steps.times(from_scale).divided(to_scale))
    })
}

/// A whole number.
fn exact_steps(steps: i32) -> Dyadic {
    Dyadic::steps(steps, 1.0).expect("one is finite")
}

/// The table of a function, and the codes for which f64 cannot tell to which side of a tie the result falls.
///
/// The sigmoid and the hyperbolic tangent of a number other than zero are transcendental, so a true tie does not
/// occur there; of zero both are exact in f64.
pub fn unary(kind: UnaryKind, from: QuantParams, to: QuantParams) -> (Vec<u8>, Vec<i8>) {
    let function = match kind {
        UnaryKind::Clamp(clamp) => return (requantize(from, to, clamp), Vec::new()),
        UnaryKind::Sigmoid => |x: f64| 1.0 / (1.0 + libm::exp(-x)),
        UnaryKind::Tanh => libm::tanh,
    };
    let codes = Codes::new(to, Clamp::NONE);
    let steps = |code: i8| {
        let x = f64::from(i32::from(code) - from.zero_point) * f64::from(from.scale);
        (x, function(x) / f64::from(to.scale))
    };
    let table = tabulate(|code| {
        let (_, y) = steps(code);
        codes.of(libm::rint(y).clamp(-65536.0, 65536.0) as i32)
    });
    let unsure = (i8::MIN..=i8::MAX).filter(|&code| {
        let (x, y) = steps(code);
        // exp and tanh of libm err by less than 2 units in the last place; 16 leave room for the two operations after.
        let error = 16.0 * f64::EPSILON * y.abs();
        let from_tie = ((y - libm::floor(y)) - 0.5).abs();
        x != 0.0 && from_tie <= error
    });
    (table, unsure.collect())
}

/// The table of `x ∘ constant`, or of `constant ∘ x`, exact. A division by zero gives the end of the range that the
/// numerator's sign asks for, as saturating an infinity does, and zero over zero gives zero.
///
/// # Errors
/// Where the constant is not finite.
pub fn binary_constant(
    kind: BinaryKind,
    from: QuantParams,
    constant: Dyadic,
    constant_first: bool,
    to: QuantParams,
    clamp: Clamp,
) -> Result<Vec<u8>, OpError> {
    let scale = Dyadic::new(to.scale).ok_or_else(|| OpError::new("the output's scale is not finite"))?;
    let from_scale =
        Dyadic::new(from.scale).ok_or_else(|| OpError::new("the input's scale is not finite"))?;
    let codes = Codes::new(to, clamp);
    Ok(tabulate(|code| {
        let x = exact_steps(i32::from(code) - from.zero_point).times(from_scale);
        let (a, b) = if constant_first {
            (constant, x)
        } else {
            (x, constant)
        };
        codes.of(match kind {
            BinaryKind::Add => a.plus(b).divided(scale),
            BinaryKind::Sub => a.plus(b.negated()).divided(scale),
            BinaryKind::Mul => a.times(b).divided(scale),
            BinaryKind::Div if b.is_zero() => a.signum() * (1 << 16),
            BinaryKind::Div => a.divided(b.times(scale)),
        })
    }))
}
