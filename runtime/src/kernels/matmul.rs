//! Product of two int8 matrices, or of batches of them that broadcast:
//! `ofm[…][m][n] = requantize(Σ_k (a[…][m][k] − a_zp)·(b[…][k][n] − b_zp))`.
//!
//! Layouts: matrices row-major, output `[batch…][rows][columns]`. Never in place; both sources may be one region.

use super::{Extent, Extents, Kernel, elementwise, product, source, sources, work_of};
use crate::arena::Memory;
use crate::arith::{FixedScale, requantize};
use crate::format::MatMul;
use crate::kernels::kernel_of;

/// Columns summed at once, on the stack, so that the right matrix is read row by row.
const BLOCK: usize = 32;

/// The kernel of [`MatMul`].
pub const fn kernel() -> Kernel {
    kernel_of!(MatMul, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = MatMul::read(fields)?;
    let extents = layer.extents()?;
    let ([a, b], ofm) = memory.sources_and_output(&extents)?;
    let depth = (layer.depth as usize).max(1);
    let columns = (layer.columns as usize).max(1);
    let mut rows = ofm.chunks_exact_mut(columns);
    elementwise::each(&layer.batch, |at, _| {
        let a = a.get(elementwise::offset(at, &layer.a_strides)..)?;
        let b = b.get(elementwise::offset(at, &layer.b_strides)..)?;
        for a in a.chunks_exact(depth).take(layer.rows as usize) {
            let mut first = 0usize;
            for block in rows.next()?.chunks_mut(BLOCK) {
                layer.block(a, b.get(first..)?, columns, block)?;
                first = first.wrapping_add(BLOCK);
            }
        }
        Some(())
    })?;
    Some(extents.output)
}

impl MatMul {
    /// Some columns of a row of the output; `b` starts at the first of them.
    fn block(&self, a: &[u8], b: &[u8], columns: usize, block: &mut [u8]) -> Option<()> {
        let mut sums = [0i32; BLOCK];
        for (&a, b) in a.iter().zip(b.chunks(columns)) {
            let a = i32::from(a as i8).wrapping_sub(self.a_zero_point.into());
            for (sum, &b) in sums.iter_mut().zip(b.get(..block.len())?) {
                let b = i32::from(b as i8).wrapping_sub(self.b_zero_point.into());
                *sum = sum.wrapping_add(a.wrapping_mul(b));
            }
        }
        let scale = self.scale();
        for (slot, sum) in block.iter_mut().zip(sums) {
            let acc = sum.wrapping_shl(self.left_shift.into());
            *slot = requantize(acc, scale, self.ofm_zero_point, self.min, self.max) as u8;
        }
        Some(())
    }

    fn scale(&self) -> FixedScale {
        FixedScale::from_stored(self.multiplier, self.shift)
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let matrices = |offset: u32, strides: &[u32; 4], matrix: [u32; 2]| {
            let last = elementwise::span(&self.batch, strides)?.checked_sub(1)?;
            let bytes = last.checked_add(product(&matrix)?)?;
            Some(Extent { offset, bytes })
        };
        let [d0, d1, d2, d3] = self.batch;
        Some(Extents {
            sources: sources([
                matrices(self.a, &self.a_strides, [self.rows, self.depth])?,
                matrices(self.b, &self.b_strides, [self.depth, self.columns])?,
            ]),
            output: Extent {
                offset: self.ofm,
                bytes: product(&[d0, d1, d2, d3, self.rows, self.columns])?,
            },
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.batch)?.checked_mul(work_of(&[self.rows, self.depth, self.columns])?)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        // Empty matrices would leave loops without work.
        ![self.rows, self.depth, self.columns].contains(&0)
            && self.scale().is_valid()
            && self.left_shift < 16
            && self.min <= self.max
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.a = source(sources, 0);
        self.b = source(sources, 1);
        self.ofm = ofm;
    }
}
