//! Fills a region with one byte: what constant padding holds.

use super::{Extent, Extents, Kernel};
use crate::arena::Memory;
use crate::format::Fill;
use crate::kernels::kernel_of;

/// The kernel of [`Fill`].
pub const fn kernel() -> Kernel {
    kernel_of!(Fill, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Fill::read(fields)?;
    let extents = layer.extents()?;
    memory.output(extents.output)?.fill(layer.value as u8);
    Some(extents.output)
}

impl Fill {
    pub(crate) fn extents(&self) -> Option<Extents> {
        Some(Extents {
            output: Extent {
                offset: self.ofm,
                bytes: self.count,
            },
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
