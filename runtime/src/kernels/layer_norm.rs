//! Normalization of rows of int8: `ofm[r][i] = clamp((x − mean) / √(variance + epsilon)·slope[i] + offset[i] + zp)`, mean and
//! variance being the row's. Layouts: input and output `[rows][width]`. May run in place.
//!
//! # Numbers
//!
//! With `n` elements `c` in a row, `S = Σ c` and `Q = Σ c²`, the whole numbers `D = n·c − S` and `V = n·Q − S²` are `n` times the
//! distance from the mean and `n²` times the variance, in steps of the input, whose scale and zero point play no part:
//! `(x − mean) / √(variance + epsilon) = D / √(V + E)`, where `E = epsilon·n²` in squares of steps. `|D| < 2^24`, `V < 2^46`.
//!
//! - `epsilon` is `E` in units of 2^−60, cut. `W = V + E` is shifted left to between 2^126 and 2^128, by `2j` bits, and its
//!   root cut to 64 bits.
//! - `inverse` is the reciprocal of the output's scale, 63 bits and an exponent. The factor of a row is `2^126 / root`, cut,
//!   times the inverse, cut to between 2^61 and 2^63.
//! - `slopes` have at most 38 bits and one exponent. An element's product `D·slope·factor` has at most 125 bits; it is shifted
//!   right by `right_shift − j`, its magnitude cut to units of 2^−40 steps of the output.
//! - `offsets` are in the same units, the lowest bit set where that is not exact, so that a tie is one. Both are added and
//!   rounded once, ties to even.
//!
//! The cuts make the factor too small or too large by less than 2^−59 of itself, so that the sum is off by less than 2^−59 of
//! the product and 2^−39 of a step: the code is the true one unless the exact value lies that close to a tie. Beyond that,
//! slopes less than 2^−14 of the greatest in their row are themselves rounded, to 2^−38 of it.

use super::{Extent, Extents, FIRST_IN_PLACE, Kernel, only, product, source, work_of};
use crate::arena::Memory;
use crate::arith::{Rounding, clamp};
use crate::format::LayerNorm;
use crate::kernels::kernel_of;

/// Bits behind the point of products and offsets.
pub const FRACTION: u32 = 40;
/// Bits behind the point of the epsilon.
pub const EPSILON_FRACTION: u32 = 60;
/// Bits of an epsilon, so that a variance can be added.
pub const EPSILON_BITS: u32 = 120;
/// Bits of a slope's magnitude.
pub const SLOPE_BITS: u32 = 38;
/// Bits of an offset's magnitude.
pub const OFFSET_BITS: u32 = 62;
/// Bits of the inverse, the highest of which is set.
pub const INVERSE_BITS: u32 = 63;
/// The widest row.
pub const MOST_WIDTH: u32 = 1 << 16;
/// Right shifts: no `j` of a row that is not of one value is above 33, none below 3.
pub const RIGHT_SHIFTS: core::ops::RangeInclusive<u8> = 33..=130;
/// Bytes of the constants block before the slopes.
const HEAD_BYTES: usize = 32;

