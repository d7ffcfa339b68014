//! The mean of the reals of each window, clamped: summed and divided in f64, rounded once. Padding contributes zeros.
//!
//! Layouts: input and output `[h][w][c]`. Never in place.

use super::{clamp, region, words, words_mut};
use crate::arena::Memory;
use crate::format::AveragePoolF32;
use crate::kernels::kernel_of;
use crate::kernels::only;
use crate::kernels::{Extent, Extents, Kernel, source};

/// The kernel of [`AveragePoolF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(AveragePoolF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = AveragePoolF32::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let (ifm, window) = (words(ifm), &layer.window);
    let channels = (layer.channels as usize).max(1);
    let mut pixels = words_mut(ofm).chunks_exact_mut(channels);
    for y in 0..usize::from(window.out_h) {
        let rows = window.rows(y);
        for x in 0..usize::from(window.out_w) {
            let columns = window.columns(x);
            let count = if layer.count_include_pad == 0 {
                rows.count().wrapping_mul(columns.count()) as u32
            } else {
                window.kernel_taps()
            };
            for (channel, slot) in pixels.next()?.iter_mut().enumerate() {
                let mut sum = 0.0f64;
                for ky in rows.first..rows.end {
                    for kx in columns.first..columns.end {
                        let pixel = window.pixel(&rows, &columns, ky, kx);
                        let value = ifm.get(pixel.wrapping_mul(channels).wrapping_add(channel))?;
                        sum += f64::from(f32::from_le_bytes(*value));
                    }
                }
                let mean = (sum / f64::from(count)) as f32;
                *slot = clamp(mean, layer.min, layer.max).to_le_bytes();
            }
        }
    }
    Some(extents.output)
}

impl AveragePoolF32 {
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
        self.window.is_valid() && self.min.total_cmp(&self.max).is_le() && self.count_include_pad <= 1
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
