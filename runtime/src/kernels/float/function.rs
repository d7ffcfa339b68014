//! What reals are computed with: every function of one real and every operation on two, once for all who compute with
//! them. Kernels take them in f32; the reference executor in f32 and f64; tables of int8 come from f64.
//!
//! Formulas are ONNX's, with two liberties that cost no precision: `exp(x) − 1` is `expm1(x)` and `ln(1 + x)` is
//! `log1p(x)`. Nothing is fused; functions are those of the `libm` crate, but for
//! [`exp`](super::exp::exp) of f32.

use core::ops::{Add, Div, Mul, Neg, Sub};

/// A type of reals.
pub trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The nearest value.
    fn of(x: f64) -> Self;
    /// `exp(self)`.
    fn exp(self) -> Self;
    /// `exp(self) − 1`.
    fn expm1(self) -> Self;
    /// The natural logarithm.
    fn log(self) -> Self;
    /// `ln(1 + self)`.
    fn log1p(self) -> Self;
    /// The square root, correctly rounded.
    fn sqrt(self) -> Self;
    /// `self` to the power of `exponent`.
    fn pow(self, exponent: Self) -> Self;
    /// The rest of a division toward zero; of the dividend's sign.
    fn fmod(self, divisor: Self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// The nearest integer, ties to even.
    fn rint(self) -> Self;
    /// The integer below.
    fn floor(self) -> Self;
    /// The integer above.
    fn ceil(self) -> Self;
    /// The magnitude.
    fn abs(self) -> Self;
    /// The sine.
    fn sin(self) -> Self;
    /// The cosine.
    fn cos(self) -> Self;
    /// The tangent.
    fn tan(self) -> Self;
    /// The arc sine.
    fn asin(self) -> Self;
    /// The arc cosine.
    fn acos(self) -> Self;
    /// The arc tangent.
    fn atan(self) -> Self;
    /// The hyperbolic sine.
    fn sinh(self) -> Self;
    /// The hyperbolic cosine.
    fn cosh(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The inverse hyperbolic sine.
    fn asinh(self) -> Self;
    /// The inverse hyperbolic cosine.
    fn acosh(self) -> Self;
    /// The inverse hyperbolic tangent.
    fn atanh(self) -> Self;
}

macro_rules! real {
    ($real:ident: $($method:ident = $function:ident,)*) => {
        impl Real for $real {
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $real
            }
            #[inline(always)]
            fn exp(self) -> Self {
                real!(@exp $real)(self)
            }
            #[inline(always)]
            fn pow(self, exponent: Self) -> Self {
                real!(@pow $real)(self, exponent)
            }
            #[inline(always)]
            fn fmod(self, divisor: Self) -> Self {
                // Exact, so every implementation gives the same; libm's holds panics.
                self % divisor
            }
            $(#[inline(always)]
            fn $method(self) -> Self {
                libm::$function(self)
            })*
        }
    };
    (@exp f32) => { super::exp::exp };
    (@exp f64) => { libm::exp };
    (@pow f32) => { libm::powf };
    (@pow f64) => { libm::pow };
}

real! {
    f32:
    expm1 = expm1f, log = logf, log1p = log1pf, sqrt = sqrtf, erf = erff, rint = rintf, floor = floorf,
    ceil = ceilf, abs = fabsf, sin = sinf, cos = cosf, tan = tanf, asin = asinf, acos = acosf, atan = atanf,
    sinh = sinhf, cosh = coshf, tanh = tanhf, asinh = asinhf, acosh = acoshf, atanh = atanhf,
}
real! {
    f64:
    expm1 = expm1, log = log, log1p = log1p, sqrt = sqrt, erf = erf, rint = rint, floor = floor,
    ceil = ceil, abs = fabs, sin = sin, cos = cos, tan = tan, asin = asin, acos = acos, atan = atan,
    sinh = sinh, cosh = cosh, tanh = tanh, asinh = asinh, acosh = acosh, atanh = atanh,
}

/// A closed list of kinds with their codes in records.
macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$kind_doc:meta])* $kind:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$kind_doc])* $kind = $code,)* }

        impl $name {
            /// All of them, by code.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The one of this code.
            #[inline(always)]
            pub const fn of(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$kind),)* _ => None }
            }

            /// Its code in records.
            pub const fn code(self) -> u8 {
                self as u8
            }
        }
    };
}
pub(crate) use kinds;

