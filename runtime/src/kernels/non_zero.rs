//! Where elements differ from zero, as many as there is room for.

use super::places::{is_element, next};
use super::{Extent, Extents, Kernel, only, product, source, work_of};
use crate::arena::Memory;
use crate::format::NonZero;
use crate::kernels::kernel_of;

/// The kernel of [`NonZero`].
pub const fn kernel() -> Kernel {
    kernel_of!(NonZero, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = NonZero::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    ofm.fill(0);
    let numbers = ofm.as_chunks_mut().0;
    let (bytes, most) = (usize::from(layer.element_bytes), layer.most as usize);
    let mut index = [0u32; 5];
    let mut found = 0usize;
    for element in 0..product(&layer.dims)? as usize {
        if found >= most {
            break;
        }
        let first = element.wrapping_mul(bytes);
        if !layer.is_zero(ifm.get(first..)?.get(..bytes)?) {
            for (axis, &at) in index.iter().take(layer.rank.into()).enumerate() {
                let to = axis.wrapping_mul(most).wrapping_add(found).wrapping_add(1);
                *numbers.get_mut(to)? = u64::from(at).to_le_bytes();
            }
            found = found.wrapping_add(1);
        }
        next(&mut index, &layer.dims);
    }
    *numbers.first_mut()? = (found as u64).to_le_bytes();
    Some(extents.output)
}

impl NonZero {
    /// Whether an element's bytes stand for zero.
    fn is_zero(&self, bytes: &[u8]) -> bool {
        let Some((&last, rest)) = bytes.split_last() else {
            return true;
        };
        let last = if self.is_real == 1 { last & 0x7f } else { last };
        let zero = if rest.is_empty() { self.zero as u8 } else { 0 };
        last == zero && rest.iter().all(|&byte| byte == 0)
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let numbers = self.most.checked_mul(self.rank.into())?.checked_add(1)?;
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: product(&self.dims)?.checked_mul(self.element_bytes.into())?,
            }),
            output: Extent {
                offset: self.ofm,
                bytes: numbers.checked_mul(8)?,
            },
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.dims)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        is_element(self.element_bytes) && self.rank <= 5 && self.is_real <= 1
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
