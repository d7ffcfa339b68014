//! Softmax along rows: `ofm[r][i] = saturate(round_half_even(eᵢ / (Σ_j e_j · s_out)) + zp)` with
//! `eᵢ = exp(−s_in·(max_j x_j − xᵢ))`. Layouts: input and output `[rows][depth]`. May run in place.
//!
//! # Numbers
//!
//! The distance `d = max − xᵢ` is one of 0..=255, and `exp(−s_in·d) = high[d / 16] · low[d % 16]`. The constants block
//! holds the two lists, `u64[16]` each, little-endian, in units of 2^−63 (1.0 is stored as 2^63, exactly), each entry
//! to nearest. A product of two entries, cut to units of 2^−62, is off by less than 2^−61; for `d = 0` it is exact.
//! Sums are held in 128 bits and divisions are by shift and subtraction.
//!
//! *The narrow way.* Let `v = eᵢ / (Σ · s_out)`, the value to round. With `1/s_out ≤ 2^10` it is computed in units of
//! 2^−20 as one 32-bit product of `eᵢ`, cut to units of 2^−30 (short by less than 2^−29: two factors cut to 2^−31, and
//! their product), and `F = 1 / (Σ · s_out)`, cut to units of 2^−22. In units of 2^−20, `v` is then short by less than
//! 2 for `eᵢ`, 1/4 for `F` and 1 for its own cut; what makes it too large (rounded entries, the divisor's dropped
//! bits) is far below 1. Where `v` is further than [`DOUBT`]` = 8` such units from a rounding threshold, the rounded
//! narrow value is therefore the true one.
//!
//! *The wide way*, elsewhere: quotient and remainder of the 62-bit values, ties to even. If all elements of a row are
//! equal, the values are exact and so is a tie. Otherwise `v` is irrational (Lindemann and Weierstrass) and never on
//! a threshold; the wide value is wrong only where `v` is within `(1 + depth) · 2^−61 / s_out` of one.

pub use super::exponential::{constants, output_scale};

use super::{Extent, Extents, Kernel, product, source, work_of};
use crate::arena::Memory;
use crate::arith::clamp;
use crate::format::Softmax;
use crate::kernels::kernel_of;
use crate::kernels::{FIRST_IN_PLACE, only};

/// Bytes of the constants block.
pub const CONSTANTS_BYTES: usize = 256;
/// Entries of one list.
pub(super) const ENTRIES: usize = 16;
/// Longest row, so that sums of 62-bit values and their multiples stay within 128 bits.
const MOST_DEPTH: u32 = 1 << 24;
/// Least and greatest `scale_shift`: an output scale from 4 down to 2^−37.
pub(super) const SHIFTS: core::ops::RangeInclusive<u8> = 21..=60;
/// Greatest `scale_shift` of the narrow way: `1/s_out ≤ 2^10`.
const NARROW_SHIFT: u8 = 33;
/// Bits behind the point of the narrow way's values.
const FRACTION: u32 = 20;
/// Half-width of the band around a threshold in which the wide way decides, in units of the narrow way.
const DOUBT: u64 = 8;

/// The kernel of [`Softmax`].
pub const fn kernel() -> Kernel {
    kernel_of!(Softmax, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Softmax::read(fields)?;
    let extents = layer.extents()?;
    let exponentials = Exponentials::new(memory.constants(extents.constants)?)?;
    let values = memory.output_from_source(&extents)?;
    for row in values.chunks_exact_mut((layer.depth as usize).max(1)) {
        let largest = row.iter().fold(i8::MIN, |largest, &x| largest.max(x as i8));
        // At most 255, as a byte.
        let distance = |x: u8| (largest as u8).wrapping_sub(x);
        let sum = row.iter().fold(0u128, |sum, &x| {
            sum.wrapping_add(exponentials.wide(distance(x)).into())
        });
        // Σ · s_out in units of 2^(−62 − scale_shift): 86 and 24 bits.
        let divisor = multiply(sum, layer.scale_mantissa);
        let factor = layer.factor(divisor);
        for slot in row {
            let rounded = factor
                .and_then(|factor| narrow(exponentials.narrow(distance(*slot)), factor))
                .unwrap_or_else(|| layer.wide(exponentials.wide(distance(*slot)), divisor));
            let value = i64::from(rounded).wrapping_add(layer.ofm_zero_point.into());
            *slot = clamp(value, layer.min, layer.max) as u8;
        }
    }
    Some(extents.output)
}

/// The two lists of a constants block.
struct Exponentials<'a> {
    high: &'a [[u8; 8]; ENTRIES],
    low: &'a [[u8; 8]; ENTRIES],
}

