//! Strided copy.

use super::table::ENTRIES;
use super::{Extent, Extents, source, work_of};
use crate::format::{IN_CONSTANTS, StridedCopy};

/// The smallest region that holds every element: from `first`, the byte of the element at index zero.
fn region(first: u32, dims: &[u32; 5], strides: &[i32; 5], element_bytes: u8) -> Option<Extent> {
    let (mut low, mut high) = (0i64, 0i64);
    for (&extent, &stride) in dims.iter().zip(strides) {
        // 32 unsigned bits times 32 signed ones fit i64.
        let reach = i64::from(extent.checked_sub(1)?).wrapping_mul(stride.into());
        low = low.checked_add(reach.min(0))?;
        high = high.checked_add(reach.max(0))?;
    }
    let bytes = |elements: i64| u32::try_from(elements).ok()?.checked_mul(element_bytes.into());
    let offset = (first & !IN_CONSTANTS).checked_sub(bytes(low.checked_neg()?)?)?;
    let bytes = bytes(high.checked_sub(low)?.checked_add(1)?)?;
    Some(Extent {
        offset: offset | (first & IN_CONSTANTS),
        bytes,
    })
}

impl StridedCopy {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let table = Extent {
            offset: self.constants,
            bytes: ENTRIES,
        };
        Some(Extents {
            sources: [
                Some(region(
                    self.ifm,
                    &self.dims,
                    &self.ifm_strides,
                    self.element_bytes,
                )?),
                None,
            ],
            output: region(self.ofm, &self.dims, &self.ofm_strides, self.element_bytes)?,
            constants: (self.use_table != 0).then_some(table),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.dims)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
