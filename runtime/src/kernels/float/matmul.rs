//! Product of two matrices of reals, or of batches of them that broadcast: `ofm[…][m][n] = Σ_k a[…][m][k] · b[…][k][n]`,
//! each sum in the order of `k` from 0 on.
//!
//! Layouts: matrices row-major, output `[batch…][rows][columns]`. Never in place; both sources may be one region.

use super::{WIDTH, region, words, words_mut};
use crate::arena::Memory;
use crate::format::MatMulF32;
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, elementwise, product, source, sources, work_of};

/// The kernel of [`MatMulF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(MatMulF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = MatMulF32::read(fields)?;
    let extents = layer.extents()?;
    let ([a, b], ofm) = memory.sources_and_output(&extents)?;
    let (a, b) = (words(a), words(b));
    let depth = (layer.depth as usize).max(1);
    let columns = (layer.columns as usize).max(1);
    let mut rows = words_mut(ofm).chunks_exact_mut(columns);
    let [d0, d1, d2, d3] = layer.batch.map(|extent| extent as usize);
    for i0 in 0..d0 {
        for i1 in 0..d1 {
            for i2 in 0..d2 {
                for i3 in 0..d3 {
                    let at = [i0, i1, i2, i3];
                    let a = a.get(elementwise::offset(&at, &layer.a_strides)..)?;
                    let b = b.get(elementwise::offset(&at, &layer.b_strides)..)?;
                    for a in a.chunks_exact(depth).take(layer.rows as usize) {
                        // The row itself holds the sums, so that the right matrix is read row by row.
                        let sums = rows.next()?;
                        sums.fill(0.0f32.to_le_bytes());
                        for (&a, b) in a.iter().zip(b.chunks_exact(columns)) {
                            let a = f32::from_le_bytes(a);
                            for (sum, &b) in sums.iter_mut().zip(b) {
                                let next = f32::from_le_bytes(*sum) + a * f32::from_le_bytes(b);
                                *sum = next.to_le_bytes();
                            }
                        }
                    }
                }
            }
        }
    }
    Some(extents.output)
}

impl MatMulF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let matrices = |offset: u32, strides: &[u32; 4], matrix: [u32; 2]| {
            let last = elementwise::span(&self.batch, strides)?.checked_sub(1)?;
            let elements = last.checked_add(product(&matrix)?)?;
            let bytes = elements.checked_mul(WIDTH)?;
            Some(Extent { offset, bytes })
        };
        let [d0, d1, d2, d3] = self.batch;
        let outputs = product(&[d0, d1, d2, d3, self.rows, self.columns])?;
        Some(Extents {
            sources: sources([
                matrices(self.a, &self.a_strides, [self.rows, self.depth])?,
                matrices(self.b, &self.b_strides, [self.depth, self.columns])?,
            ]),
            output: region(self.ofm, outputs)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.batch)?.checked_mul(work_of(&[self.rows, self.depth, self.columns])?)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        // Empty matrices would leave loops without work.
        ![self.rows, self.depth, self.columns].contains(&0)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.a = source(sources, 0);
        self.b = source(sources, 1);
        self.ofm = ofm;
    }
}
