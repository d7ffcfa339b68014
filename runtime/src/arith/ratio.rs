//! Exact ratios: the rescale of int16 codes, whose 65,535 thresholds a multiplier of 31 bits cannot all meet.

use super::{Rounding, round_shift};
use crate::format::Ratio;

/// The greatest shift of the form in 64 bits.
const MOST_NARROW_SHIFT: u32 = 62;
/// The greatest shift of the form in 128 bits.
const MOST_SHIFT: u32 = 126;
/// What magnitudes saturate at: beyond all codes, whatever zero point is added.
const FAR: u128 = 1 << 40;

impl Ratio {
    /// Whether the shift is in the range of its form.
    pub const fn is_valid(self) -> bool {
        let most = if self.divisor == 0 {
            MOST_NARROW_SHIFT
        } else {
            MOST_SHIFT
        };
        self.right_shift >= 1 && self.right_shift <= most
    }

    /// `x · multiplier / (divisor · 2^right_shift)` to nearest, ties to even, saturated far beyond all codes.
    #[inline]
    pub const fn apply(self, x: i64) -> i64 {
        if self.divisor == 0 {
            // The compiler proved that the product stays below 2^62.
            let product = x.wrapping_mul(self.multiplier);
            return round_shift(product, self.right_shift, Rounding::Even);
        }
        self.divide(x)
    }

    /// The form in 128 bits: a long division of the magnitude, in digits of 32 bits. Ties to even are symmetric about
    /// zero, so the sign is set aside.
    #[inline(never)]
    const fn divide(self, x: i64) -> i64 {
        // Two magnitudes of at most 63 bits.
        let product = (x.unsigned_abs() as u128).wrapping_mul(self.multiplier.unsigned_abs() as u128);
        let (mut quotient, mut rest) = (0u128, 0u64);
        let mut left = 128u32;
        while left > 0 {
            left = left.wrapping_sub(32);
            let digit = (product >> (left & 127)) as u32;
            let part = (rest << 32) | digit as u64;
            let (Some(digit), Some(remainder)) = (
                part.checked_div(self.divisor as u64),
                part.checked_rem(self.divisor as u64),
            ) else {
                return 0;
            };
            quotient = (quotient << 32) | digit as u128;
            rest = remainder;
        }
        let n = self.right_shift & 127;
        let half = (1u128 << n) >> 1;
        let (whole, below) = (quotient >> n, quotient & half.wrapping_mul(2).wrapping_sub(1));
        let up = below > half || (below == half && (rest != 0 || whole & 1 == 1));
        let rounded = whole.wrapping_add(up as u128);
        let magnitude = if rounded > FAR { FAR } else { rounded } as i64;
        if (x < 0) == (self.multiplier < 0) {
            magnitude
        } else {
            magnitude.wrapping_neg()
        }
    }
}
