//! Exact ratios for int16 codes: a factor of f32 scales as the runtime holds it, whole.

use tinsmith_runtime::format::Ratio;

use super::factor::{Factor, mantissa};
use crate::op::OpError;

/// Products in 64 bits stay below two to this.
const NARROW_BITS: i32 = 62;
/// Products in 128 bits do.
const WIDE_BITS: i32 = 126;
/// From two to this on, one step of a value is beyond all codes.
const FAR: i32 = 18;

/// `Π above / Π below`, times a sign, for values of up to `widest` in magnitude.
///
/// # Errors
/// Where a scale is not positive and finite.
pub fn ratio(above: &[f32], below: &[f32], widest: u64) -> Result<Ratio, OpError> {
    let factor = Factor::new(above, below, 1);
    let factor = factor.ok_or_else(|| OpError::new("a scale is not positive and finite"))?;
    factor.ratio(widest, false)
}

/// The codes' one grid of two operands: whole multipliers of their steps, and the power of two that those count.
///
/// # Errors
/// Where a scale is not positive and finite, or the scales lie too far apart.
pub fn on_grid(scales: [f32; 2]) -> Result<([i64; 2], i32), OpError> {
    /// The runtime's multipliers stay below two to this.
    const BITS: u32 = 44;
    let bad = || OpError::new("a scale is not positive and finite");
    let [a, b] = scales.map(mantissa);
    let (a, b) = (a.ok_or_else(bad)?, b.ok_or_else(bad)?);
    let grid = a.1.min(b.1);
    let on = |(mantissa, exponent): (i128, i32)| {
        let shift = exponent.abs_diff(grid);
        let bits = mantissa.unsigned_abs().ilog2() + 1 + shift;
        (bits <= BITS).then(|| (mantissa << shift) as i64)
    };
    match (on(a), on(b)) {
        (Some(a), Some(b)) => Ok(([a, b], grid)),
        _ => Err(OpError::new(format!(
            "steps of {:e} and {:e} lie too far apart to be added exactly",
            scales[0], scales[1]
        ))
        .with_help("give the operands scales that are powers of two, or less than 2^20 apart")),
    }
}

impl Factor {
    /// `2^exponent / scale`.
    pub fn of_grid(exponent: i32, scale: f32) -> Option<Self> {
        let unit = Self::new(&[], &[scale], 1)?;
        Some(unit.shifted(exponent))
    }

    /// The factor as the runtime holds it, for values of up to `widest` in magnitude; with a divisor even where it needs
    /// none, if `divided`.
    ///
    /// # Errors
    /// Where its terms are beyond the runtime's numbers.
    pub fn ratio(self, widest: u64, divided: bool) -> Result<Ratio, OpError> {
        let (numerator, denominator, exponent) = self.terms();
        let bits = |x: i128| 128 - x.leading_zeros() as i32;
        let widest_bits = 64 - widest.leading_zeros() as i32;
        let least_divisor = u32::from(divided);
        // Below a half, whatever the value; and a step beyond all codes.
        let reach = bits(numerator) + widest_bits + exponent - (bits(denominator) - 1);
        if widest == 0 || reach <= -1 {
            return Ok(Ratio {
                multiplier: 0,
                divisor: least_divisor,
                right_shift: 1,
            });
        }
        if self.log2() > FAR {
            let fits = widest_bits + FAR + 2 <= NARROW_BITS && !divided;
            return Ok(Ratio {
                multiplier: 1 << (FAR + 1),
                divisor: u32::from(!fits),
                right_shift: 1,
            });
        }
        let beyond = || {
            OpError::new(format!(
                "the factor {:e} is beyond an exact rescale",
                self.to_f64()
            ))
        };
        // At least one bit is shifted out, so that a half is a whole number.
        let up = (exponent + 1).max(0);
        let multiplier = i64::try_from(numerator << up).map_err(|_| beyond())?;
        let right_shift = (up - exponent) as u32; // at least 1
        let product_bits = bits(multiplier.into()) + widest_bits;
        let narrow = denominator == 1 && !divided && product_bits <= NARROW_BITS && right_shift <= 62;
        if !narrow && (product_bits > WIDE_BITS || right_shift > WIDE_BITS as u32) {
            return Err(beyond());
        }
        Ok(Ratio {
            multiplier,
            divisor: if narrow {
                0
            } else {
                u32::try_from(denominator).map_err(|_| beyond())?
            },
            right_shift,
        })
    }
}
