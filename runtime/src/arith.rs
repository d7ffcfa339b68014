//! The numbers: the only code that rescales, used by compiler, host and device.
//!
//! A real factor `f` between two integer grids is held as `multiplier · 2^(−right_shift)`. One rounding takes an
//! accumulator to the output grid; the compiler chooses the multiplier and the form such that the result equals
//! ONNX's `saturate(round_half_even(acc · f) + zero_point)` for every accumulator that can occur.

mod ratio;

/// The positive factor `multiplier · 2^(−right_shift)`, with `0 ≤ multiplier < 2^31` and
/// [`FixedScale::MIN_SHIFT`]` ≤ right_shift ≤ `[`FixedScale::MAX_SHIFT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedScale {
    /// The factor's mantissa.
    pub multiplier: i32,
    /// The factor's negated exponent.
    pub right_shift: u8,
    /// What happens to exact ties.
    pub rounding: Rounding,
}

/// The two forms of the one rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// `(p + 2^(n−1)) >> n`: to nearest, ties toward +∞. The cheap form of every core.
    Up,
    /// `(p + 2^(n−1) − 1 + ((p >> n) & 1)) >> n`: to nearest, ties to even. Needed where exact ties are reachable.
    Even,
}

impl FixedScale {
    /// The least shift: below it the short forms of Armv7E-M, Helium and Neon are not exact.
    pub const MIN_SHIFT: u8 = 33;
    /// The greatest shift.
    pub const MAX_SHIFT: u8 = 55;
    /// Bit of a stored shift byte that says [`Rounding::Even`].
    const EVEN: u8 = 0x80;

    /// The factor as the blob stores it: multiplier, and shift with the rounding in its top bit.
    pub const fn to_stored(self) -> (i32, u8) {
        match self.rounding {
            Rounding::Up => (self.multiplier, self.right_shift),
            Rounding::Even => (self.multiplier, self.right_shift | Self::EVEN),
        }
    }

    /// The inverse of [`FixedScale::to_stored`]. The shift is masked to 63, so that no stored byte can overflow a
    /// shift; [`FixedScale::is_valid`] tells whether it is in range.
    pub const fn from_stored(multiplier: i32, shift: u8) -> Self {
        let rounding = if shift & Self::EVEN != 0 {
            Rounding::Even
        } else {
            Rounding::Up
        };
        Self {
            multiplier,
            right_shift: shift & 0x3f,
            rounding,
        }
    }

    /// Whether multiplier and shift are within their ranges.
    pub const fn is_valid(self) -> bool {
        self.multiplier >= 0 && self.right_shift >= Self::MIN_SHIFT && self.right_shift <= Self::MAX_SHIFT
    }

    /// `acc · self`, rounded once, for a valid factor.
    ///
    /// The shift is at least 33, so that the rounding constant `2^(n−1)` is a multiple of 2^32 and the product's low
    /// half matters in one case only: ties to even subtract one from it, which borrows where it is zero.
    #[inline(always)]
    pub const fn apply(self, acc: i32) -> i32 {
        // |acc| ≤ 2^31 and multiplier < 2^31: the high half is within 30 bits, and the nudge within 22.
        let product = (acc as i64).wrapping_mul(self.multiplier as i64);
        let (high, low) = ((product >> 32) as i32, product as u32);
        let k = (self.right_shift as u32).wrapping_sub(32) & 31;
        let nudged = high.wrapping_add((1i32 << k) >> 1);
        match self.rounding {
            Rounding::Up => nudged >> k,
            Rounding::Even => {
                let borrow = low == 0 && (high >> k) & 1 == 0;
                nudged.wrapping_sub(borrow as i32) >> k
            }
        }
    }
}

