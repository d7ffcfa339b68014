//! What operators over two broadcast operands share.

use super::{Extent, Extents, product};
use crate::arena::Memory;

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

/// Two strided sources and a row-major output.
pub(super) fn extents(dims: &[u32; 4], operands: [(u32, &[u32; 4]); 2], ofm: u32) -> Option<Extents> {
    let [(a, a_strides), (b, b_strides)] = operands;
    Some(Extents {
        sources: [
            Some(Extent {
                offset: a,
                bytes: span(dims, a_strides)?,
            }),
            Some(Extent {
                offset: b,
                bytes: span(dims, b_strides)?,
            }),
            None,
        ],
        in_place: [is_dense(dims, a_strides), is_dense(dims, b_strides), false],
        output: Extent {
            offset: ofm,
            bytes: product(dims)?,
        },
        ..Extents::default()
    })
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

/// `ofm[i] = f(a[i], b[i])` over all of `dims`.
pub(super) fn run(
    memory: &mut Memory<'_>,
    dims: &[u32; 4],
    extents: &Extents,
    [a_strides, b_strides]: [&[u32; 4]; 2],
    f: impl Fn(i8, i8) -> i8,
) -> Option<()> {
    let [a_source, b_source, ..] = extents.sources;
    let (a_source, b_source) = (a_source?, b_source?);
    let [d0, d1, d2, d3] = dims.map(|extent| extent as usize);
    let mut ofm_first = 0usize;
    for i0 in 0..d0 {
        for i1 in 0..d1 {
            for i2 in 0..d2 {
                for i3 in (0..d3).step_by(BLOCK) {
                    let at = [i0, i1, i2, i3];
                    let length = d3.wrapping_sub(i3).min(BLOCK);
                    let (mut a, mut b) = ([0; BLOCK], [0; BLOCK]);
                    let [.., a_step] = *a_strides;
                    let [.., b_step] = *b_strides;
                    gather(
                        memory.source(a_source)?,
                        offset(&at, a_strides),
                        a_step as usize,
                        a.get_mut(..length)?,
                    )?;
                    gather(
                        memory.source(b_source)?,
                        offset(&at, b_strides),
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

/// The element at an index.
pub(super) fn offset(at: &[usize; 4], strides: &[u32; 4]) -> usize {
    at.iter()
        .zip(strides)
        .fold(0, |offset: usize, (&index, &stride)| {
            offset.wrapping_add(index.wrapping_mul(stride as usize))
        })
}
