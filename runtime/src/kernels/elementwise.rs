//! What operators over two broadcast operands share.

use super::{Extent, Extents, MAX_SOURCES, product, source, work_of};
use crate::arena::Memory;
use crate::format::Pair;

/// Elements from the first to the last one that `dims` reach, both included; `None` for an empty operand.
pub(super) fn span(dims: &[u32; 4], strides: &[u32; 4]) -> Option<u32> {
    dims.iter()
        .zip(strides)
        .try_fold(1u32, |span, (&extent, &stride)| {
            span.checked_add(extent.checked_sub(1)?.checked_mul(stride)?)
        })
}

/// Whether an operand of these strides visits its elements in the output's own order.
fn is_dense(dims: &[u32; 4], strides: &[u32; 4]) -> bool {
    let mut expected = 1u32;
    dims.iter().zip(strides).rev().all(|(&extent, &stride)| {
        let fits = extent == 1 || stride == expected;
        expected = expected.wrapping_mul(extent);
        fits
    })
}

impl Pair {
    /// What a record touches whose operands have elements of `width` bytes, and its output of `ofm_width`.
    pub(super) fn extents(&self, width: u32, ofm_width: u32) -> Option<Extents> {
        let operands = [(self.a, &self.a_strides, width), (self.b, &self.b_strides, width)];
        wide_extents(&self.dims, operands, (self.ofm, ofm_width))
    }

    /// Elements of the output.
    pub(super) fn work(&self) -> Option<u64> {
        work_of(&self.dims)
    }

    /// Says where everything lies.
    pub(super) fn bind(&mut self, sources: &[u32], ofm: u32) {
        self.a = source(sources, 0);
        self.b = source(sources, 1);
        self.ofm = ofm;
    }

    /// `ofm[i] = f(a[i], b[i])` over all of the output, of int8.
    pub(super) fn map(
        &self,
        memory: &mut Memory<'_>,
        extents: &Extents,
        f: impl Fn(i8, i8) -> i8,
    ) -> Option<()> {
        let [a_source, b_source, ..] = extents.sources;
        let (a_source, b_source) = (a_source?, b_source?);
        let [d0, d1, d2, d3] = self.dims.map(|extent| extent as usize);
        let mut ofm_first = 0usize;
        for i0 in 0..d0 {
            for i1 in 0..d1 {
                for i2 in 0..d2 {
                    for i3 in (0..d3).step_by(BLOCK) {
                        let at = [i0, i1, i2, i3];
                        let length = d3.wrapping_sub(i3).min(BLOCK);
                        let (mut a, mut b) = ([0; BLOCK], [0; BLOCK]);
                        let [.., a_step] = self.a_strides;
                        let [.., b_step] = self.b_strides;
                        gather(
                            memory.source(a_source)?,
                            offset(&at, &self.a_strides),
                            a_step as usize,
                            a.get_mut(..length)?,
                        )?;
                        gather(
                            memory.source(b_source)?,
                            offset(&at, &self.b_strides),
                            b_step as usize,
                            b.get_mut(..length)?,
                        )?;
                        let ofm = memory
                            .output(extents.output)?
                            .get_mut(ofm_first..)?
                            .get_mut(..length)?;
                        for ((slot, &a), &b) in ofm.iter_mut().zip(&a).zip(&b) {
                            *slot = f(a as i8, b as i8) as u8;
                        }
                        ofm_first = ofm_first.wrapping_add(length);
                    }
                }
            }
        }
        Some(())
    }
}

/// Strided sources and a row-major output, each with the bytes of its elements. A source may be the output's own region
/// where it is dense like it and of the same width.
pub(super) fn wide_extents<const N: usize>(
    dims: &[u32; 4],
    operands: [(u32, &[u32; 4], u32); N],
    (ofm, width): (u32, u32),
) -> Option<Extents> {
    let mut extents = Extents {
        output: Extent {
            offset: ofm,
            bytes: product(dims)?.checked_mul(width)?,
        },
        ..Extents::default()
    };
    const { assert!(N <= MAX_SOURCES) }
    let places = extents.sources.iter_mut().zip(&mut extents.in_place);
    for ((source, in_place), (offset, strides, bytes)) in places.zip(operands) {
        *source = Some(Extent {
            offset,
            bytes: span(dims, strides)?.checked_mul(bytes)?,
        });
        *in_place = bytes == width && is_dense(dims, strides);
    }
    Some(extents)
}

/// Calls `f` with every index of `dims`, in row-major order, and with its number.
#[inline(always)]
pub(super) fn each(dims: &[u32; 4], mut f: impl FnMut(&[usize; 4], usize) -> Option<()>) -> Option<()> {
    let [d0, d1, d2, d3] = dims.map(|extent| extent as usize);
    let mut number = 0usize;
    for i0 in 0..d0 {
        for i1 in 0..d1 {
            for i2 in 0..d2 {
                for i3 in 0..d3 {
                    f(&[i0, i1, i2, i3], number)?;
                    number = number.wrapping_add(1);
                }
            }
        }
    }
    Some(())
}

/// Element `index` of a source, of `N` bytes.
pub(super) fn element<'m, const N: usize>(
    memory: &'m Memory<'_>,
    source: Extent,
    index: usize,
) -> Option<&'m [u8; N]> {
    memory.source(source)?.as_chunks().0.get(index)
}

/// Writes element `index` of the output, of `N` bytes.
pub(super) fn put<const N: usize>(
    memory: &mut Memory<'_>,
    output: Extent,
    index: usize,
    element: [u8; N],
) -> Option<()> {
    *memory.output(output)?.as_chunks_mut().0.get_mut(index)? = element;
    Some(())
}

/// Elements computed at once; they pass through the stack, so that a source may be the output's own region.
const BLOCK: usize = 32;

/// Reads elements of one operand, `stride` apart, from element `first` on.
fn gather(bytes: &[u8], first: usize, stride: usize, block: &mut [u8]) -> Option<()> {
    if stride == 1 {
        let bytes = bytes.get(first..)?;
        block.iter_mut().zip(bytes).for_each(|(slot, &byte)| *slot = byte);
        return Some(());
    }
    let mut index = first;
    for slot in block {
        *slot = *bytes.get(index)?;
        index = index.wrapping_add(stride);
    }
    Some(())
}

/// The element at an index.
pub(super) fn offset(at: &[usize; 4], strides: &[u32; 4]) -> usize {
    at.iter()
        .zip(strides)
        .fold(0, |offset: usize, (&index, &stride)| {
            offset.wrapping_add(index.wrapping_mul(stride as usize))
        })
}
