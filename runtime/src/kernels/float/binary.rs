//! Two broadcast operands of reals: `ofm[i] = clamp(a[i] ∘ b[i])`.
//!
//! Layouts: operands strided, output row-major over `dims`. An operand that is dense like the output may be its own
//! region.

use super::{WIDTH, clamp, words, words_mut};
use crate::arena::Memory;
use crate::format::BinaryF32;
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, elementwise, source, work_of};

/// The kernel of [`BinaryF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(BinaryF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = BinaryF32::read(fields)?;
    let extents = layer.extents()?;
    let [a_source, b_source, ..] = extents.sources;
    let [d0, d1, d2, d3] = layer.dims.map(|extent| extent as usize);
    let mut element = 0usize;
    for i0 in 0..d0 {
        for i1 in 0..d1 {
            for i2 in 0..d2 {
                for i3 in 0..d3 {
                    let at = [i0, i1, i2, i3];
                    let a = read(memory, a_source?, elementwise::offset(&at, &layer.a_strides))?;
                    let b = read(memory, b_source?, elementwise::offset(&at, &layer.b_strides))?;
                    let y = match layer.kind {
                        0 => a + b,
                        1 => a - b,
                        2 => a * b,
                        _ => a / b,
                    };
                    let y = clamp(y, layer.min, layer.max);
                    *words_mut(memory.output(extents.output)?).get_mut(element)? = y.to_le_bytes();
                    element = element.wrapping_add(1);
                }
            }
        }
    }
    Some(extents.output)
}

/// An element of a source.
fn read(memory: &Memory<'_>, source: Extent, element: usize) -> Option<f32> {
    let word = words(memory.source(source)?).get(element)?;
    Some(f32::from_le_bytes(*word))
}

impl BinaryF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let elements = elementwise::extents(
            &self.dims,
            [(self.a, &self.a_strides), (self.b, &self.b_strides)],
            self.ofm,
        )?;
        let wide = |extent: Extent| {
            let bytes = extent.bytes.checked_mul(WIDTH)?;
            Some(Extent { bytes, ..extent })
        };
        let [a, b, ..] = elements.sources;
        Some(Extents {
            sources: [Some(wide(a?)?), Some(wide(b?)?), None],
            output: wide(elements.output)?,
            ..elements
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.dims)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.kind <= 3 && self.min.total_cmp(&self.max).is_le()
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.a = source(sources, 0);
        self.b = source(sources, 1);
        self.ofm = ofm;
    }
}
