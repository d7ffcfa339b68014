//! Quotients of two int8 operands: a multiplier for `(a − a_zp)·multiplier / ((b − b_zp)·2^right_shift)`, bounded from both
//! sides by every pair of codes.

use super::factor::{Factor, div_ceil, div_floor};
use super::pair::Side;
use super::solve::{Codes, Fit};

/// The greatest shift that the runtime takes. Quotients of less than 2^−16 steps an output step are always zero.
const MOST_SHIFT: i32 = 46;

/// How the runtime divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotientScale {
    /// Factor of the quotient.
    pub multiplier: i32,
    /// The quotient is shifted right by this.
    pub right_shift: u8,
    /// What was proven.
    pub fit: Fit,
}

/// Finds the multiplier for which the runtime's quotient equals
/// `round_half_even((a − a_zp)·a_scale / ((b − b_zp)·b_scale·scale))` on every pair of codes whose divisor is not zero.
/// `None` where a scale is not positive and finite, or a step of the quotient is 2^30 output steps or more.
///
/// Both round magnitudes half to even, so the signs may be set aside. For each divisor `d` and each code distance `q`,
/// the least dividend `t` that reaches it bounds the multiplier from below, and `t − 1` from above:
/// `t·m ≥ (2q − 1)·d·2^(n−1) > (t − 1)·m`, a tie belonging to the even one of `q` and `q − 1`.
pub fn quotient(a: Side<'_>, b: Side<'_>, scale: f32, codes: Codes) -> Option<QuotientScale> {
    let factor = Factor::new(&[a.scale], &[b.scale, scale], 1)?;
    let shift = (30 - factor.log2()).min(MOST_SHIFT);
    if shift < 1 {
        return None;
    }
    let limit = i128::from(i32::MAX);
    let shift = if factor.scaled(shift) > limit {
        shift - 1
    } else {
        shift
    };
    let nearest = factor.scaled(shift);
    if shift < 1 || nearest > limit {
        return None;
    }
    let distance = |code: i8, zero_point: i32| (i64::from(code) - i64::from(zero_point)).unsigned_abs();
    let most = a
        .codes
        .iter()
        .map(|&code| distance(code, a.zero_point))
        .max()
        .unwrap_or(0);
    let mut divisors: Vec<u32> = b
        .codes
        .iter()
        .map(|&code| distance(code, b.zero_point) as u32)
        .collect();
    divisors.sort_unstable();
    divisors.dedup();
    // No code lies further from zero.
    let farthest = distance(codes.min, codes.zero_point).max(distance(codes.max, codes.zero_point)) as i32;
    let (mut low, mut high) = (0, limit);
    for divisor in divisors.into_iter().filter(|&divisor| divisor > 0) {
        let factor = Factor::new(&[a.scale], &[b.scale, scale], divisor)?;
        for q in 1..=farthest {
            let (reached, tie) = factor.reaches(q);
            let is_odd = q & 1 == 1;
            let threshold = reached + i64::from(tie && is_odd);
            let least = ((i128::from(2 * q - 1) * i128::from(divisor)) << (shift - 1)) + i128::from(is_odd);
            let most = most as i64; // at most 255
            if threshold <= most {
                low = low.max(div_ceil(least, threshold.into()));
            }
            let below = (threshold - 1).min(most);
            if below > 0 {
                high = high.min(div_floor(least - 1, below.into()));
            }
            if threshold > most {
                break;
            }
        }
    }
    let multiplier = nearest.min(high).max(low);
    let fit = if low > high {
        Fit::Inexact
    } else if multiplier == nearest {
        Fit::Nearest
    } else {
        Fit::Moved
    };
    Some(QuotientScale {
        multiplier: if fit == Fit::Inexact { nearest } else { multiplier } as i32, // up to the limit
        right_shift: shift as u8,                                                  // 1..=46
        fit,
    })
}
