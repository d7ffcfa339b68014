//! Functions of one int8 value as 256-entry tables.

use tinsmith_runtime::kernels::float::function::Function;

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

/// A function's value, before it is divided by the output's scale.
enum Value {
    /// This quotient, exactly.
    Exact(Dyadic, Dyadic),
    /// This number, computed in f64 from numbers of this magnitude; `None` where f64 has it exactly.
    Near(f64, Option<f64>),
}

impl Value {
    fn whole(value: Dyadic) -> Self {
        Self::Exact(value, exact_steps(1))
    }

    /// Its code, and whether f64 cannot tell on which side of a tie it falls. An infinity saturates; what is no number
    /// becomes zero, as ONNX leaves open.
    fn code(&self, scale: Dyadic, codes: Codes) -> (i8, bool) {
        const FAR: i32 = 1 << 16;
        match *self {
            Self::Exact(above, below) if below.is_zero() => (codes.of(above.signum() * FAR), false),
            Self::Exact(above, below) => (codes.of(above.divided(below.times(scale))), false),
            Self::Near(value, magnitude) => {
                let scale = scale.to_f64();
                let steps = value / scale;
                // Functions of libm err by less than 2 units in the last place; 16 leave room for the operations around
                // them, each of which errs by half a unit of numbers no greater than these.
                let error = magnitude.map(|m| 16.0 * f64::EPSILON * (steps.abs() + m / scale));
                let from_tie = ((steps - libm::floor(steps)) - 0.5).abs();
                let reaches_codes = steps.abs() < 1024.0;
                let code = codes.of(libm::rint(steps).clamp(f64::from(-FAR), f64::from(FAR)) as i32);
                (
                    code,
                    reaches_codes && error.is_some_and(|error| from_tie <= error),
                )
            }
        }
    }
}

/// The table of values, and the codes for which f64 cannot place them.
fn placed(to: QuantParams, clamp: Clamp, value: impl Fn(i8) -> Value) -> (Vec<u8>, Vec<i8>) {
    let (scale, codes) = (exact(to.scale), Codes::new(to, clamp));
    let table = tabulate(|code| value(code).code(scale, codes).0);
    let unsure = (i8::MIN..=i8::MAX).filter(|&code| value(code).code(scale, codes).1);
    (table, unsure.collect())
}

/// The table of a function, and the codes for which f64 cannot tell to which side of a tie the result falls.
///
/// Rational functions are exact. A transcendental function of a number other than zero has no true ties, and of zero
/// all are exact in f64. A function with steps is taken of the f32 that ONNX's dequantization gives: exact arithmetic may
/// lie on the other side of a step. What is no number (the root of a negative one) becomes zero, infinities saturate.
pub fn unary(kind: UnaryKind, from: QuantParams, to: QuantParams) -> (Vec<u8>, Vec<i8>) {
    let (function, alpha, beta) = kind.function();
    if let Some(clamp) = kind.clamp() {
        return (requantize(from, to, clamp), Vec::new());
    }
    placed(to, Clamp::NONE, |code| {
        let steps = i32::from(code) - from.zero_point;
        let x = exact_steps(steps).times(exact(from.scale));
        rational(function, x, steps as f32 * from.scale, alpha, beta).unwrap_or_else(|| {
            let y = function.apply(x.to_f64(), alpha.into(), beta.into());
            Value::Near(y, (!x.is_zero()).then(|| x.to_f64().abs()))
        })
    })
}

