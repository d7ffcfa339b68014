//! Rows and elements that indices name, and what is scattered to them.
//!
//! An index never leads outside: negative ones count from the end, and those beyond an end stand for it.

use super::{Extent, Extents, Kernel, product, source, work_of};
use crate::arena::Memory;
use crate::format::{GatherElements, GatherRows, Scatter};
use crate::kernels::{FIRST_IN_PLACE, kernel_of};

/// The kernel of [`GatherRows`].
pub const fn gather_rows() -> Kernel {
    kernel_of!(GatherRows, run_rows)
}

/// The kernel of [`GatherElements`].
pub const fn gather_elements() -> Kernel {
    kernel_of!(GatherElements, run_elements)
}

/// The kernel of [`Scatter`].
pub const fn scatter() -> Kernel {
    kernel_of!(Scatter, run_scatter)
}

/// The place that index `at` of a source names along an axis.
fn place(memory: &Memory<'_>, indices: Extent, at: usize, index_bytes: u8, extent: u32) -> Option<usize> {
    let first = at.wrapping_mul(index_bytes.into());
    let bytes = memory.source(indices)?.get(first..)?;
    let index = if index_bytes == 8 {
        i64::from_le_bytes(*bytes.first_chunk()?)
    } else {
        i32::from_le_bytes(*bytes.first_chunk()?).into()
    };
    let extent = i64::from(extent);
    let index = if index < 0 {
        index.wrapping_add(extent)
    } else {
        index
    };
    usize::try_from(index.min(extent.wrapping_sub(1)).max(0)).ok()
}

/// Copies `bytes` bytes of the first source, from one offset to another.
fn copy(memory: &mut Memory<'_>, extents: &Extents, from: usize, to: usize, bytes: usize) -> Option<()> {
    let (ifm, ofm) = memory.source_and_output(extents)?;
    let from = ifm.get(from..)?.get(..bytes)?;
    let to = ofm.get_mut(to..)?.get_mut(..bytes)?;
    to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
    Some(())
}

fn run_rows(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = GatherRows::read(fields)?;
    let extents = layer.extents()?;
    let [_, Some(indices), ..] = extents.sources else {
        return None;
    };
    let (bytes, extent) = (layer.row_bytes as usize, layer.extent as usize);
    let mut to = 0usize;
    for outer in 0..layer.outer as usize {
        for j in 0..layer.count as usize {
            let row = place(memory, indices, j, layer.index_bytes, layer.extent)?;
            let from = outer.wrapping_mul(extent).wrapping_add(row).wrapping_mul(bytes);
            copy(memory, &extents, from, to, bytes)?;
            to = to.wrapping_add(bytes);
        }
    }
    Some(extents.output)
}

fn run_elements(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = GatherElements::read(fields)?;
    let extents = layer.extents()?;
    let [_, Some(indices), ..] = extents.sources else {
        return None;
    };
    let bytes = usize::from(layer.element_bytes);
    let mut index = [0u32; 5];
    for element in 0..product(&layer.dims)? as usize {
        let row = place(memory, indices, element, layer.index_bytes, layer.extent)?;
        let mut from = row.wrapping_mul(layer.axis_stride as usize);
        for (&at, &stride) in index.iter().zip(&layer.ifm_strides) {
            from = from.wrapping_add((at as usize).wrapping_mul(stride as usize));
        }
        copy(
            memory,
            &extents,
            from.wrapping_mul(bytes),
            element.wrapping_mul(bytes),
            bytes,
        )?;
        next(&mut index, &layer.dims);
    }
    Some(extents.output)
}

/// Counts on to the next index of `dims`, like an odometer.
pub(super) fn next(index: &mut [u32; 5], dims: &[u32; 5]) {
    for (at, &extent) in index.iter_mut().zip(dims).rev() {
        *at = at.wrapping_add(1);
        if *at < extent {
            return;
        }
        *at = 0;
    }
}

