//! Weighted sums of reals along one axis: `ofm[o][j][i] = Σ_t weights[j][t] · ifm[o][sources[j][t]][i]`, taps in their
//! order, those of weight zero left out.
//!
//! Layouts: input `[outer][extent][inner]`, output `[outer][outputs][inner]`. Never in place.

use super::{WIDTH, Word, region, words, words_mut};
use crate::arena::Memory;
use crate::format::ResampleF32;
use crate::kernels::kernel_of;
use crate::kernels::only;
use crate::kernels::{Extent, Extents, Kernel, product, source, work_of};

/// The kernel of [`ResampleF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(ResampleF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = ResampleF32::read(fields)?;
    let extents = layer.extents()?;
    let taps = (layer.taps as usize).max(1);
    let (sources, weights) = layer.tables(memory.constants(extents.constants)?)?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let (extent, inner) = (layer.extent as usize, (layer.inner as usize).max(1));
    let planes = words(ifm).chunks_exact(extent.checked_mul(inner)?.max(1));
    let mut rows = words_mut(ofm).chunks_exact_mut(inner);
    for plane in planes {
        for (sources, weights) in sources.chunks_exact(taps).zip(weights.chunks_exact(taps)) {
            for (i, slot) in rows.next()?.iter_mut().enumerate() {
                let mut sum = 0.0f32;
                for (&source, &weight) in sources.iter().zip(weights) {
                    let weight = f32::from_le_bytes(weight);
                    if weight != 0.0 {
                        let at = (u32::from_le_bytes(source) as usize).wrapping_mul(inner);
                        sum += weight * f32::from_le_bytes(*plane.get(at.wrapping_add(i))?);
                    }
                }
                *slot = sum.to_le_bytes();
            }
        }
    }
    Some(extents.output)
}

impl ResampleF32 {
    /// Sources and weights of a constants block.
    fn tables<'a>(&self, block: &'a [u8]) -> Option<(&'a [Word], &'a [Word])> {
        let count = product(&[self.outputs, self.taps])? as usize;
        words(block).split_at_checked(count)
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let table = product(&[self.outputs, self.taps, WIDTH])?;
        let block = Extent {
            offset: self.constants,
            bytes: table.checked_mul(2)?,
        };
        Some(Extents {
            sources: only(region(
                self.ifm,
                product(&[self.outer, self.extent, self.inner])?,
            )?),
            output: region(self.ofm, product(&[self.outer, self.outputs, self.inner])?)?,
            constants: Some(block),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.outer, self.outputs, self.inner, self.taps])
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let inside = |&source: &Word| u32::from_le_bytes(source) < self.extent;
        self.tables(constants)
            .is_some_and(|(sources, _)| sources.iter().all(inside))
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
