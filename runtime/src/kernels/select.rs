//! One of two broadcast operands by a condition: `ofm[i] = if condition[i] { a[i] } else { b[i] }`.
//!
//! Layouts: condition and operands strided, output row-major over `dims`. What is dense like the output and has
//! elements of its width may be its own region.

use super::elementwise::{self, element, offset, put};
use super::{Extent, Extents, Kernel, source, work_of};
use crate::arena::Memory;
use crate::format::Select;
use crate::kernels::kernel_of;

/// The kernel of [`Select`].
pub const fn kernel() -> Kernel {
    kernel_of!(Select, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Select::read(fields)?;
    let extents = layer.extents()?;
    let move_all = match layer.element_bytes {
        1 => run_wide::<1>,
        2 => run_wide::<2>,
        4 => run_wide::<4>,
        _ => run_wide::<8>,
    };
    move_all(&layer, &extents, memory)?;
    Some(extents.output)
}

fn run_wide<const WIDTH: usize>(layer: &Select, extents: &Extents, memory: &mut Memory<'_>) -> Option<()> {
    let [condition, a, b, ..] = extents.sources;
    elementwise::each(&layer.dims, |at, index| {
        let [taken] = *element(memory, condition?, offset(at, &layer.condition_strides))?;
        let (from, strides) = if taken == 0 {
            (b?, &layer.b_strides)
        } else {
            (a?, &layer.a_strides)
        };
        let moved: [u8; WIDTH] = *element(memory, from, offset(at, strides))?;
        put(memory, extents.output, index, moved)
    })
}

impl Select {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let width = self.element_bytes.into();
        elementwise::wide_extents(
            &self.dims,
            [
                (self.condition, &self.condition_strides, 1),
                (self.a, &self.a_strides, width),
                (self.b, &self.b_strides, width),
            ],
            (self.ofm, width),
        )
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.dims)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        matches!(self.element_bytes, 1 | 2 | 4 | 8)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.condition = source(sources, 0);
        self.a = source(sources, 1);
        self.b = source(sources, 2);
        self.ofm = ofm;
    }
}
