//! Samples of reals at computed places: `ofm[n][c][p] = sample(ifm[n][c], grid[n][p])`, see [`crate::sample`].
//!
//! Layouts: input `[images][channels][d][h][w]`, points `[images][points][axes]` with the innermost coordinate first,
//! output `[images][channels][points]`. Never in place.

use super::{region, words, words_mut};
use crate::arena::Memory;
use crate::format::GridSampleF32;
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, product, source, sources, work_of};
use crate::sample::Grid;

/// The kernel of [`GridSampleF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(GridSampleF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = GridSampleF32::read(fields)?;
    let extents = layer.extents()?;
    let [ifm, points, ..] = extents.sources;
    let grid = layer.grid();
    let (axes, volume) = (usize::from(layer.axes), product(&layer.extents)? as usize);
    let (channels, count) = (layer.channels as usize, layer.points as usize);
    let mut element = 0usize;
    for image in 0..layer.images as usize {
        for channel in 0..channels {
            let plane = image
                .wrapping_mul(channels)
                .wrapping_add(channel)
                .wrapping_mul(volume);
            for point in 0..count {
                let first = image.wrapping_mul(count).wrapping_add(point).wrapping_mul(axes);
                let coordinates = words(memory.source(points?)?).get(first..)?.get(..axes)?;
                let mut at = [0.0f32; 3];
                for (slot, &x) in at.iter_mut().rev().zip(coordinates) {
                    *slot = f32::from_le_bytes(x);
                }
                let plane = words(memory.source(ifm?)?).get(plane..)?;
                let read = |index: usize| Some(f32::from_le_bytes(*plane.get(index)?));
                let y = grid.sample(at, read)?;
                *words_mut(memory.output(extents.output)?).get_mut(element)? = y.to_le_bytes();
                element = element.wrapping_add(1);
            }
        }
    }
    Some(extents.output)
}

impl GridSampleF32 {
    fn grid(&self) -> Grid {
        Grid {
            extents: self.extents,
            axes: self.axes,
            mode: self.mode,
            padding: self.padding,
            coordinates: self.coordinates,
        }
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let planes = product(&[self.images, self.channels])?;
        Some(Extents {
            sources: sources([
                region(self.ifm, planes.checked_mul(product(&self.extents)?)?)?,
                region(self.grid, product(&[self.images, self.points, self.axes.into()])?)?,
            ]),
            output: region(self.ofm, planes.checked_mul(self.points)?)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        // At most four taps along each of three axes.
        work_of(&[self.images, self.channels, self.points, 64])
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.grid().is_valid()
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.grid = source(sources, 1);
        self.ofm = ofm;
    }
}
