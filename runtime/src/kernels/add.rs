//! Scaled addition of two broadcast operands:
//! `ofm[i] = clamp(((a[i] − a_zp)·a_multiplier + (b[i] − b_zp)·b_multiplier) · 2^(−right_shift) + zp)`, rounded once.
//!
//! Layouts: operands strided, output row-major over `dims`. An operand that is dense like the output may be its own
//! region.

use super::{Extent, Extents, Kernel};
use crate::arena::Memory;
use crate::arith::{Rounding, clamp, round_shift, round_shift_narrow};
use crate::format::Add;
use crate::kernels::kernel_of;

/// The kernel of [`Add`].
pub const fn kernel() -> Kernel {
    kernel_of!(Add, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Add::read(fields)?;
    let extents = layer.extents()?;
    let rounding = if layer.rounding == 0 {
        Rounding::Up
    } else {
        Rounding::Even
    };
    layer.operands.map(memory, &extents, |a, b| {
        let a = i32::from(a).wrapping_sub(layer.a_zero_point.into());
        let b = i32::from(b).wrapping_sub(layer.b_zero_point.into());
        let rounded = if layer.wide == 0 {
            let sum = a
                .wrapping_mul(layer.a_multiplier)
                .wrapping_add(b.wrapping_mul(layer.b_multiplier));
            i64::from(round_shift_narrow(sum, layer.right_shift.into(), rounding))
        } else {
            // Two products of 9 and 32 bits.
            let a = i64::from(a).wrapping_mul(layer.a_multiplier.into());
            let b = i64::from(b).wrapping_mul(layer.b_multiplier.into());
            round_shift(a.wrapping_add(b), layer.right_shift.into(), rounding)
        };
        clamp(
            rounded.wrapping_add(layer.ofm_zero_point.into()),
            layer.min,
            layer.max,
        )
    })?;
    Some(extents.output)
}

impl Add {
    pub(crate) fn extents(&self) -> Option<Extents> {
        self.operands.extents(1, 1)
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.operands.work()
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        let most = if self.wide == 0 { 31 } else { 62 };
        (1..=most).contains(&self.right_shift) && self.rounding <= 1 && self.wide <= 1 && self.min <= self.max
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.operands.bind(sources, ofm);
    }
}