fn run_scatter(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Scatter::read(fields)?;
    let extents = layer.extents()?;
    memory.output_from_source(&extents)?;
    let [_, Some(updates), Some(indices), ..] = extents.sources else {
        return None;
    };
    let bytes = usize::from(layer.element_bytes);
    let (depth, elements) = (usize::from(layer.depth), layer.row_elements as usize);
    for row in 0..layer.rows as usize {
        let mut to = 0usize;
        let axes = layer.extents.iter().zip(&layer.strides).take(depth);
        for (k, (&extent, &stride)) in axes.enumerate() {
            let at = row.wrapping_mul(depth).wrapping_add(k);
            let along = place(memory, indices, at, layer.index_bytes, extent)?;
            to = to.wrapping_add(along.wrapping_mul(stride as usize));
        }
        for element in 0..elements {
            let from = row
                .wrapping_mul(elements)
                .wrapping_add(element)
                .wrapping_mul(bytes);
            let to = to.wrapping_add(element).wrapping_mul(bytes);
            let mut update = [0u8; 8];
            let given = memory.source(updates)?.get(from..)?.get(..bytes)?;
            let own = update.get_mut(..bytes)?;
            own.iter_mut().zip(given).for_each(|(to, &from)| *to = from);
            let target = memory.output(extents.output)?.get_mut(to..)?.get_mut(..bytes)?;
            if layer.reduction == 0 {
                target.iter_mut().zip(&*own).for_each(|(to, &from)| *to = from);
                continue;
            }
            let target = target.first_chunk_mut()?;
            let (own, update) = (
                f32::from_le_bytes(*target),
                f32::from_le_bytes(*update.first_chunk()?),
            );
            *target = reduce(layer.reduction, own, update).to_le_bytes();
        }
    }
    Some(extents.output)
}

/// What becomes of an element that an update meets.
fn reduce(reduction: u8, own: f32, update: f32) -> f32 {
    match reduction {
        1 => own + update,
        2 => own * update,
        3 if update > own => update,
        4 if update < own => update,
        _ => own,
    }
}

/// A region of `count` pieces of `bytes` each.
fn region(offset: u32, count: u32, bytes: u32) -> Option<Extent> {
    let bytes = count.checked_mul(bytes)?;
    Some(Extent { offset, bytes })
}

fn is_index(bytes: u8) -> bool {
    matches!(bytes, 4 | 8)
}

pub(super) fn is_element(bytes: u8) -> bool {
    matches!(bytes, 1 | 2 | 4 | 8)
}

impl GatherRows {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let rows = |extent: u32| self.outer.checked_mul(extent);
        let mut sources = super::only(region(self.ifm, rows(self.extent)?, self.row_bytes)?);
        *sources.get_mut(1)? = Some(region(self.indices, self.count, self.index_bytes.into())?);
        Some(Extents {
            sources,
            output: region(self.ofm, rows(self.count)?, self.row_bytes)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.outer, self.count, self.row_bytes])
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        is_index(self.index_bytes)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.indices = source(sources, 1);
        self.ofm = ofm;
    }
}

impl GatherElements {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let count = product(&self.dims)?;
        let mut last = self.extent.checked_sub(1)?.checked_mul(self.axis_stride)?;
        for (&extent, &stride) in self.dims.iter().zip(&self.ifm_strides) {
            last = last.checked_add(extent.checked_sub(1)?.checked_mul(stride)?)?;
        }
        let width = self.element_bytes.into();
        let mut sources = super::only(region(self.ifm, last.checked_add(1)?, width)?);
        *sources.get_mut(1)? = Some(region(self.indices, count, self.index_bytes.into())?);
        Some(Extents {
            sources,
            output: region(self.ofm, count, width)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.dims)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        is_index(self.index_bytes) && is_element(self.element_bytes)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.indices = source(sources, 1);
        self.ofm = ofm;
    }
}

impl Scatter {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let width = self.element_bytes.into();
        let updates = self.rows.checked_mul(self.row_elements)?;
        let indices = self.rows.checked_mul(self.depth.into())?;
        let mut sources = super::only(region(self.data, self.count, width)?);
        *sources.get_mut(1)? = Some(region(self.updates, updates, width)?);
        *sources.get_mut(2)? = Some(region(self.indices, indices, self.index_bytes.into())?);
        Some(Extents {
            sources,
            in_place: FIRST_IN_PLACE,
            output: region(self.ofm, self.count, width)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        // In place, nothing but the rows is written.
        let moved = if self.data == self.ofm { 0 } else { self.count };
        work_of(&[self.rows, self.row_elements])?.checked_add(moved.into())
    }

    /// The farthest row ends within the data.
    fn is_within(&self) -> Option<bool> {
        let mut end = u64::from(self.row_elements);
        let axes = self.extents.iter().zip(&self.strides).take(self.depth.into());
        for (&extent, &stride) in axes {
            let last = u64::from(extent.checked_sub(1)?);
            end = end.checked_add(last.checked_mul(stride.into())?)?;
        }
        Some(end <= self.count.into())
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        let reduces = self.reduction == 0 || self.reduction <= 4 && self.element_bytes == 4;
        is_index(self.index_bytes)
            && is_element(self.element_bytes)
            && reduces
            && (1..=5).contains(&self.depth)
            && self.is_within() == Some(true)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.data = source(sources, 0);
        self.updates = source(sources, 1);
        self.indices = source(sources, 2);
        self.ofm = ofm;
    }
}
