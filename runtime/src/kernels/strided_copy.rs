//! Strided copy: `ofm[Σ dᵢ·ofm_stridesᵢ] = ifm[Σ dᵢ·ifm_stridesᵢ]`, through a table where the record has one. Never in
//! place: the two regions, gaps included, are disjoint.

use super::table::{ENTRIES, look_up};
use super::{Extent, Extents, Kernel, source, work_of};
use crate::arena::Memory;
use crate::format::{IN_CONSTANTS, StridedCopy};
use crate::kernels::kernel_of;
use crate::kernels::only;

/// The smallest region that holds every element: from `first`, the byte of the element at index zero.
pub(super) fn region(first: u32, dims: &[u32; 5], strides: &[i32; 5], element_bytes: u8) -> Option<Extent> {
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

/// The kernel of [`StridedCopy`].
pub const fn kernel() -> Kernel {
    kernel_of!(StridedCopy, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = StridedCopy::read(fields)?;
    let extents = layer.extents()?;
    let table = memory.constants(extents.constants).and_then(<[u8]>::first_chunk);
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let bytes = usize::from(layer.element_bytes);
    let step = |stride: i32| (stride as isize as usize).wrapping_mul(bytes);
    // Where the element at index zero stands in the two regions.
    let [Some(source), ..] = extents.sources else {
        return None;
    };
    let mut from = layer.ifm.wrapping_sub(source.offset) as usize;
    let mut to = layer.ofm.wrapping_sub(extents.output.offset) as usize;
    let [.., inner] = layer.dims;
    let ([.., inner_from], [.., inner_to]) = (layer.ifm_strides, layer.ofm_strides);
    let side_by_side = inner_from == 1 && inner_to == 1;

    let mut index = [0u32; 4];
    loop {
        if side_by_side {
            let length = (inner as usize).wrapping_mul(bytes);
            copy(
                ifm.get(from..)?.get(..length)?,
                ofm.get_mut(to..)?.get_mut(..length)?,
                table,
            );
        } else {
            let (mut from, mut to) = (from, to);
            for _ in 0..inner {
                copy(
                    ifm.get(from..)?.get(..bytes)?,
                    ofm.get_mut(to..)?.get_mut(..bytes)?,
                    table,
                );
                from = from.wrapping_add(step(inner_from));
                to = to.wrapping_add(step(inner_to));
            }
        }
        // The outer dimensions count like an odometer: a full one goes back to zero, and the next one moves.
        let mut moved = false;
        for d in (0..index.len()).rev() {
            let (from_step, to_step) = (step(layer.ifm_strides[d]), step(layer.ofm_strides[d]));
            index[d] = index[d].wrapping_add(1);
            if index[d] < layer.dims[d] {
                from = from.wrapping_add(from_step);
                to = to.wrapping_add(to_step);
                moved = true;
                break;
            }
            let back = index[d].wrapping_sub(1) as usize;
            from = from.wrapping_sub(from_step.wrapping_mul(back));
            to = to.wrapping_sub(to_step.wrapping_mul(back));
            index[d] = 0;
        }
        if !moved {
            return Some(extents.output);
        }
    }
}

/// Copies bytes, through the table where there is one.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8], table: Option<&[u8; ENTRIES as usize]>) {
    let bytes = to.iter_mut().zip(from);
    match table {
        Some(table) => bytes.for_each(|(to, &from)| *to = look_up(table, from)),
        None => bytes.for_each(|(to, &from)| *to = from),
    }
}

impl StridedCopy {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let table = Extent {
            offset: self.constants,
            bytes: ENTRIES,
        };
        Some(Extents {
            sources: only(region(
                self.ifm,
                &self.dims,
                &self.ifm_strides,
                self.element_bytes,
            )?),
            output: region(self.ofm, &self.dims, &self.ofm_strides, self.element_bytes)?,
            constants: (self.use_table != 0).then_some(table),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.dims)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        match self.element_bytes {
            1 => self.use_table <= 1,
            2 | 4 | 8 => self.use_table == 0,
            _ => false,
        }
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