kinds! {
    /// A function of one real `x`, with up to two parameters.
    Function {
        /// `x`, at least `alpha` and at most `beta`; NaN passes.
        Clamp = 0,
        /// `1 / (1 + exp(−x))`.
        Sigmoid = 1,
        /// `tanh(x)`.
        Tanh = 2,
        /// `|x|`.
        Abs = 3,
        /// `−x`.
        Neg = 4,
        /// `1 / x`.
        Reciprocal = 5,
        /// −1, 0 or 1; NaN of NaN.
        Sign = 6,
        /// The integer above.
        Ceil = 7,
        /// The integer below.
        Floor = 8,
        /// The nearest integer, ties to even.
        Round = 9,
        /// `√x`.
        Sqrt = 10,
        /// `exp(x)`.
        Exp = 11,
        /// `x` if it is not negative, `alpha·x` else.
        LeakyRelu = 12,
        /// `x` if it is not negative, `alpha·(exp(x) − 1)` else.
        Elu = 13,
        /// `beta·x` if it is positive, `beta·alpha·(exp(x) − 1)` else.
        Selu = 14,
        /// `x` if it is not negative, `alpha·(exp(x / alpha) − 1)` else.
        Celu = 15,
        /// `alpha·x + beta` between 0 and 1.
        HardSigmoid = 16,
        /// `x` times `x / 6 + 1/2` between 0 and 1.
        HardSwish = 17,
        /// `x` if it is greater than `alpha`, 0 else.
        ThresholdedRelu = 18,
        /// `x + beta` below `−alpha`, `x − beta` above `alpha`, 0 between.
        Shrink = 19,
        /// `x / (1 + |x|)`.
        Softsign = 20,
        /// `x / (1 + exp(−alpha·x))`.
        Swish = 21,
        /// The natural logarithm.
        Log = 22,
        /// The sine.
        Sin = 23,
        /// The cosine.
        Cos = 24,
        /// The tangent.
        Tan = 25,
        /// The arc sine.
        Asin = 26,
        /// The arc cosine.
        Acos = 27,
        /// The arc tangent.
        Atan = 28,
        /// The hyperbolic sine.
        Sinh = 29,
        /// The hyperbolic cosine.
        Cosh = 30,
        /// The inverse hyperbolic sine.
        Asinh = 31,
        /// The inverse hyperbolic cosine.
        Acosh = 32,
        /// The inverse hyperbolic tangent.
        Atanh = 33,
        /// The error function.
        Erf = 34,
        /// `ln(1 + exp(x))`.
        Softplus = 35,
        /// `x/2 · (1 + erf(x / √2))`.
        Gelu = 36,
        /// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
        GeluTanh = 37,
        /// `x · tanh(ln(1 + exp(x)))`.
        Mish = 38,
    }
}

impl Function {
    /// Whether it needs no other function than `exp`, `tanh` and the square root, which are what most models have: the
    /// others are a kernel of their own, so that a firmware without them does not carry them.
    pub const fn is_simple(self) -> bool {
        self.code() <= Self::Swish.code()
    }

    /// The function's value.
    #[inline]
    pub fn apply<R: Real>(self, x: R, alpha: R, beta: R) -> R {
        self.simple(x, alpha, beta)
            .unwrap_or_else(|| self.transcendental(x))
    }

    /// The value of a simple function.
    #[inline(always)]
    pub(super) fn simple<R: Real>(self, x: R, alpha: R, beta: R) -> Option<R> {
        let (zero, one) = (R::of(0.0), R::of(1.0));
        Some(match self {
            Self::Clamp => clamp(x, alpha, beta),
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::Abs => x.abs(),
            Self::Neg => -x,
            Self::Reciprocal => one / x,
            Self::Sign if x > zero => one,
            Self::Sign if x < zero => -one,
            Self::Sign => x,
            Self::Ceil => x.ceil(),
            Self::Floor => x.floor(),
            Self::Round => x.rint(),
            Self::Sqrt => x.sqrt(),
            Self::Exp => x.exp(),
            Self::LeakyRelu if x < zero => alpha * x,
            Self::Elu if x < zero => alpha * x.expm1(),
            Self::Celu if x < zero => alpha * (x / alpha).expm1(),
            Self::LeakyRelu | Self::Elu | Self::Celu => x,
            Self::Selu if x > zero => beta * x,
            Self::Selu => beta * (alpha * x.expm1()),
            Self::HardSigmoid => clamp(alpha * x + beta, zero, one),
            Self::HardSwish => x * clamp(R::of((1.0f32 / 6.0).into()) * x + R::of(0.5), zero, one),
            Self::ThresholdedRelu if x > alpha => x,
            Self::ThresholdedRelu => zero,
            Self::Shrink if x < -alpha => x + beta,
            Self::Shrink if x > alpha => x - beta,
            Self::Shrink => zero,
            Self::Softsign => x / (one + x.abs()),
            Self::Swish => x * sigmoid(alpha * x),
            _ => return None,
        })
    }

