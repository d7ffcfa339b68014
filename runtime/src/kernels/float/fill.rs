//! Fills a region with one real: what constant padding holds.

use super::{region, words_mut};
use crate::arena::Memory;
use crate::format::FillF32;
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel};

/// The kernel of [`FillF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(FillF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = FillF32::read(fields)?;
    let extents = layer.extents()?;
    words_mut(memory.output(extents.output)?).fill(layer.value.to_le_bytes());
    Some(extents.output)
}

impl FillF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        Some(Extents {
            output: region(self.ofm, self.count)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        Some(self.count.into())
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        true
    }

    pub(crate) fn bind(&mut self, _sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ofm = ofm;
    }
}
