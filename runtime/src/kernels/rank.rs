//! The indices of the first elements along an axis: each is found by one walk over the axis, so no memory is needed
//! but the output's.

use core::cmp::Ordering;

use super::{Extent, Extents, Kernel, only, product, source, work_of};
use crate::arena::Memory;
use crate::format::Rank;
use crate::kernels::kernel_of;

/// Bytes of an index.
const INDEX: u32 = 8;

/// The kernel of [`Rank`].
pub const fn kernel() -> Kernel {
    kernel_of!(Rank, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Rank::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let (extent, inner) = (layer.extent as usize, layer.inner as usize);
    let first =
        |o: usize, extent: usize, i: usize| o.wrapping_mul(extent).wrapping_mul(inner).wrapping_add(i);
    for o in 0..layer.outer as usize {
        for i in 0..inner {
            let mut before: Option<(i32, usize)> = None;
            for k in 0..layer.count as usize {
                let mut best: Option<(i32, usize)> = None;
                for j in 0..extent {
                    let at = first(o, extent, i).wrapping_add(j.wrapping_mul(inner));
                    let found = (layer.key(ifm, at)?, j);
                    let is_next = before.is_none_or(|before| layer.order(before, found).is_lt());
                    if is_next && best.is_none_or(|best| layer.order(found, best).is_lt()) {
                        best = Some(found);
                    }
                }
                let to = first(o, layer.count as usize, i).wrapping_add(k.wrapping_mul(inner));
                let slot = ofm.as_chunks_mut().0.get_mut(to)?;
                *slot = (best?.1 as u64).to_le_bytes();
                before = best;
            }
        }
    }
    Some(extents.output)
}

impl Rank {
    /// A number in the order of the elements: reals by their bits, since an int8 firmware takes no float code.
    fn key(&self, ifm: &[u8], at: usize) -> Option<i32> {
        if self.element == 1 {
            return Some((*ifm.get(at)? as i8).into());
        }
        let bits = u32::from_le_bytes(*ifm.as_chunks().0.get(at)?);
        let size = bits & 0x7fff_ffff;
        Some(if size > 0x7f80_0000 {
            i32::MAX // NaN
        } else if bits == size {
            size as i32
        } else {
            (size as i32).wrapping_neg()
        })
    }

    /// Which of two elements and their indices comes first.
    fn order(&self, a: (i32, usize), b: (i32, usize)) -> Ordering {
        let by_value = if self.largest == 1 {
            b.0.cmp(&a.0)
        } else {
            a.0.cmp(&b.0)
        };
        let by_index = if self.last_of_equals == 1 {
            b.1.cmp(&a.1)
        } else {
            a.1.cmp(&b.1)
        };
        by_value.then(by_index)
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let width = if self.element == 1 { 1 } else { 4 };
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: product(&[self.outer, self.extent, self.inner, width])?,
            }),
            output: Extent {
                offset: self.ofm,
                bytes: product(&[self.outer, self.count, self.inner, INDEX])?,
            },
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.outer, self.extent, self.inner, self.count])
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.count <= self.extent && self.largest <= 1 && self.last_of_equals <= 1 && self.element <= 1
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
