//! Sums of two int8 operands: multipliers for `(a − a_zp)·a_multiplier ± (b − b_zp)·b_multiplier`, every pair
//! checked against exact arithmetic.

use tinsmith_runtime::Rounding;
use tinsmith_runtime::arith::round_shift;

use super::factor::mantissa;
use super::solve::{Codes, Fit};

/// An operand: its parameters and the codes it can hold, ascending.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Real units of a step.
    pub scale: f32,
    /// The step that means zero.
    pub zero_point: i32,
    /// The codes it can hold, ascending.
    pub codes: &'a [i8],
}

/// How the runtime adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairScale {
    /// Multiplier of the first operand.
    pub a_multiplier: i32,
    /// Multiplier of the second; negative to subtract.
    pub b_multiplier: i32,
    /// The sum is shifted right by this.
    pub right_shift: u8,
    /// What happens to exact ties.
    pub rounding: Rounding,
    /// Whether the sum needs `i64`.
    pub wide: bool,
    /// What was proven.
    pub fit: Fit,
}

/// Finds the cheapest form that equals `round_half_even((a − a_zp)·a_scale ± (b − b_zp)·b_scale) / scale)` on every
/// pair of codes: sums in `i32` before sums in `i64`, ties up before ties to even. `None` where a factor cannot be
/// held with 31 bits: an operand whose steps are more than 2^30 output steps.
pub fn pair(a: Side<'_>, b: Side<'_>, subtract: bool, scale: f32, codes: Codes) -> Option<PairScale> {
    let wanted = exact_codes(a, b, subtract, scale, codes)?;
    let factors = [
        f64::from(a.scale) / f64::from(scale),
        f64::from(b.scale) / f64::from(scale),
    ];
    let mut nearest = None;
    for wide in [false, true] {
        let Some((shift, near)) = finest(factors, [a, b], wide) else {
            continue;
        };
        for rounding in [Rounding::Up, Rounding::Even] {
            for (moved, [da, db]) in NEIGHBOURS.into_iter().enumerate() {
                let [a_multiplier, b_multiplier] = [near[0] + da, near[1] + db];
                if a_multiplier < 0
                    || b_multiplier < 0
                    || !fits([a_multiplier, b_multiplier], [a, b], shift, wide)
                {
                    continue;
                }
                let candidate = PairScale {
                    a_multiplier: a_multiplier as i32, // proven by `fits`
                    b_multiplier: if subtract { -b_multiplier } else { b_multiplier } as i32,
                    right_shift: shift,
                    rounding,
                    wide,
                    fit: if moved == 0 { Fit::Nearest } else { Fit::Moved },
                };
                if candidate.gives(a, b, codes, &wanted) {
                    return Some(candidate);
                }
                if moved == 0 {
                    nearest = Some(candidate);
                }
            }
        }
    }
    nearest.map(|nearest| PairScale {
        fit: Fit::Inexact,
        ..nearest
    })
}

/// Steps from the nearest multipliers, the nearest first.
const NEIGHBOURS: [[i64; 2]; 9] = [
    [0, 0],
    [0, 1],
    [1, 0],
    [0, -1],
    [-1, 0],
    [1, 1],
    [-1, -1],
    [1, -1],
    [-1, 1],
];

