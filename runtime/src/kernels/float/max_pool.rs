//! The largest real of each window, clamped. Padding does not take part; NaN is the largest.
//!
//! Layouts: input and output `[h][w][c]`. Never in place.

use super::{clamp, region, words, words_mut};
use crate::arena::Memory;
use crate::format::MaxPoolF32;
use crate::kernels::kernel_of;
use crate::kernels::only;
use crate::kernels::{Extent, Extents, Kernel, source};

/// The kernel of [`MaxPoolF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(MaxPoolF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = MaxPoolF32::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let (ifm, window) = (words(ifm), &layer.window);
    let channels = (layer.channels as usize).max(1);
    let mut pixels = words_mut(ofm).chunks_exact_mut(channels);
    for y in 0..usize::from(window.out_h) {
        let rows = window.rows(y);
        for x in 0..usize::from(window.out_w) {
            let columns = window.columns(x);
            for (channel, slot) in pixels.next()?.iter_mut().enumerate() {
                let mut largest = f32::NEG_INFINITY;
                for ky in rows.first..rows.end {
                    for kx in columns.first..columns.end {
                        let pixel = window.pixel(&rows, &columns, ky, kx);
                        let value = ifm.get(pixel.wrapping_mul(channels).wrapping_add(channel))?;
                        let value = f32::from_le_bytes(*value);
                        if value > largest || value.is_nan() {
                            largest = value;
                        }
                    }
                }
                *slot = clamp(largest, layer.min, layer.max).to_le_bytes();
            }
        }
    }
    Some(extents.output)
}

impl MaxPoolF32 {
    /// The channels; `None` where there are more than a window takes.
    fn channels(&self) -> Option<u16> {
        u16::try_from(self.channels).ok()
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let channels = self.channels()?;
        Some(Extents {
            sources: only(region(self.ifm, self.window.ifm_bytes(channels)?)?),
            output: region(self.ofm, self.window.ofm_bytes(channels)?)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.window.work(self.channels()?)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.window.is_valid() && self.min.total_cmp(&self.max).is_le()
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
