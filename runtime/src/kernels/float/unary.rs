//! Functions of one real: clamp, sigmoid, tanh. May run in place.

use super::{clamp, region, words_mut};
use crate::arena::Memory;
use crate::format::UnaryF32;
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, source};
use crate::kernels::{FIRST_IN_PLACE, only};

/// The kernel of [`UnaryF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(UnaryF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = UnaryF32::read(fields)?;
    let extents = layer.extents()?;
    for slot in words_mut(memory.output_from_source(&extents)?) {
        let x = f32::from_le_bytes(*slot);
        let y = match layer.kind {
            0 => clamp(x, layer.min, layer.max),
            1 => 1.0 / (1.0 + libm::expf(0.0 - x)),
            _ => libm::tanhf(x),
        };
        *slot = y.to_le_bytes();
    }
    Some(extents.output)
}

impl UnaryF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        Some(Extents {
            sources: only(region(self.ifm, self.count)?),
            in_place: FIRST_IN_PLACE,
            output: region(self.ofm, self.count)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        Some(self.count.into())
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.kind <= 2 && self.min.total_cmp(&self.max).is_le()
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
