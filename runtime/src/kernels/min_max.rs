//! The lesser or the greater of two broadcast operands, each through its own table.
//!
//! Layouts: operands strided, output row-major over `dims`. An operand that is dense like the output may be its own
//! region.

use super::table::{ENTRIES, look_up};
use super::{Extent, Extents, Kernel, source};
use crate::arena::Memory;
use crate::format::{MinMax, Pair};
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
    layer.operands().map(memory, &extents, |a, b| {
        let (a, b) = (look_up(a_table, a as u8) as i8, look_up(b_table, b as u8) as i8);
        if layer.greatest == 0 { a.min(b) } else { a.max(b) }
    })?;
    Some(extents.output)
}

impl MinMax {
    /// The operands and the output, among whose fields the offset of the tables stands.
    const fn operands(&self) -> Pair {
        Pair {
            a: self.a,
            b: self.b,
            ofm: self.ofm,
            dims: self.dims,
            a_strides: self.a_strides,
            b_strides: self.b_strides,
        }
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let extents = self.operands().extents(1, 1)?;
        Some(Extents {
            constants: Some(Extent {
                offset: self.constants,
                bytes: 2 * ENTRIES,
            }),
            ..extents
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.operands().work()
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