/// The kernel of [`LayerNorm`].
pub const fn kernel() -> Kernel {
    kernel_of!(LayerNorm, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = LayerNorm::read(fields)?;
    let extents = layer.extents()?;
    let constants = layer.parts(memory.constants(extents.constants)?)?;
    let width = (layer.width as usize).max(1);
    for row in memory.output_from_source(&extents)?.chunks_exact_mut(width) {
        let (mut sum, mut squares) = (0i32, 0i32);
        for &x in row.iter() {
            let x = i32::from(x as i8);
            sum = sum.wrapping_add(x);
            squares = squares.wrapping_add(x.wrapping_mul(x));
        }
        let count = layer.width as i32;
        let whole = i64::from(count).wrapping_mul(squares.into());
        let variance = whole.wrapping_sub(i64::from(sum).wrapping_mul(sum.into()));
        let (factor, j) = constants.factor(variance as u64);
        let shift = u32::from(layer.right_shift).wrapping_sub(j) & 127;
        let numbers = constants.slopes.iter().zip(constants.offsets);
        for (slot, (&slope, &offset)) in row.iter_mut().zip(numbers) {
            let distance = count.wrapping_mul((*slot as i8).into()).wrapping_sub(sum);
            let scaled = i64::from(distance).wrapping_mul(i64::from_le_bytes(slope));
            let magnitude = u128::from(scaled.unsigned_abs()).wrapping_mul(factor.into()) >> shift;
            let product = if scaled < 0 {
                (magnitude as i128).wrapping_neg()
            } else {
                magnitude as i128
            };
            let value = product.wrapping_add(i64::from_le_bytes(offset).into());
            // Beyond 2^60 units every code is saturated.
            let value = value.clamp(-(1 << 60), 1 << 60) as i64;
            let steps = crate::arith::round_shift(value, FRACTION, Rounding::Even);
            *slot = clamp(
                steps.wrapping_add(layer.ofm_zero_point.into()),
                layer.min,
                layer.max,
            ) as u8;
        }
    }
    Some(extents.output)
}

/// The greatest number for which a condition holds that holds for all below.
fn greatest(holds: impl Fn(u128) -> bool) -> u64 {
    let mut found = 0u64;
    for bit in (0..64).rev() {
        let next = found | 1 << bit;
        if holds(next.into()) {
            found = next;
        }
    }
    found
}

/// A constants block.
struct Parts<'a> {
    epsilon: u128,
    inverse: u64,
    slopes: &'a [[u8; 8]],
    offsets: &'a [[u8; 8]],
}

impl Parts<'_> {
    /// The factor of a row, and `j`.
    fn factor(&self, variance: u64) -> (u64, u32) {
        let width = (u128::from(variance) << EPSILON_FRACTION).wrapping_add(self.epsilon);
        let j = width.leading_zeros() >> 1;
        let width = width << ((j << 1) & 127);
        let root = greatest(|root| root.wrapping_mul(root) <= width);
        let reciprocal = greatest(|reciprocal| reciprocal.wrapping_mul(root.into()) <= 1 << 126);
        let factor = u128::from(reciprocal).wrapping_mul(self.inverse.into()) >> INVERSE_BITS;
        (factor as u64, j)
    }
}

impl LayerNorm {
    /// The parts of a constants block.
    fn parts<'a>(&self, block: &'a [u8]) -> Option<Parts<'a>> {
        let (head, numbers) = block.split_at_checked(HEAD_BYTES)?;
        let (epsilon, rest) = head.split_first_chunk()?;
        let (slopes, offsets) = numbers.as_chunks().0.split_at_checked(self.width as usize)?;
        Some(Parts {
            epsilon: u128::from_le_bytes(*epsilon),
            inverse: u64::from_le_bytes(*rest.first_chunk()?),
            slopes,
            offsets,
        })
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let bytes = product(&[self.rows, self.width])?;
        let region = |offset| Extent { offset, bytes };
        Some(Extents {
            sources: only(region(self.ifm)),
            in_place: FIRST_IN_PLACE,
            output: region(self.ofm),
            constants: Some(Extent {
                offset: self.constants,
                bytes: self.width.checked_mul(16)?.checked_add(HEAD_BYTES as u32)?,
            }),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.rows, self.width])
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let below = |number: &[u8; 8], bits: u32| i64::from_le_bytes(*number).unsigned_abs() >> bits == 0;
        self.width <= MOST_WIDTH
            && RIGHT_SHIFTS.contains(&self.right_shift)
            && self.min <= self.max
            && self.parts(constants).is_some_and(|parts| {
                parts.epsilon > 0
                    && parts.epsilon >> EPSILON_BITS == 0
                    && parts.inverse >> (INVERSE_BITS - 1) == 1
                    && parts.slopes.iter().all(|slope| below(slope, SLOPE_BITS))
                    && parts.offsets.iter().all(|offset| below(offset, OFFSET_BITS))
            })
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