impl<'a> Exponentials<'a> {
    fn new(block: &'a [u8]) -> Option<Self> {
        let (high, low) = block.as_chunks().0.split_first_chunk()?;
        Some(Self {
            high,
            low: low.first_chunk()?,
        })
    }

    fn entries(&self, distance: u8) -> [u64; 2] {
        let (high, low) = (usize::from(distance >> 4), usize::from(distance & 15));
        [
            u64::from_le_bytes(self.high[high]),
            u64::from_le_bytes(self.low[low]),
        ]
    }

    /// `exp(−s_in·distance)` in units of 2^−62.
    fn wide(&self, distance: u8) -> u64 {
        let [high, low] = self.entries(distance);
        let [a, b] = [high >> 32, high & 0xffff_ffff];
        let [c, d] = [low >> 32, low & 0xffff_ffff];
        // Of the four partial products of 32 bits; none of the sums leaves 64 bits.
        let middle = a.wrapping_mul(d).wrapping_add(b.wrapping_mul(d) >> 32);
        let crossed = b.wrapping_mul(c).wrapping_add(middle & 0xffff_ffff);
        a.wrapping_mul(c)
            .wrapping_add(middle >> 32)
            .wrapping_add(crossed >> 32)
    }

    /// The same in units of 2^−30.
    fn narrow(&self, distance: u8) -> u32 {
        let [high, low] = self.entries(distance);
        ((high >> 32).wrapping_mul(low >> 32) >> 32) as u32
    }
}

/// The narrow way; `None` in doubt.
fn narrow(exponential: u32, factor: u32) -> Option<u32> {
    let value = u64::from(exponential).wrapping_mul(factor.into()) >> 32;
    let shifted = value.wrapping_add(1 << (FRACTION - 1));
    let fraction = shifted & ((1 << FRACTION) - 1);
    let certain = fraction > DOUBT && fraction < (1 << FRACTION) - DOUBT;
    certain.then_some((shifted >> FRACTION) as u32)
}

/// `a · b`, from products of 32 bits: `a` has at most 96.
fn multiply(a: u128, b: u32) -> u128 {
    let part = |shift: u32| u128::from(u64::from((a >> shift) as u32).wrapping_mul(b.into())) << shift;
    part(0).wrapping_add(part(32)).wrapping_add(part(64))
}

/// Quotient of `bits` bits and remainder of `dividend / divisor`; all ones where the quotient is larger.
/// `divisor · 2^(bits − 1)` fits 128 bits.
fn long_divide(dividend: u128, divisor: u128, bits: u32) -> (u32, u128) {
    let (mut rest, mut quotient) = (dividend, 0u32);
    let mut divisor = (0..bits).skip(1).fold(divisor, |divisor, _| divisor << 1);
    for _ in 0..bits {
        quotient <<= 1;
        if rest >= divisor {
            rest = rest.wrapping_sub(divisor);
            quotient |= 1;
        }
        divisor >>= 1;
    }
    (quotient, rest)
}

impl Softmax {
    /// `F` of the module's documentation; `None` where the narrow way does not apply.
    fn factor(&self, divisor: u128) -> Option<u32> {
        // 2^(22 + 62 + shift) / divisor, both without their low 32 bits: the divisor has at least 85.
        let dividend = 1 << (52 + u32::from(self.scale_shift & 63));
        (self.scale_shift <= NARROW_SHIFT).then(|| long_divide(dividend, divisor >> 32, 32).0)
    }

    /// The wide way.
    fn wide(&self, exponential: u64, divisor: u128) -> u32 {
        // 62 and 60 bits; beyond nine bits of quotient every output is saturated.
        let dividend = u128::from(exponential) << (self.scale_shift & 63);
        let (quotient, rest) = long_divide(dividend, divisor, 9);
        let doubled = rest << 1;
        let up = doubled > divisor || (doubled == divisor && quotient & 1 == 1);
        quotient.wrapping_add(up.into())
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let bytes = product(&[self.rows, self.depth])?;
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes,
            }),
            in_place: FIRST_IN_PLACE,
            output: Extent {
                offset: self.ofm,
                bytes,
            },
            constants: Some(Extent {
                offset: self.constants,
                bytes: CONSTANTS_BYTES as u32,
            }),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.rows, self.depth])
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        (1 << 23..1 << 24).contains(&self.scale_mantissa)
            && SHIFTS.contains(&self.scale_shift)
            && self.depth <= MOST_DEPTH
            && self.min <= self.max
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
