//! Softmax of reals along lines: `ofm[r][i][k] = exp(x_i − max_j x_j) / Σ_j exp(x_j − max)`, its logarithm, and hardmax.
//! Layouts: input and output `[rows][depth][inner]`. May run in place.

use super::exp::exp;
use super::{Word, region, words_mut};
use crate::arena::Memory;
use crate::format::SoftmaxF32;
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, product, source, work_of};
use crate::kernels::{FIRST_IN_PLACE, only};

/// The kernel of [`SoftmaxF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(SoftmaxF32, run)
}

/// Elements of a block that lie `step` apart.
#[derive(Clone, Copy)]
struct Line {
    first: usize,
    step: usize,
    length: usize,
}

impl Line {
    /// Changes every element in turn: `f` is given its position and value.
    fn map(self, block: &mut [Word], mut f: impl FnMut(usize, f32) -> f32) -> Option<()> {
        let mut at = self.first;
        for i in 0..self.length {
            let slot = block.get_mut(at)?;
            *slot = f(i, f32::from_le_bytes(*slot)).to_le_bytes();
            at = at.wrapping_add(self.step);
        }
        Some(())
    }
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = SoftmaxF32::read(fields)?;
    let extents = layer.extents()?;
    let values = words_mut(memory.output_from_source(&extents)?);
    let (depth, inner) = (layer.depth as usize, layer.inner as usize);
    for block in values.chunks_exact_mut(depth.wrapping_mul(inner).max(1)) {
        for first in 0..inner {
            let line = Line {
                first,
                step: inner,
                length: depth,
            };
            normalize(layer.kind, line, block)?;
        }
    }
    Some(extents.output)
}

fn normalize(kind: u8, line: Line, block: &mut [Word]) -> Option<()> {
    let (mut largest, mut place) = (f32::NEG_INFINITY, 0);
    line.map(block, |i, x| {
        if x > largest {
            (largest, place) = (x, i);
        }
        x
    })?;
    let mut sum = 0.0f32;
    match kind {
        3 if largest == f32::NEG_INFINITY => line.map(block, |_, x| if x.is_nan() { x } else { 0.0 }),
        0 | 3 => {
            line.map(block, |_, x| {
                let e = exp(x - largest);
                sum += e;
                e
            })?;
            line.map(block, |_, e| e / sum)
        }
        1 => {
            line.map(block, |_, x| {
                let below = x - largest;
                sum += exp(below);
                below
            })?;
            let log = libm::logf(sum);
            line.map(block, |_, below| below - log)
        }
        _ => line.map(block, |i, _| if i == place { 1.0 } else { 0.0 }),
    }
}

impl SoftmaxF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let elements = product(&[self.rows, self.depth, self.inner])?;
        Some(Extents {
            sources: only(region(self.ifm, elements)?),
            in_place: FIRST_IN_PLACE,
            output: region(self.ofm, elements)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.rows, self.depth, self.inner])
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.kind <= 3
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
