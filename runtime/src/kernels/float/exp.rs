//! The exponential function of f32, without a branch or a table, so that compilers vectorise loops over it.

/// `1 / ln 2`.
const LOG2_E: f32 = core::f32::consts::LOG2_E;

/// `ln 2` in two parts: the first has ten significant bits, so that its products with the exponents of f32 are exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Added to a number below 2^22 and subtracted again, it leaves the nearest integer, which also stands in the sum's
/// lowest bits.
const ROUND: f32 = 12_582_912.0;

/// Where the result is infinite, and where it is zero.
const HIGHEST: f32 = 89.0;
const LOWEST: f32 = -104.0;

/// `exp(x)`, within one and a half units in the last place; NaN of NaN.
///
/// `x = n·ln 2 + r` with `|r| ≤ ln 2 / 2`, and `exp(r) ≈ 1 + r + r²·p(r)` by a polynomial of the fifth degree (Cephes,
/// `expf`). The power of two is multiplied in two halves, so that neither overflows where the result does not, and so
/// that subnormal results are rounded once.
#[inline]
#[allow(
    clippy::cast_possible_wrap,
    reason = "the bits of two numbers near each other, whose difference is small"
)]
pub fn exp(x: f32) -> f32 {
    let x = if x < LOWEST { LOWEST } else { x };
    let x = if x > HIGHEST { HIGHEST } else { x };
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = (p * (r * r) + r) + 1.0;
    let half = exponent >> 1;
    y * power_of_two(half) * power_of_two(exponent.wrapping_sub(half))
}

/// `2^exponent` for exponents of normal numbers.
#[inline(always)]
#[allow(clippy::cast_sign_loss, reason = "bits of a float")]
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits((exponent.wrapping_add(127) as u32) << 23)
}
