//! Product with constant weights: `ofm[r][o] = requantize(bias[o] + Σ_i ifm[r][i] · weights[o][i])`; `bias` already
//! holds `−zero_point · Σ weights`.
//!
//! Layouts: input `[rows][in_features]`, output `[rows][out_features]`, weights `[out_features][in_features]`. Never in
//! place.

use super::filters::{Filters, Output, is_known_packing};
use super::{Extent, Extents, Kernel, product, source, weights_block, work_of};
use crate::arena::Memory;
use crate::format::Dense;
use crate::kernels::kernel_of;
use crate::kernels::only;
use crate::lanes::{DOT_CHANNELS, Lanes};

/// The kernel of [`Dense`].
pub const fn kernel<L: Lanes>() -> Kernel {
    kernel_of!(Dense, run::<L>)
}

fn run<L: Lanes>(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Dense::read(fields)?;
    let extents = layer.extents()?;
    let in_features = (layer.in_features as usize).max(1);
    let out_features = (layer.out_features as usize).max(1);
    let filters = Filters::new(memory.constants(extents.constants)?, out_features)?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let output = layer.output();
    for (x, ofm) in ifm
        .chunks_exact(in_features)
        .zip(ofm.chunks_exact_mut(out_features))
    {
        for (block, ofm) in ofm.chunks_mut(DOT_CHANNELS).enumerate() {
            let o = block.wrapping_mul(DOT_CHANNELS);
            let mut acc = filters.biases(o);
            L::dot(
                &mut acc,
                x,
                filters.rows(in_features, o, out_features.wrapping_sub(1))?,
            );
            filters.rescale(&output, o, &acc, ofm)?;
        }
    }
    Some(extents.output)
}

impl Dense {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let weights = product(&[self.in_features, self.out_features])?;
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: product(&[self.rows, self.in_features])?,
            }),
            output: Extent {
                offset: self.ofm,
                bytes: product(&[self.rows, self.out_features])?,
            },
            constants: Some(weights_block(self.constants, self.out_features, weights)?),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.rows, self.in_features, self.out_features])
    }

    fn output(&self) -> Output {
        Output {
            left_shift: self.left_shift,
            zero_point: self.ofm_zero_point,
            min: self.min,
            max: self.max,
        }
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let filters = Filters::new(constants, self.out_features as usize);
        self.output().is_valid()
            && is_known_packing(self.packing)
            && filters.is_some_and(|filters| filters.are_valid())
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
