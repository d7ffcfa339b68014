//! Exact reals of the form `mantissa · 2^exponent`, as far as rounding to int8 needs them.

use super::factor::mantissa;

/// `mantissa · 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dyadic {
    mantissa: i128,
    exponent: i32,
}

impl Dyadic {
    /// A finite f32; `None` of another.
    pub fn new(value: f32) -> Option<Self> {
        if value == 0.0 {
            return Some(Self {
                mantissa: 0,
                exponent: 0,
            });
        }
        let (mantissa, exponent) = mantissa(value.abs())?;
        Some(Self {
            mantissa: if value < 0.0 { -mantissa } else { mantissa },
            exponent,
        })
    }

    /// `steps · scale`, for `|steps| < 2^32`.
    pub fn steps(steps: i32, scale: f32) -> Option<Self> {
        let scale = Self::new(scale)?;
        Some(Self {
            mantissa: scale.mantissa * i128::from(steps),
            exponent: scale.exponent,
        })
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// −1, 0 or 1.
    pub fn signum(self) -> i32 {
        self.mantissa.signum() as i32
    }

    /// The product; the mantissas' bits add up to at most 100.
    pub fn times(self, other: Self) -> Self {
        Self {
            mantissa: self.mantissa * other.mantissa,
            exponent: self.exponent + other.exponent,
        }
    }

    /// The sum of two numbers of at most 33 mantissa bits each. Where their exponents lie more than 68 apart, the
    /// lesser one is replaced by its sign that far down: too small to matter in [`Dyadic::divided`] but for a tie,
    /// which it breaks as it would have.
    pub fn plus(self, other: Self) -> Self {
        const APART: i32 = 68;
        if self.is_zero() || other.is_zero() {
            return if self.is_zero() { other } else { self };
        }
        let (high, low) = if self.exponent >= other.exponent {
            (self, other)
        } else {
            (other, self)
        };
        let apart = high.exponent - low.exponent;
        let low_mantissa = if apart > APART {
            low.mantissa.signum()
        } else {
            low.mantissa
        };
        let apart = apart.min(APART);
        Self {
            mantissa: (high.mantissa << apart) + low_mantissa,
            exponent: high.exponent - apart,
        }
    }

    /// The exact sum, where it takes at most `bits` mantissa bits, at most 120; `None` elsewhere.
    pub fn sum(self, other: Self, bits: u32) -> Option<Self> {
        let (high, low) = if self.exponent >= other.exponent {
            (self, other)
        } else {
            (other, self)
        };
        let apart = u32::try_from(high.exponent - low.exponent).ok()?;
        let used = i128::BITS - high.mantissa.unsigned_abs().leading_zeros();
        if used + apart > bits.min(120) && !high.is_zero() {
            return None;
        }
        let mantissa = if high.is_zero() { 0 } else { high.mantissa << apart } + low.mantissa;
        let exponent = low.exponent;
        (mantissa.unsigned_abs().checked_ilog2().unwrap_or(0) < bits).then_some(Self { mantissa, exponent })
    }

    /// The nearest f64.
    pub fn to_f64(self) -> f64 {
        libm::ldexp(self.mantissa as f64, self.exponent)
    }

    /// Its sign set aside.
    pub fn abs(self) -> Self {
        Self {
            mantissa: self.mantissa.abs(),
            ..self
        }
    }

    /// The negative.
    pub fn negated(self) -> Self {
        Self {
            mantissa: -self.mantissa,
            ..self
        }
    }

    /// `⌊self · 2^fraction / divisor⌋`, and whether that is exact, for a divisor above zero. Below 2^119 in magnitude; `None`
    /// beyond. Where it takes more than 78 bits, the lowest may be zeros instead of what they are.
    pub fn fixed(self, divisor: Self, fraction: i32) -> Option<(i128, bool)> {
        if self.is_zero() {
            return Some((0, true));
        }
        let bits = |x: i128| 128 - x.unsigned_abs().leading_zeros() as i32;
        let shift = self.exponent - divisor.exponent + fraction;
        if bits(self.mantissa) - bits(divisor.mantissa) + shift > 118 {
            return None;
        }
        if shift < -64 {
            // Mantissas have at most 60 bits.
            return Some((if self.mantissa < 0 { -1 } else { 0 }, false));
        }
        let direct = shift.min(126 - bits(self.mantissa));
        let (above, below) = if direct >= 0 {
            (self.mantissa << direct, divisor.mantissa)
        } else {
            (self.mantissa, divisor.mantissa << -direct)
        };
        let exact = above.rem_euclid(below) == 0;
        Some((above.div_euclid(below) << (shift - direct), exact))
    }

    /// `self / divisor` to the nearest integer, ties to even, saturated to ±2^16; the divisor is not zero and has at
    /// most 60 mantissa bits.
    pub fn divided(self, divisor: Self) -> i32 {
        const FAR: i32 = 1 << 16;
        if self.is_zero() || divisor.is_zero() {
            return 0;
        }
        let negative = (self.mantissa < 0) != (divisor.mantissa < 0);
        let (mut above, mut below) = (self.mantissa.unsigned_abs(), divisor.mantissa.unsigned_abs());
        let twos = above.trailing_zeros();
        above >>= twos;
        let shift = self.exponent + twos as i32 - divisor.exponent;
        let log2 = above.ilog2() as i32 - below.ilog2() as i32 + shift;
        let magnitude = if log2 > 17 {
            FAR
        } else if log2 < -3 {
            0
        } else {
            // The quotient is between 2^−4 and 2^18 and `above` below 2^102, so both sides stay below 2^122.
            if shift >= 0 {
                above <<= shift;
            } else {
                below <<= -shift;
            }
            let (quotient, rest) = (above / below, above % below);
            let up = 2 * rest > below || (2 * rest == below && quotient & 1 == 1);
            (quotient as i32 + i32::from(up)).min(FAR)
        };
        if negative { -magnitude } else { magnitude }
    }
}