/// `value · 2^(−n)`, rounded to nearest; `1 ≤ n ≤ 62` and `|value| < 2^62`.
#[inline(always)]
pub const fn round_shift(value: i64, n: u32, rounding: Rounding) -> i64 {
    let half = (1i64 << (n & 63)) >> 1;
    match rounding {
        Rounding::Up => value.wrapping_add(half) >> (n & 63),
        Rounding::Even => {
            let odd = (value >> (n & 63)) & 1;
            value.wrapping_add(half - 1 + odd) >> (n & 63)
        }
    }
}

/// [`round_shift`] in 32 bits: `1 ≤ n ≤ 31`, and `|value| + 2^(n−1) < 2^31`.
#[inline(always)]
pub const fn round_shift_narrow(value: i32, n: u32, rounding: Rounding) -> i32 {
    let half = 1i32 << (n.wrapping_sub(1) & 31);
    match rounding {
        Rounding::Up => value.wrapping_add(half) >> (n & 31),
        Rounding::Even => {
            let odd = (value >> (n & 31)) & 1;
            value.wrapping_add(half - 1 + odd) >> (n & 31)
        }
    }
}

/// Accumulator steps to output steps: `acc · scale` to nearest, plus `zero_point`, clamped to `min..=max`.
#[inline(always)]
pub const fn requantize(acc: i32, scale: FixedScale, zero_point: i8, min: i8, max: i8) -> i8 {
    // 31 bits and 8 bits.
    let value = scale.apply(acc).wrapping_add(zero_point as i32);
    if value < min as i32 {
        min
    } else if value > max as i32 {
        max
    } else {
        value as i8
    }
}

/// `value` limited to `min..=max`.
#[inline(always)]
pub const fn clamp(value: i64, min: i8, max: i8) -> i8 {
    if value < min as i64 {
        min
    } else if value > max as i64 {
        max
    } else {
        value as i8
    }
}

/// `sum / count` to nearest, ties to even; `count ≥ 1` and `|sum| < 2^30`. Zero where `count` is zero.
#[inline(always)]
pub const fn divide_half_even(sum: i32, count: u32) -> i32 {
    let Some(quotient) = sum.unsigned_abs().checked_div(count) else {
        return 0;
    };
    let rest = sum.unsigned_abs().wrapping_sub(quotient.wrapping_mul(count));
    // The magnitude rounds the same way as the value: ties to even are symmetric about zero.
    let up = 2 * rest > count || (2 * rest == count && quotient & 1 == 1);
    let magnitude = quotient.wrapping_add(up as u32) as i32;
    if sum < 0 {
        magnitude.wrapping_neg()
    } else {
        magnitude
    }
}

/// ONNX `QuantizeLinear` to int8: `saturate(round_half_even(x / scale) + zero_point)`, in f32. NaN becomes the
/// zero point.
pub fn quantize(x: f32, scale: f32, zero_point: i8) -> i8 {
    let steps = libm::rintf(x / scale);
    // Saturating: the cast clamps to i32 and maps NaN to 0.
    clamp(steps as i32 as i64 + zero_point as i64, i8::MIN, i8::MAX)
}

/// ONNX `DequantizeLinear`: `(q − zero_point) · scale`, in f32.
pub fn dequantize(q: i8, scale: f32, zero_point: i8) -> f32 {
    (q as i32 - zero_point as i32) as f32 * scale
}

/// ONNX `QuantizeLinear` to int16, as [`quantize`].
pub fn quantize_wide(x: f32, scale: f32, zero_point: i16) -> i16 {
    let code = i64::from(libm::rintf(x / scale) as i32).wrapping_add(zero_point.into());
    clamp_wide(code, i16::MIN, i16::MAX)
}

/// ONNX `DequantizeLinear` of int16, as [`dequantize`].
pub fn dequantize_wide(q: i16, scale: f32, zero_point: i16) -> f32 {
    i32::from(q).wrapping_sub(zero_point.into()) as f32 * scale
}

/// `value` limited to `min..=max`, of int16.
#[inline(always)]
pub const fn clamp_wide(value: i64, min: i16, max: i16) -> i16 {
    if value < min as i64 {
        min
    } else if value > max as i64 {
        max
    } else {
        value as i16
    }
}
