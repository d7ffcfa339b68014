//! Reals along some dimensions made one. Sums, means and products are computed in f64, in the order of the reduced
//! dimensions, and rounded once; NaN is both the greatest and the least.
//!
//! Layouts: input strided, output row-major over the dimensions that stay. Never in place.

use super::{WIDTH, Word, region, words, words_mut};
use crate::arena::Memory;
use crate::format::ReduceF32;
use crate::kernels::kernel_of;
use crate::kernels::only;
use crate::kernels::{Extent, Extents, Kernel, elementwise, product, source, work_of};

/// The kernel of [`ReduceF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(ReduceF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = ReduceF32::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let ifm = words(ifm);
    let mut slots = words_mut(ofm).iter_mut();
    let [d0, d1, d2, d3] = layer.kept.map(|extent| extent as usize);
    for i0 in 0..d0 {
        for i1 in 0..d1 {
            for i2 in 0..d2 {
                for i3 in 0..d3 {
                    let first = elementwise::offset(&[i0, i1, i2, i3], &layer.kept_strides);
                    *slots.next()? = layer.reduced(ifm, first)?.to_le_bytes();
                }
            }
        }
    }
    Some(extents.output)
}

impl ReduceF32 {
    /// What the elements from `first` on become.
    fn reduced(&self, ifm: &[Word], first: usize) -> Option<f32> {
        let (mut exact, mut picked) = match self.kind {
            2 => (0.0, f32::NEG_INFINITY),
            3 => (0.0, f32::INFINITY),
            4 => (1.0, 0.0),
            _ => (0.0, 0.0),
        };
        let [d0, d1, d2, d3] = self.reduced.map(|extent| extent as usize);
        let [.., step] = self.reduced_strides;
        for i0 in 0..d0 {
            for i1 in 0..d1 {
                for i2 in 0..d2 {
                    let row = elementwise::offset(&[i0, i1, i2, 0], &self.reduced_strides);
                    let mut at = first.wrapping_add(row);
                    for _ in 0..d3 {
                        let x = f32::from_le_bytes(*ifm.get(at)?);
                        match self.kind {
                            2 if x > picked || x.is_nan() => picked = x,
                            3 if x < picked || x.is_nan() => picked = x,
                            2 | 3 => {}
                            4 => exact *= f64::from(x),
                            _ => exact += f64::from(x),
                        }
                        at = at.wrapping_add(step as usize);
                    }
                }
            }
        }
        Some(match self.kind {
            2 | 3 => picked,
            1 => (exact / f64::from(product(&self.reduced)?)) as f32,
            _ => exact as f32,
        })
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let kept = elementwise::span(&self.kept, &self.kept_strides)?;
        let reduced = elementwise::span(&self.reduced, &self.reduced_strides)?;
        let elements = kept.checked_add(reduced.checked_sub(1)?)?;
        product(&self.reduced)?;
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: elements.checked_mul(WIDTH)?,
            }),
            output: region(self.ofm, product(&self.kept)?)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.kept)?.checked_mul(work_of(&self.reduced)?)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.kind <= 4
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
