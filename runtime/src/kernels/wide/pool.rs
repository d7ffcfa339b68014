//! The largest or the mean of each window of int16, rescaled and clamped. Padding takes no part in the largest; a window of
//! padding alone gives the least code.
//!
//! Layouts: input and output `[images][d][h][w][c]`. Never in place.

use super::{codes, codes_mut, difference, region};
use crate::arena::Memory;
use crate::arith::clamp_wide;
use crate::format::{Pool16, Ratio, Window3};
use crate::kernels::{Extent, Extents, Kernel, kernel_of, only, product, source};

/// Channels computed at once.
const BLOCK: usize = 16;

/// The kernel of [`Pool16`].
pub const fn kernel() -> Kernel {
    kernel_of!(Pool16, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Pool16::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let (ifm, window) = (codes(ifm), &layer.window);
    let channels = (layer.channels as usize).max(1);
    let image_pixels = product(&window.ifm.map(u32::from))? as usize;
    let taps = window.taps()?;
    let start = if layer.kind == 0 {
        i64::from(i16::MIN).wrapping_sub(layer.ifm_zero_point.into())
    } else {
        0
    };
    let mut pixels = codes_mut(ofm).chunks_exact_mut(channels);
    window.positions(layer.images, |image, at| {
        let first_pixel = image.wrapping_mul(image_pixels);
        for (block, ofm) in pixels.next()?.chunks_mut(BLOCK).enumerate() {
            let mut values = [start; BLOCK];
            let mut inside = 0u32;
            window.visit(at, |tap| {
                let Some(pixel) = tap.pixel else {
                    return Some(());
                };
                inside = inside.wrapping_add(1);
                let first = first_pixel
                    .wrapping_add(pixel)
                    .wrapping_mul(channels)
                    .wrapping_add(block.wrapping_mul(BLOCK));
                let seen = ifm.get(first..)?.get(..ofm.len())?;
                for (value, &code) in values.iter_mut().zip(seen) {
                    let x = i64::from(difference(code, layer.ifm_zero_point));
                    *value = if layer.kind == 0 {
                        (*value).max(x)
                    } else {
                        value.wrapping_add(x)
                    };
                }
                Some(())
            })?;
            let count = match layer.kind {
                0 => 1,
                1 => inside.max(1),
                _ => taps,
            };
            let ratio = Ratio {
                divisor: layer.ratio.divisor.wrapping_mul(count),
                ..layer.ratio
            };
            for (slot, value) in ofm.iter_mut().zip(values) {
                let value = ratio.apply(value).wrapping_add(layer.ofm_zero_point.into());
                *slot = clamp_wide(value, layer.min, layer.max).to_le_bytes();
            }
        }
        Some(())
    })?;
    Some(extents.output)
}

impl Pool16 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        Some(Extents {
            sources: only(region(
                self.ifm,
                product(&Window3::around(self.images, self.window.ifm, self.channels))?,
            )?),
            output: region(
                self.ofm,
                product(&Window3::around(self.images, self.window.ofm, self.channels))?,
            )?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.window.work(self.images, self.channels)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        let taps = self.window.taps();
        let divides = taps.is_some_and(|taps| self.ratio.divisor.checked_mul(taps).is_some());
        self.window.is_valid()
            && self.ratio.is_valid()
            && self.kind <= 2
            && (self.kind == 0 || (self.ratio.divisor > 0 && divides))
            && self.min <= self.max
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
