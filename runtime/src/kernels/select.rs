//! One of two regions, whole: `ofm = condition ? a : b`. The condition is a byte; any but 0 holds. Never in place.

use crate::arena::Memory;
use crate::format::Select;
use crate::kernels::{Extent, Extents, Kernel, kernel_of, source};

/// The kernel of [`Select`].
pub const fn kernel() -> Kernel {
    kernel_of!(Select, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Select::read(fields)?;
    let extents = layer.extents()?;
    let [Some(condition), a, b] = extents.sources else {
        return None;
    };
    let holds = memory.source(condition)?.first() != Some(&0);
    let taken = Extents {
        sources: [if holds { a } else { b }, None, None],
        ..extents
    };
    let (from, to) = memory.source_and_output(&taken)?;
    to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
    Some(extents.output)
}

impl Select {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let of = |offset: u32, bytes: u32| Some(Extent { offset, bytes });
        Some(Extents {
            sources: [
                of(self.condition, 1),
                of(self.a, self.bytes),
                of(self.b, self.bytes),
            ],
            output: Extent {
                offset: self.ofm,
                bytes: self.bytes,
            },
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        Some(self.bytes.into())
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        true
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.condition = source(sources, 0);
        self.a = source(sources, 1);
        self.b = source(sources, 2);
        self.ofm = ofm;
    }
}
