//! Quotient of two broadcast operands: `ofm[i] = clamp((a[i] − a_zp)·multiplier / ((b[i] − b_zp)·2^right_shift) + zp)`, to
//! nearest, ties to even. The division is by shift and subtraction: a core may have none of 64 bits.
//!
//! Layouts: operands strided, output row-major over `dims`. An operand that is dense like the output may be its own
//! region.

use super::{Extent, Extents, Kernel};
use crate::arena::Memory;
use crate::arith::clamp;
use crate::format::Div;
use crate::kernels::kernel_of;

/// Bits of a quotient; codes lie at most 255 apart, so that greater ones saturate whatever they are.
const BITS: u32 = 9;
/// The greatest shift: eight bits of a divisor, this and those of a quotient stay within 64.
const MOST_SHIFT: u8 = 46;

/// The kernel of [`Div`].
pub const fn kernel() -> Kernel {
    kernel_of!(Div, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Div::read(fields)?;
    let extents = layer.extents()?;
    layer.operands.map(memory, &extents, |a, b| {
        let a = i32::from(a).wrapping_sub(layer.a_zero_point.into());
        let b = i32::from(b).wrapping_sub(layer.b_zero_point.into());
        let value = i64::from(layer.quotient(a, b)).wrapping_add(layer.ofm_zero_point.into());
        clamp(value, layer.min, layer.max)
    })?;
    Some(extents.output)
}

impl Div {
    /// The quotient of two numbers of steps, in steps of the output.
    fn quotient(&self, a: i32, b: i32) -> i32 {
        if a == 0 {
            return 0;
        }
        // 8 and 31 bits.
        let mut rest = u64::from(a.unsigned_abs()).wrapping_mul(self.multiplier as u64);
        let unit = u64::from(b.unsigned_abs()) << (self.right_shift & 63);
        let mut quotient = 0u32;
        for bit in (0..BITS).rev() {
            // A divisor of zero is never more than the rest: all bits are set.
            if rest >= unit << bit {
                rest = rest.wrapping_sub(unit << bit);
                quotient |= 1 << bit;
            }
        }
        let doubled = rest << 1;
        let up = doubled > unit || (doubled == unit && quotient & 1 == 1);
        let magnitude = quotient.wrapping_add(up.into()) as i32;
        if (a < 0) != (b < 0) {
            magnitude.wrapping_neg()
        } else {
            magnitude
        }
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        self.operands.extents(1, 1)
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.operands.work()
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.multiplier >= 0 && self.right_shift <= MOST_SHIFT && self.min <= self.max
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.operands.bind(sources, ofm);
    }
}
