//! Elements in another type. Never in place.

use super::number::Number;
use super::{Extent, Extents, Kernel, only, source};
use crate::arena::Memory;
use crate::format::Convert;
use crate::kernels::kernel_of;

/// The kernel of [`Convert`].
pub const fn kernel() -> Kernel {
    kernel_of!(Convert, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Convert::read(fields)?;
    let (from, to) = (Number::of(layer.from)?, Number::of(layer.to)?);
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    for index in 0..layer.count as usize {
        to.write(ofm, index, from.read(ifm, index)?)?;
    }
    Some(extents.output)
}

impl Convert {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let region = |offset: u32, code: u8| {
            let bytes = self.count.checked_mul(Number::of(code)?.bytes())?;
            Some(Extent { offset, bytes })
        };
        Some(Extents {
            sources: only(region(self.ifm, self.from)?),
            output: region(self.ofm, self.to)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        Some(self.count.into())
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        true
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
