//! Any function of one int8 value: `ofm[i] = table[ifm[i] + 128]`. May run in place.

use super::{Extent, Extents, Kernel, source};
use crate::arena::Memory;
use crate::format::Table;
use crate::kernels::kernel_of;
use crate::kernels::{FIRST_IN_PLACE, only};

/// Entries of a table: one per int8 value.
pub(super) const ENTRIES: u32 = 256;

/// The kernel of [`Table`].
pub const fn kernel() -> Kernel {
    kernel_of!(Table, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let extents = Table::read(fields)?.extents()?;
    let table = memory.constants(extents.constants)?.first_chunk()?;
    for slot in memory.output_from_source(&extents)? {
        *slot = look_up(table, *slot);
    }
    Some(extents.output)
}

/// The entry of an int8 value.
#[inline(always)]
pub(super) fn look_up(table: &[u8; ENTRIES as usize], value: u8) -> u8 {
    // Flipping the sign bit adds 128; a byte cannot leave the table.
    table[usize::from(value ^ 0x80)]
}

impl Table {
    pub(crate) fn extents(&self) -> Option<Extents> {
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: self.count,
            }),
            in_place: FIRST_IN_PLACE,
            output: Extent {
                offset: self.ofm,
                bytes: self.count,
            },
            constants: Some(Extent {
                offset: self.constants,
                bytes: ENTRIES,
            }),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        Some(self.count.into())
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        true
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
