//! The threshold solver: one accumulator, one factor.

use tinsmith_runtime::{FixedScale, Rounding};

use super::factor::{Factor, div_ceil, div_floor};

/// The accumulators that can occur.
#[derive(Clone, Copy, Debug)]
pub enum Reach<'a> {
    /// Every integer from the first to the second.
    Range(i64, i64),
    /// These, ascending.
    Set(&'a [i64]),
}

impl Reach<'_> {
    /// The least one that is at least `limit`.
    fn at_or_above(self, limit: i64) -> Option<i64> {
        match self {
            Self::Range(min, max) => (limit <= max).then_some(limit.max(min)),
            Self::Set(set) => set.get(set.partition_point(|&acc| acc < limit)).copied(),
        }
    }

    /// The greatest one below `limit`.
    fn below(self, limit: i64) -> Option<i64> {
        match self {
            Self::Range(min, max) => (limit > min).then(|| max.min(limit - 1)),
            Self::Set(set) => set[..set.partition_point(|&acc| acc < limit)].last().copied(),
        }
    }
}

/// What becomes of the rounded accumulator: `clamp(rounded + zero_point, min, max)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codes {
    /// Added after rounding.
    pub zero_point: i32,
    /// Least code let through.
    pub min: i8,
    /// Greatest code let through.
    pub max: i8,
}

/// How well a fixed-point form meets the exact one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Equal on every reachable accumulator, with the multiplier nearest to the factor.
    Nearest,
    /// Equal on every reachable accumulator, with another multiplier.
    Moved,
    /// No multiplier and form are; the nearest one is given.
    Inexact,
}

/// The solver's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solved {
    /// The factor over `2^left_shift`, as the runtime holds it.
    pub scale: FixedScale,
    /// What was proven.
    pub fit: Fit,
}

/// The least left shift with which every factor has a multiplier below 2^31 at the least right shift; `None` where
/// that takes more than 31.
pub fn left_shift(factors: &[Factor]) -> Option<u8> {
    let least = i32::from(FixedScale::MIN_SHIFT);
    (0..=31u8).find(|&left| {
        factors
            .iter()
            .all(|factor| factor.scaled(least - i32::from(left)) <= i128::from(i32::MAX))
    })
}

/// Finds the multiplier and the form for which
/// `clamp(rescale(acc · 2^left_shift) + zero_point) = clamp(round_half_even(acc · factor) + zero_point)` for every
/// accumulator in reach. `left_shift` is at least [`left_shift`]'s for this factor.
///
/// ```text
/// for each code above the least:
///     t = the least accumulator in reach whose exact rounding gives it    t · m ≥ r, so m is bounded on one side
///     p = the greatest one below that                                     p · m < r, so m is bounded on the other
/// with r = (2q − 1)·2^(n−1), the product at which rounding begins to give q; a form with ties to even misses an
/// odd q at r itself, so there r + 1 takes its place
/// ```
pub fn solve(factor: Factor, reach: Reach<'_>, left_shift: u8, codes: Codes) -> Solved {
    let limit = i128::from(i32::MAX);
    // A finer grid holds every multiplier of a coarser one, so the greatest shift is the only one to try.
    let (n, nearest) = (FixedScale::MIN_SHIFT..=FixedScale::MAX_SHIFT)
        .rev()
        .map(|n| (n, factor.scaled(i32::from(n) - i32::from(left_shift))))
        .find(|&(_, nearest)| nearest <= limit)
        .unwrap_or((FixedScale::MIN_SHIFT, limit));
    let scale = |multiplier: i128, rounding| FixedScale {
        multiplier: multiplier as i32, // 0..=i32::MAX by the bounds above and below
        right_shift: n,
        rounding,
    };
    for rounding in [Rounding::Up, Rounding::Even] {
        let (low, high) = bounds(factor, reach, left_shift, codes, n, rounding);
        if low <= high {
            let multiplier = nearest.clamp(low, high);
            let fit = if multiplier == nearest {
                Fit::Nearest
            } else {
                Fit::Moved
            };
            return Solved {
                scale: scale(multiplier, rounding),
                fit,
            };
        }
    }
    Solved {
        scale: scale(nearest, Rounding::Even),
        fit: Fit::Inexact,
    }
}

/// The least and the greatest exact multiplier at right shift `n`; the least is the greater where there is none.
fn bounds(
    factor: Factor,
    reach: Reach<'_>,
    left_shift: u8,
    codes: Codes,
    n: u8,
    rounding: Rounding,
) -> (i128, i128) {
    let (mut low, mut high) = (0, i128::from(i32::MAX));
    // `product ≥ least` for a multiplier of `acc`, and `product < least`.
    let mut at_least = |acc: i64, least: i128| match acc << left_shift {
        0 if least > 0 => high = -1,
        0 => {}
        acc if acc > 0 => low = low.max(div_ceil(least, acc.into())),
        acc => high = high.min(div_floor(-least, (-acc).into())),
    };
    for code in i32::from(codes.min) + 1..=i32::from(codes.max) {
        let q = code - codes.zero_point;
        let (threshold, tie) = factor.reaches(q);
        let odd = q & 1 == 1;
        let threshold = if tie && odd { threshold + 1 } else { threshold };
        let mut least = i128::from(2 * q - 1) << (n - 1);
        if odd && rounding == Rounding::Even {
            least += 1;
        }
        if let Some(acc) = reach.at_or_above(threshold) {
            at_least(acc, least);
        }
        if let Some(acc) = reach.below(threshold) {
            // product < least  ⇔  −product ≥ 1 − least
            at_least(-acc, 1 - least);
        }
    }
    (low, high)
}
