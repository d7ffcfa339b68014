//! Product of two broadcast operands: `ofm[i] = requantize((a[i] − a_zp)·(b[i] − b_zp))`.
//!
//! Layouts: operands strided, output row-major over `dims`. An operand that is dense like the output may be its own
//! region.

use super::{Extent, Extents, Kernel};
use crate::arena::Memory;
use crate::arith::{FixedScale, requantize};
use crate::format::Mul;
use crate::kernels::kernel_of;

/// The kernel of [`Mul`].
pub const fn kernel() -> Kernel {
    kernel_of!(Mul, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Mul::read(fields)?;
    let extents = layer.extents()?;
    let scale = layer.scale();
    layer.operands.map(memory, &extents, |a, b| {
        let a = i32::from(a).wrapping_sub(layer.a_zero_point.into());
        let b = i32::from(b).wrapping_sub(layer.b_zero_point.into());
        let acc = a.wrapping_mul(b).wrapping_shl(layer.left_shift.into());
        requantize(acc, scale, layer.ofm_zero_point, layer.min, layer.max)
    })?;
    Some(extents.output)
}

impl Mul {
    pub(crate) fn extents(&self) -> Option<Extents> {
        self.operands.extents(1, 1)
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.operands.work()
    }

    fn scale(&self) -> FixedScale {
        FixedScale::from_stored(self.multiplier, self.shift)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.scale().is_valid() && self.left_shift < 16 && self.min <= self.max
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.operands.bind(sources, ofm);
    }
}
