//! Sums, products, lesser and greater of two broadcast operands of int16:
//! `ofm[i] = clamp(ratio((a[i] − a_zp)·a_multiplier ∘ (b[i] − b_zp)·b_multiplier) + zp)`.
//!
//! Layouts: operands strided, output row-major over `dims`. An operand that is dense like the output may be its own
//! region.

use super::{WIDTH, difference};
use crate::arena::Memory;
use crate::arith::clamp_wide;
use crate::format::Binary16;
use crate::kernels::{Extent, Extents, Kernel, elementwise, kernel_of, source, work_of};

/// Multipliers stay below this, so that the sum of two products stays below 2^62.
const MOST: u64 = 1 << 44;

/// The kernel of [`Binary16`].
pub const fn kernel() -> Kernel {
    kernel_of!(Binary16, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Binary16::read(fields)?;
    let extents = layer.extents()?;
    let [a_source, b_source, ..] = extents.sources;
    let (a_source, b_source) = (a_source?, b_source?);
    elementwise::each(&layer.dims, |at, number| {
        let element = |source: Extent, strides: &[u32; 4]| {
            elementwise::element(memory, source, elementwise::offset(at, strides)).copied()
        };
        let a = difference(element(a_source, &layer.a_strides)?, layer.a_zero_point);
        let b = difference(element(b_source, &layer.b_strides)?, layer.b_zero_point);
        let value = layer.ratio.apply(layer.combine(a.into(), b.into()));
        let value = value.wrapping_add(layer.ofm_zero_point.into());
        let code = clamp_wide(value, layer.min, layer.max).to_le_bytes();
        elementwise::put(memory, extents.output, number, code)
    })?;
    Some(extents.output)
}

impl Binary16 {
    fn combine(&self, a: i64, b: i64) -> i64 {
        if self.kind == 1 {
            return a.wrapping_mul(b);
        }
        let a = a.wrapping_mul(self.a_multiplier);
        let b = b.wrapping_mul(self.b_multiplier);
        match self.kind {
            0 => a.wrapping_add(b),
            2 => a.min(b),
            _ => a.max(b),
        }
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        elementwise::wide_extents(
            &self.dims,
            [(self.a, &self.a_strides, WIDTH), (self.b, &self.b_strides, WIDTH)],
            (self.ofm, WIDTH),
        )
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.dims)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        let multipliers = [self.a_multiplier, self.b_multiplier];
        self.ratio.is_valid()
            && self.kind <= 3
            && self.min <= self.max
            && multipliers
                .iter()
                .all(|multiplier| multiplier.unsigned_abs() < MOST)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.a = source(sources, 0);
        self.b = source(sources, 1);
        self.ofm = ofm;
    }
}
