//! Softmax of reals along rows: `ofm[r][i] = exp(x_i − max_j x_j) / Σ_j exp(x_j − max)`. Layouts: input and output
//! `[rows][depth]`. May run in place.

use super::{region, words_mut};
use crate::arena::Memory;
use crate::format::SoftmaxF32;
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, product, source, work_of};
use crate::kernels::{FIRST_IN_PLACE, only};

/// The kernel of [`SoftmaxF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(SoftmaxF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = SoftmaxF32::read(fields)?;
    let extents = layer.extents()?;
    let values = words_mut(memory.output_from_source(&extents)?);
    for row in values.chunks_exact_mut((layer.depth as usize).max(1)) {
        let largest = row.iter().fold(f32::NEG_INFINITY, |largest, &x| {
            let x = f32::from_le_bytes(x);
            if x > largest { x } else { largest }
        });
        let mut sum = 0.0;
        for slot in row.iter_mut() {
            let e = libm::expf(f32::from_le_bytes(*slot) - largest);
            sum += e;
            *slot = e.to_le_bytes();
        }
        for slot in row {
            *slot = (f32::from_le_bytes(*slot) / sum).to_le_bytes();
        }
    }
    Some(extents.output)
}

impl SoftmaxF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let elements = product(&[self.rows, self.depth])?;
        Some(Extents {
            sources: only(region(self.ifm, elements)?),
            in_place: FIRST_IN_PLACE,
            output: region(self.ofm, elements)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.rows, self.depth])
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        true
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
