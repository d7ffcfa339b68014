//! Where the largest real of each window lies. Padding does not take part; the first one of several counts, NaN before
//! all.
//!
//! Layouts: input and output `[planes][d][h][w]`, channels first. Never in place.

use super::{region, words};
use crate::arena::Memory;
use crate::format::{MaxPoolIndicesF32, Window3};
use crate::kernels::kernel_of;
use crate::kernels::only;
use crate::kernels::{Extent, Extents, Kernel, product, source};

/// Bytes of an index.
const INDEX_BYTES: u32 = 8;

/// The kernel of [`MaxPoolIndicesF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(MaxPoolIndicesF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = MaxPoolIndicesF32::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let (ifm, window) = (words(ifm), &layer.window);
    let [in_d, in_h, in_w] = window.ifm.map(usize::from);
    let plane_len = in_d.wrapping_mul(in_h).wrapping_mul(in_w);
    let mut indices = ofm.as_chunks_mut::<{ INDEX_BYTES as usize }>().0.iter_mut();
    window.positions(layer.planes, |plane, at| {
        let first = plane.wrapping_mul(plane_len);
        let mut largest: Option<(f32, usize)> = None;
        window.visit(at, |tap| {
            let Some(pixel) = tap.pixel else {
                return Some(());
            };
            let x = f32::from_le_bytes(*ifm.get(first.wrapping_add(pixel))?);
            let is_larger = |(most, _): (f32, usize)| x > most || (x.is_nan() && !most.is_nan());
            if largest.is_none_or(is_larger) {
                largest = Some((x, pixel));
            }
            Some(())
        })?;
        let index = match largest {
            None => -1,
            Some((_, pixel)) => {
                let pixel = if layer.column_major == 0 {
                    pixel
                } else {
                    let (row, w) = (pixel.checked_div(in_w)?, pixel.checked_rem(in_w)?);
                    let (d, h) = (row.checked_div(in_h)?, row.checked_rem(in_h)?);
                    let column = w.wrapping_mul(in_h).wrapping_add(h);
                    column.wrapping_mul(in_d).wrapping_add(d)
                };
                first.wrapping_add(pixel) as i64
            }
        };
        *indices.next()? = index.to_le_bytes();
        Some(())
    })?;
    Some(extents.output)
}

impl MaxPoolIndicesF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let ofm = product(&Window3::around(self.planes, self.window.ofm, INDEX_BYTES))?;
        Some(Extents {
            sources: only(region(
                self.ifm,
                product(&Window3::around(self.planes, self.window.ifm, 1))?,
            )?),
            output: Extent {
                offset: self.ofm,
                bytes: ofm,
            },
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.window.work(self.planes, 1)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.window.is_valid() && self.column_major <= 1
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
