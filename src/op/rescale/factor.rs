//! Exact ratios of f32 scales.

/// The exact positive number `numerator / denominator · 2^exponent`.
///
/// Products of at most two scales over at most two, and a count on either side: the numerator has at most 56 bits and the
/// denominator as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    numerator: i128,
    denominator: i128,
    exponent: i32,
}

impl Factor {
    /// `Π above / (Π below · count)`, or `None` where a scale is not positive and finite or the terms are too many: two
    /// above, and below one with any count, or two with a count below 256.
    pub fn new(above: &[f32], below: &[f32], count: u32) -> Option<Self> {
        let mut factor = Self {
            numerator: 1,
            denominator: i128::from(count),
            exponent: 0,
        };
        let most_below = if count < 256 { 2 } else { 1 };
        if above.len() > 2 || below.len() > most_below || count == 0 {
            return None;
        }
        for &scale in above {
            let (mantissa, exponent) = mantissa(scale)?;
            factor.numerator *= mantissa;
            factor.exponent += exponent;
        }
        for &scale in below {
            let (mantissa, exponent) = mantissa(scale)?;
            factor.denominator *= mantissa;
            factor.exponent -= exponent;
        }
        let twos = factor.denominator.trailing_zeros();
        factor.denominator >>= twos;
        factor.exponent -= twos as i32;
        Some(factor)
    }

    /// The factor of this many steps, from 1 to 255.
    pub fn of_steps(self, steps: u8) -> Option<Self> {
        (steps > 0).then_some(Self {
            numerator: self.numerator * i128::from(steps),
            ..self
        })
    }

    /// `self · 2^shift`.
    pub(super) fn shifted(self, shift: i32) -> Self {
        Self {
            exponent: self.exponent + shift,
            ..self
        }
    }

    /// Numerator, denominator and exponent. The denominator is odd.
    pub(super) fn terms(self) -> (i128, i128, i32) {
        (self.numerator, self.denominator, self.exponent)
    }

    /// The nearest f64, for messages.
    pub fn to_f64(self) -> f64 {
        libm::ldexp(self.numerator as f64 / self.denominator as f64, self.exponent)
    }

    /// `self · 2^shift`, rounded to the nearest integer, ties up; `i128::MAX` from 2^65 on.
    pub fn scaled(self, shift: i32) -> i128 {
        if self.log2() + shift > 64 {
            return i128::MAX;
        }
        // The value is below 2^66, so the shifted numerator is below 2^(66 + 56).
        let shift = shift + self.exponent;
        let (above, below) = if shift >= 0 {
            (self.numerator << shift, self.denominator)
        } else if shift > -64 {
            (self.numerator, self.denominator << -shift)
        } else {
            return 0; // below 2^56 · 2^−64
        };
        (2 * above + below) / (2 * below)
    }

    /// The least integer `a` with `a · self ≥ q − 1/2`, where rounding to nearest begins to give `q`, and whether
    /// the two are equal: a tie. Saturates at `±i64::MAX`.
    pub fn reaches(self, q: i32) -> (i64, bool) {
        // a ≥ wanted · 2^shift / numerator
        let wanted = i128::from(2 * q - 1) * self.denominator;
        let shift = -(self.exponent + 1);
        let log2 = |x: i128| x.unsigned_abs().ilog2() as i32;
        if log2(wanted) + shift - log2(self.numerator) > 63 {
            return (if q > 0 { i64::MAX } else { -i64::MAX }, false);
        }
        let (above, below) = if shift >= 0 {
            (wanted << shift, self.numerator) // below 2^(63 + 1 + 56) by the line above
        } else if shift > -71 {
            (wanted, self.numerator << -shift) // below 2^(56 + 70)
        } else {
            return (i64::from(q > 0), false); // |wanted| < 2^(56 + 10): the quotient is next to zero
        };
        let far = i128::from(i64::MAX);
        (div_ceil(above, below).clamp(-far, far) as i64, above % below == 0)
    }

    /// `⌊log2 self⌋`, or one more.
    pub fn log2(self) -> i32 {
        self.numerator.ilog2() as i32 - self.denominator.ilog2() as i32 + self.exponent
    }
}

/// An f32 as `mantissa · 2^exponent` with an odd mantissa; `None` unless positive and finite.
pub(super) fn mantissa(scale: f32) -> Option<(i128, i32)> {
    if !(scale.is_finite() && scale > 0.0) {
        return None;
    }
    let bits = scale.to_bits();
    let fraction = i128::from(bits & 0x7f_ffff);
    let (mantissa, exponent) = match bits >> 23 {
        0 => (fraction, -149),
        biased => (fraction | 0x80_0000, biased as i32 - 150),
    };
    let twos = mantissa.trailing_zeros();
    Some((mantissa >> twos, exponent + twos as i32))
}

/// `⌈a / b⌉` for positive `b`.
pub(super) fn div_ceil(a: i128, b: i128) -> i128 {
    a.div_euclid(b) + i128::from(a.rem_euclid(b) != 0)
}

/// `⌊a / b⌋` for positive `b`.
pub(super) fn div_floor(a: i128, b: i128) -> i128 {
    a.div_euclid(b)
}
