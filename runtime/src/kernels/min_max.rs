//! The lesser or the greater of two broadcast operands, each through its own table.
//!
//! Layouts: operands strided, output row-major over `dims`. An operand that is dense like the output may be its own
//! region.

use super::table::{ENTRIES, look_up};
use super::{Extent, Extents, Kernel, elementwise, source, work_of};
use crate::arena::Memory;
use crate::format::MinMax;
use crate::kernels::kernel_of;

/// The kernel of [`MinMax`].
pub const fn kernel() -> Kernel {
    kernel_of!(MinMax, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = MinMax::read(fields)?;
    let extents = layer.extents()?;
    let ([a_table, b_table], _) = memory.constants(extents.constants)?.as_chunks() else {
        return None;
    };
    elementwise::run(
        memory,
        &layer.dims,
        &extents,
        [&layer.a_strides, &layer.b_strides],
        |a, b| {
            let (a, b) = (look_up(a_table, a as u8) as i8, look_up(b_table, b as u8) as i8);
            if layer.greatest == 0 { a.min(b) } else { a.max(b) }
        },
    )?;
    Some(extents.output)
}

impl MinMax {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let extents = elementwise::extents(
            &self.dims,
            [(self.a, &self.a_strides), (self.b, &self.b_strides)],
            self.ofm,
        )?;
        Some(Extents {
            constants: Some(Extent {
                offset: self.constants,
                bytes: 2 * ENTRIES,
            }),
            ..extents
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.dims)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.greatest <= 1
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.a = source(sources, 0);
        self.b = source(sources, 1);
        self.ofm = ofm;
        self.constants = constants;
    }
}
