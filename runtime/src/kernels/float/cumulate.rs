//! Sums and products that grow along an axis, one element after the other.

use super::{WIDTH, words, words_mut};
use crate::arena::Memory;
use crate::format::CumulateF32;
use crate::kernels::{Extent, Extents, Kernel, kernel_of, only, product, source, work_of};

/// The kernel of [`CumulateF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(CumulateF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = CumulateF32::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let (ifm, ofm) = (words(ifm), words_mut(ofm));
    let (extent, inner) = (layer.extent as usize, layer.inner as usize);
    for o in 0..layer.outer as usize {
        for i in 0..inner {
            let mut sum = if layer.product == 1 { 1.0 } else { 0.0 };
            for k in 0..extent {
                let k = if layer.reverse == 1 {
                    extent.wrapping_sub(1).wrapping_sub(k)
                } else {
                    k
                };
                let row = o.wrapping_mul(extent).wrapping_add(k);
                let at = row.wrapping_mul(inner).wrapping_add(i);
                let x = f32::from_le_bytes(*ifm.get(at)?);
                let next = if layer.product == 1 { sum * x } else { sum + x };
                let y = if layer.exclusive == 1 { sum } else { next };
                *ofm.get_mut(at)? = y.to_le_bytes();
                sum = next;
            }
        }
    }
    Some(extents.output)
}

impl CumulateF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let bytes = product(&[self.outer, self.extent, self.inner, WIDTH])?;
        let region = |offset: u32| Extent { offset, bytes };
        Some(Extents {
            sources: only(region(self.ifm)),
            output: region(self.ofm),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.outer, self.extent, self.inner])
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.product <= 1 && self.exclusive <= 1 && self.reverse <= 1
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
