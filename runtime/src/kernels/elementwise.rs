//! What operators over two broadcast operands share.

use super::{Extent, Extents, product};

/// Elements from the first to the last one that `dims` reach, both included; `None` for an empty operand.
fn span(dims: &[u32; 4], strides: &[u32; 4]) -> Option<u32> {
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
        ],
        in_place: [is_dense(dims, a_strides), is_dense(dims, b_strides)],
        output: Extent {
            offset: ofm,
            bytes: product(dims)?,
        },
        ..Extents::default()
    })
}
