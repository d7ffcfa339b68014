//! Product of reals with constant weights: `ofm[r][o] = clamp(Σ_i ifm[r][i] · weights[o][i] + bias[o])`.
//!
//! Layouts: input `[rows][in_features]`, output `[rows][out_features]`, weights `[out_features][in_features]`. Never in
//! place.

use super::{clamp, dot, products, products_block, region, words, words_mut};
use crate::arena::Memory;
use crate::format::DenseF32;
use crate::kernels::kernel_of;
use crate::kernels::only;
use crate::kernels::{Extent, Extents, Kernel, product, source, work_of};

/// The kernel of [`DenseF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(DenseF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = DenseF32::read(fields)?;
    let extents = layer.extents()?;
    let in_features = (layer.in_features as usize).max(1);
    let out_features = (layer.out_features as usize).max(1);
    let (biases, weights) = products(memory.constants(extents.constants)?, out_features)?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let rows = words(ifm).chunks_exact(in_features);
    for (x, ofm) in rows.zip(words_mut(ofm).chunks_exact_mut(out_features)) {
        let channels = ofm.iter_mut().zip(biases).zip(weights.chunks_exact(in_features));
        for ((slot, &bias), weights) in channels {
            let sum = dot(0.0, x, weights) + f32::from_le_bytes(bias);
            *slot = clamp(sum, layer.min, layer.max).to_le_bytes();
        }
    }
    Some(extents.output)
}

impl DenseF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let weights = product(&[self.in_features, self.out_features])?;
        Some(Extents {
            sources: only(region(self.ifm, product(&[self.rows, self.in_features])?)?),
            output: region(self.ofm, product(&[self.rows, self.out_features])?)?,
            constants: Some(products_block(self.constants, self.out_features, weights)?),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.rows, self.in_features, self.out_features])
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.min.total_cmp(&self.max).is_le()
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
