//! The host's half of softmax: its constants block and the parts of its output scale. Integers only, so that every
//! host writes the same bytes. No firmware links it.

use super::softmax::{CONSTANTS_BYTES, ENTRIES, SHIFTS};

/// Bits behind the point of the numbers here.
const FRACTION: u32 = 120;
/// ln 2, cut.
const LN_2: u128 = 0x00b1_7217_f7d1_cf79_abc9_e3b3_9803_f2f6;

/// A positive float as `mantissa · 2^exponent`.
fn parts(x: f32) -> (u32, i32) {
    let bits = x.to_bits();
    let (fraction, exponent) = (bits & 0x7f_ffff, (bits >> 23 & 0xff) as i32);
    match exponent {
        0 => (fraction, -149),
        _ => (fraction | 1 << 23, exponent - 150),
    }
}

/// `scale_mantissa` and `scale_shift` of a [`crate::format::Softmax`] whose output has this scale, positive and
/// finite. Above 4, where every output is zero steps, 4 stands in. `None` below 2^−37, where any output of a row
/// would saturate.
pub fn output_scale(ofm_scale: f32) -> Option<(u32, u8)> {
    let (mantissa, exponent) = parts(ofm_scale.min(4.0));
    let shift = u8::try_from(-exponent).ok()?;
    (SHIFTS.contains(&shift) && mantissa >> 23 == 1).then_some((mantissa, shift))
}

/// Writes the constants block of a softmax whose input has this scale, positive and finite: `exp(−scale·16·k)`, then
/// `exp(−scale·k)`, for `k` in 0..16, in units of 2^−63.
pub fn constants(ifm_scale: f32, block: &mut [u8; CONSTANTS_BYTES]) {
    let (mantissa, exponent) = parts(ifm_scale);
    let (entries, _) = block.as_chunks_mut::<8>();
    for (index, entry) in entries.iter_mut().enumerate() {
        let k = (index % ENTRIES) as u128;
        let steps = if index < ENTRIES { 16 * k } else { k };
        *entry = negative_exponential(u128::from(mantissa) * steps, exponent).to_le_bytes();
    }
}

/// `exp(−m·2^exponent)` in units of 2^−63, to nearest, for `m < 2^32`.
fn negative_exponential(m: u128, exponent: i32) -> u64 {
    // The argument in units of 2^−120. From 64 on the result is zero; cut bits of it do not matter.
    let shift = exponent + FRACTION as i32;
    if m == 0 {
        return 1 << 63;
    }
    if shift >= 0 && m.leading_zeros() as i32 - 2 < shift {
        return 0;
    }
    let x = if shift >= 0 {
        m << shift
    } else {
        m.checked_shr(shift.unsigned_abs()).unwrap_or(0)
    };

    // exp(−x) = 2^(−halvings) · exp(−rest), and the latter by its alternating series.
    let (halvings, rest) = (x / LN_2, x % LN_2);
    let (mut sum, mut term) = (0u128, 1u128 << FRACTION);
    let mut n = 0u128;
    while term > 0 {
        sum = if n.is_multiple_of(2) {
            sum + term
        } else {
            sum - term
        };
        n += 1;
        term = multiply(term, rest) / n;
    }
    let shift = FRACTION - 63 + halvings as u32;
    let half = 1u128.checked_shl(shift - 1).unwrap_or(0);
    (sum + half).checked_shr(shift).unwrap_or(0) as u64
}

/// `a · b` of two numbers below 2, cut.
fn multiply(a: u128, b: u128) -> u128 {
    let halves = |x: u128| (x >> 64, x & u128::from(u64::MAX));
    let ((a_high, a_low), (b_high, b_low)) = (halves(a), halves(b));
    let middle = a_high * b_low + a_low * b_high + ((a_low * b_low) >> 64);
    ((a_high * b_high) << (128 - FRACTION)) + (middle >> (FRACTION - 64))
}