/// A function's exact value, where it is rational and not too long for [`Dyadic`]; `rounded` is `x` in f32.
fn rational(function: Function, x: Dyadic, rounded: f32, alpha: f32, beta: f32) -> Option<Value> {
    let (zero, one) = (exact_steps(0), exact_steps(1));
    let is_negative = x.signum() < 0;
    let value = match function {
        Function::Abs => x.abs(),
        Function::Neg => x.negated(),
        Function::Sign => exact_steps(x.signum()),
        Function::Reciprocal if x.is_zero() => return Some(Value::Exact(one, zero)),
        Function::Reciprocal => return Some(Value::Exact(one, x)),
        Function::Ceil | Function::Floor | Function::Round => {
            Dyadic::new(function.apply(rounded, alpha, beta))?
        }
        Function::LeakyRelu if is_negative => x.times(exact(alpha)),
        Function::Elu | Function::Celu if is_negative => return None,
        Function::LeakyRelu | Function::Elu | Function::Celu => x,
        Function::Selu if is_negative => return None,
        Function::Selu => x.times(exact(beta)),
        Function::HardSigmoid => unit(x.times(exact(alpha)).sum(exact(beta), 100)?),
        Function::HardSwish => {
            let sixth = exact(1.0 / 6.0);
            match unit(x.times(sixth).sum(exact(0.5), 100)?) {
                factor if factor.is_zero() => zero,
                factor if factor == one => x,
                _ => return None,
            }
        }
        Function::ThresholdedRelu if rounded > alpha => x,
        Function::ThresholdedRelu => zero,
        Function::Shrink if rounded < -alpha => x.sum(exact(beta), 100)?,
        Function::Shrink if rounded > alpha => x.sum(exact(beta).negated(), 100)?,
        Function::Shrink => zero,
        Function::Softsign => return Some(Value::Exact(x, one.sum(x.abs(), 36)?)),
        Function::Sqrt => {
            let root = libm::sqrt(x.to_f64()) as f32;
            Dyadic::new(root).filter(|root| root.to_f64() * root.to_f64() == x.to_f64())?
        }
        _ => return None,
    };
    Some(Value::whole(value))
}

/// Between 0 and 1.
fn unit(x: Dyadic) -> Dyadic {
    let one = exact_steps(1);
    if x.signum() < 0 {
        exact_steps(0)
    } else if x.to_f64() >= 1.0 {
        one
    } else {
        x
    }
}

/// The table of `x ∘ constant`, or of `constant ∘ x`, and the codes for which f64 cannot place the result; all but powers
/// are exact. A division by zero gives the end of the range that the numerator's sign asks for, as saturating an
/// infinity does, and zero over zero gives zero.
///
/// # Errors
/// Where a scale is not finite, or the operation has no table.
pub fn binary_constant(
    kind: BinaryKind,
    from: QuantParams,
    constant: Dyadic,
    constant_first: bool,
    to: QuantParams,
    clamp: Clamp,
) -> Result<(Vec<u8>, Vec<i8>), OpError> {
    Dyadic::new(to.scale).ok_or_else(|| OpError::new("the output's scale is not finite"))?;
    let from_scale =
        Dyadic::new(from.scale).ok_or_else(|| OpError::new("the input's scale is not finite"))?;
    let one = exact_steps(1);
    let of: fn(Dyadic, Dyadic) -> Value = match kind {
        BinaryKind::Add => |a, b| Value::whole(a.plus(b)),
        BinaryKind::Sub => |a, b| Value::whole(a.plus(b.negated())),
        BinaryKind::Mul => |a, b| Value::whole(a.times(b)),
        BinaryKind::Div => |a, b| Value::Exact(a, b),
        BinaryKind::Min => |a, b| Value::whole(if a.plus(b.negated()).signum() < 0 { a } else { b }),
        BinaryKind::Max => |a, b| Value::whole(if a.plus(b.negated()).signum() > 0 { a } else { b }),
        BinaryKind::PRelu => |a, b| Value::whole(if a.signum() < 0 { a.times(b) } else { a }),
        BinaryKind::Pow if !constant_first && constant == one => |a, _| Value::whole(a),
        BinaryKind::Pow if !constant_first && constant.to_f64() == 2.0 => |a, _| Value::whole(a.times(a)),
        BinaryKind::Pow => |a, b| {
            let power = libm::pow(a.to_f64(), b.to_f64());
            // Of 0 and of 1 and to the power of 0, powers are exact.
            let is_exact = a.is_zero() || b.is_zero() || a == exact_steps(1);
            Value::Near(power, (!is_exact).then(|| power.abs()))
        },
        BinaryKind::Fmod
        | BinaryKind::Mod
        | BinaryKind::And
        | BinaryKind::Or
        | BinaryKind::Xor
        | BinaryKind::ShiftLeft
        | BinaryKind::ShiftRight => {
            return Err(OpError::new(format!("{kind:?} has no int8 kernel"))
                .with_help("compile with --precision f32"));
        }
    };
    Ok(placed(to, clamp, |code| {
        let x = exact_steps(i32::from(code) - from.zero_point).times(from_scale);
        if constant_first {
            of(constant, x)
        } else {
            of(x, constant)
        }
    }))
}