/// The greatest shift that the width allows, and the multipliers nearest to the factors there.
fn finest(factors: [f64; 2], sides: [Side<'_>; 2], wide: bool) -> Option<(u8, [i64; 2])> {
    (1..=62u8).rev().find_map(|shift| {
        let multipliers = factors.map(|factor| libm::rint(libm::ldexp(factor, shift.into())));
        let multipliers = multipliers.map(|multiplier| multiplier.min(1e15) as i64);
        fits(multipliers, sides, shift, wide).then_some((shift, multipliers))
    })
}

/// Whether every sum, and the rounding on top of it, fits the width, and the multipliers `i32`.
fn fits(multipliers: [i64; 2], sides: [Side<'_>; 2], shift: u8, wide: bool) -> bool {
    let magnitude = |side: Side<'_>| {
        let ends = [side.codes.first(), side.codes.last()];
        let steps = ends
            .into_iter()
            .flatten()
            .map(|&code| (i64::from(code) - i64::from(side.zero_point)).abs());
        steps.max().unwrap_or(0)
    };
    let limit = if wide { i64::MAX >> 1 } else { i64::from(i32::MAX) };
    let most = magnitude(sides[0]) * multipliers[0] + magnitude(sides[1]) * multipliers[1];
    multipliers.iter().all(|&m| m <= i64::from(i32::MAX)) && most + (1i64 << (shift - 1)) <= limit
}

impl PairScale {
    /// Whether the fixed-point sum has these codes, in the order of [`exact_codes`].
    fn gives(&self, a: Side<'_>, b: Side<'_>, codes: Codes, wanted: &[i8]) -> bool {
        let product = |code: i8, zero_point: i32, multiplier: i32| {
            (i64::from(code) - i64::from(zero_point)) * i64::from(multiplier)
        };
        let right: Vec<i64> = b
            .codes
            .iter()
            .map(|&code| product(code, b.zero_point, self.b_multiplier))
            .collect();
        a.codes
            .iter()
            .zip(wanted.chunks(b.codes.len().max(1)))
            .all(|(&code, wanted)| {
                let left = product(code, a.zero_point, self.a_multiplier);
                right.iter().zip(wanted).all(|(right, &wanted)| {
                    let rounded = round_shift(left + right, self.right_shift.into(), self.rounding);
                    let rounded = rounded + i64::from(codes.zero_point);
                    rounded.clamp(codes.min.into(), codes.max.into()) == i64::from(wanted)
                })
            })
    }
}

/// What ONNX means for every pair: `a`'s codes outside, `b`'s inside.
fn exact_codes(a: Side<'_>, b: Side<'_>, subtract: bool, scale: f32, codes: Codes) -> Option<Vec<i8>> {
    // Both operands on one binary grid: a = (a − a_zp)·left·2^grid.
    let (a_mantissa, a_exponent) = mantissa(a.scale)?;
    let (b_mantissa, b_exponent) = mantissa(b.scale)?;
    let (out_mantissa, out_exponent) = mantissa(scale)?;
    let (left, right, grid) = on_one_grid((a_mantissa, a_exponent), (b_mantissa, b_exponent));
    let right = if subtract { -right } else { right };
    // sum·2^grid ≥ (q − 1/2)·out·2^out_exponent, tie excluded for odd q, is sum ≥ thresholds[q]; |sum| < 2^114.
    let shift = out_exponent - grid - 1;
    let thresholds: Vec<i128> = (i32::from(codes.min) + 1..=i32::from(codes.max))
        .map(|code| {
            let q = code - codes.zero_point;
            let wanted = i128::from(2 * q - 1) * out_mantissa; // below 2^34
            if shift >= 0 {
                let far = 1i128 << 120;
                if shift > 84 && wanted.unsigned_abs().ilog2() as i32 + shift >= 120 {
                    return wanted.signum() * far;
                }
                (wanted << shift) + i128::from(q & 1)
            } else if shift > -64 {
                let below = 1i128 << -shift;
                let tie = wanted.rem_euclid(below) == 0;
                wanted.div_euclid(below) + i128::from(!tie || q & 1 == 1)
            } else {
                i128::from(q > 0)
            }
        })
        .collect();
    let mut wanted = Vec::with_capacity(a.codes.len() * b.codes.len());
    for &x in a.codes {
        let left = i128::from(i32::from(x) - a.zero_point) * left;
        for &y in b.codes {
            let sum = left + i128::from(i32::from(y) - b.zero_point) * right;
            let reached = thresholds.partition_point(|&threshold| threshold <= sum);
            wanted.push((i32::from(codes.min) + reached as i32) as i8); // at most codes.max
        }
    }
    Some(wanted)
}

/// Two `mantissa · 2^exponent` as whole multiples of one power of two. Exponents more than 80 apart are brought to 80:
/// the lesser operand then only breaks ties, as it would have.
fn on_one_grid(a: (i128, i32), b: (i128, i32)) -> (i128, i128, i32) {
    const APART: i32 = 80;
    let apart = a.1 - b.1;
    if apart > APART {
        (a.0 << APART, 1, a.1 - APART)
    } else if apart < -APART {
        (1, b.0 << APART, b.1 - APART)
    } else if apart >= 0 {
        (a.0 << apart, b.0, b.1)
    } else {
        (a.0, b.0 << -apart, a.1)
    }
}
