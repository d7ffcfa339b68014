//! Bins of regions of images of reals, see [`crate::sample::Regions`]. A region of an image that does not exist is NaN.
//!
//! Layouts: input `[images][channels][height][width]`, regions `[regions][4]`, their images `[regions]` in i64, output
//! `[regions][channels][out_h][out_w]`. Never in place.

use super::{region, words, words_mut};
use crate::arena::Memory;
use crate::format::RoiAlignF32;
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, product, source, sources, work_of};
use crate::sample::Regions;

/// Bytes of an image's index.
const INDEX_BYTES: u32 = 8;

/// The kernel of [`RoiAlignF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(RoiAlignF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = RoiAlignF32::read(fields)?;
    let extents = layer.extents()?;
    let [ifm, rois, indices, ..] = extents.sources;
    let regions = Regions {
        image: [layer.height, layer.width],
        bins: [layer.out_h, layer.out_w],
        sampling: layer.sampling,
        scale: layer.scale,
        half_pixel: layer.half_pixel != 0,
        largest: layer.largest != 0,
    };
    let plane = product(&[layer.height, layer.width])? as usize;
    let channels = layer.channels as usize;
    let mut element = 0usize;
    for roi in 0..layer.regions as usize {
        let index = memory
            .source(indices?)?
            .as_chunks::<{ INDEX_BYTES as usize }>()
            .0
            .get(roi)?;
        let image = usize::try_from(i64::from_le_bytes(*index)).ok();
        let image = image.filter(|&image| image < layer.images as usize);
        let first = roi.wrapping_mul(4);
        let corners: &[_; 4] = words(memory.source(rois?)?).get(first..)?.first_chunk()?;
        let corners = corners.map(f32::from_le_bytes);
        for channel in 0..channels {
            for row in 0..layer.out_h {
                for column in 0..layer.out_w {
                    let y = match image {
                        None => f32::NAN,
                        Some(image) => {
                            let first = image.wrapping_mul(channels).wrapping_add(channel);
                            let pixels = words(memory.source(ifm?)?).get(first.wrapping_mul(plane)..)?;
                            let read = |index: usize| Some(f32::from_le_bytes(*pixels.get(index)?));
                            regions.bin(corners, [row, column], read)?
                        }
                    };
                    *words_mut(memory.output(extents.output)?).get_mut(element)? = y.to_le_bytes();
                    element = element.wrapping_add(1);
                }
            }
        }
    }
    Some(extents.output)
}

impl RoiAlignF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let indices = Extent {
            offset: self.indices,
            bytes: self.regions.checked_mul(INDEX_BYTES)?,
        };
        Some(Extents {
            sources: sources([
                region(
                    self.ifm,
                    product(&[self.images, self.channels, self.height, self.width])?,
                )?,
                region(self.rois, self.regions.checked_mul(4)?)?,
                indices,
            ]),
            output: region(
                self.ofm,
                product(&[self.regions, self.channels, self.out_h, self.out_w])?,
            )?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        let bins = work_of(&[self.regions, self.channels, self.out_h, self.out_w])?;
        bins.checked_mul(work_of(&[self.sampling, self.sampling, 4])?)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.sampling > 0 && self.half_pixel <= 1 && self.largest <= 1
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.rois = source(sources, 1);
        self.indices = source(sources, 2);
        self.ofm = ofm;
    }
}