    /// The value of a function that is not simple; `x` itself else.
    #[inline(always)]
    pub(super) fn transcendental<R: Real>(self, x: R) -> R {
        let (half, one) = (R::of(0.5), R::of(1.0));
        match self {
            Self::Log => x.log(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tan => x.tan(),
            Self::Asin => x.asin(),
            Self::Acos => x.acos(),
            Self::Atan => x.atan(),
            Self::Sinh => x.sinh(),
            Self::Cosh => x.cosh(),
            Self::Asinh => x.asinh(),
            // Where there is none, the function of f64 gives numbers.
            Self::Acosh if x < one => R::of(f64::NAN),
            Self::Acosh => x.acosh(),
            Self::Atanh => x.atanh(),
            Self::Erf => x.erf(),
            Self::Softplus => softplus(x),
            Self::Gelu => half * x * (one + (x * R::of(core::f64::consts::FRAC_1_SQRT_2)).erf()),
            Self::GeluTanh => {
                let cube = R::of(0.044715) * x * x * x;
                let factor = R::of(0.797_884_560_802_865_4); // √(2/π)
                half * x * (one + (factor * (x + cube)).tanh())
            }
            Self::Mish => x * softplus(x).tanh(),
            _ => x,
        }
    }
}

fn clamp<R: Real>(x: R, min: R, max: R) -> R {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

fn sigmoid<R: Real>(x: R) -> R {
    let one = R::of(1.0);
    one / (one + (R::of(0.0) - x).exp())
}

fn softplus<R: Real>(x: R) -> R {
    // The exponential of a negative number cannot overflow.
    if x > R::of(0.0) {
        x + (-x).exp().log1p()
    } else {
        x.exp().log1p()
    }
}

kinds! {
    /// An operation on two reals.
    Operation {
        /// The sum.
        Add = 0,
        /// The difference.
        Sub = 1,
        /// The product.
        Mul = 2,
        /// The quotient.
        Div = 3,
        /// The lesser; NaN where one is.
        Min = 4,
        /// The greater; NaN where one is.
        Max = 5,
        /// `a` if it is not negative, `b·a` else.
        PRelu = 6,
        /// `a` to the power of `b`.
        Pow = 7,
        /// The rest of `a / b`, of the sign of `a`.
        Fmod = 8,
    }
}

impl Operation {
    /// Whether it needs no function of `libm`: the others are a kernel of their own, so that a firmware without them
    /// does not carry them.
    pub const fn is_simple(self) -> bool {
        self.code() <= Self::PRelu.code()
    }

    /// The operation's value.
    #[inline]
    pub fn apply<R: Real>(self, a: R, b: R) -> R {
        self.simple(a, b).unwrap_or_else(|| self.power(a, b))
    }

    /// The value of a simple operation.
    #[inline(always)]
    pub(super) fn simple<R: Real>(self, a: R, b: R) -> Option<R> {
        #[allow(clippy::eq_op, reason = "a NaN is what differs from itself")]
        let is_nan = a != a;
        Some(match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Min => {
                if a < b || is_nan {
                    a
                } else {
                    b
                }
            }
            Self::Max => {
                if a > b || is_nan {
                    a
                } else {
                    b
                }
            }
            Self::PRelu if a < R::of(0.0) => b * a,
            Self::PRelu => a,
            Self::Pow | Self::Fmod => return None,
        })
    }

    /// The value of an operation that is not simple.
    #[inline(always)]
    pub(super) fn power<R: Real>(self, a: R, b: R) -> R {
        if self == Self::Fmod { a.fmod(b) } else { a.pow(b) }
    }
}
