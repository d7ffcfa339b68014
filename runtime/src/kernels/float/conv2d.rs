//! Convolution of reals: `ofm[y][x][o] = clamp(Σ ifm[iy][ix][g + i] · weights[o][ky][kx][i] + bias[o])`, with `iy`, `ix`
//! as [`crate::format::Window`] says and `g` the first input channel of `o`'s group. Padding taps are left out, which
//! is as good as zeros.
//!
//! Layouts: input and output `[h][w][c]`, weights `[out_c][kernel_h][kernel_w][in_c / groups]`. Never in place.

use super::{clamp, dot, products, products_block, region, words, words_mut};
use crate::arena::Memory;
use crate::format::Conv2dF32;
use crate::kernels::kernel_of;
use crate::kernels::only;
use crate::kernels::{Extent, Extents, Kernel, source, work_of};

/// The kernel of [`Conv2dF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(Conv2dF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Conv2dF32::read(fields)?;
    let extents = layer.extents()?;
    let (in_c, out_c) = (usize::from(layer.in_c), usize::from(layer.out_c).max(1));
    let (biases, weights) = products(memory.constants(extents.constants)?, out_c)?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let (ifm, window) = (words(ifm), &layer.window);
    let filter_c = layer.filter_c()? as usize;
    let kernel_w = usize::from(window.kernel_w);
    let filter = filter_c.wrapping_mul(window.kernel_taps() as usize).max(1);
    let group_out = u32::from(layer.out_c).checked_div(layer.groups)?.max(1) as usize;
    let mut pixels = words_mut(ofm).chunks_exact_mut(out_c);
    for y in 0..usize::from(window.out_h) {
        let rows = window.rows(y);
        for x in 0..usize::from(window.out_w) {
            let columns = window.columns(x);
            let channels = pixels.next()?.iter_mut().zip(biases);
            for (o, ((slot, &bias), weights)) in channels.zip(weights.chunks_exact(filter)).enumerate() {
                let first_c = o.checked_div(group_out)?.wrapping_mul(filter_c);
                let mut sum = 0.0;
                for ky in rows.first..rows.end {
                    for kx in columns.first..columns.end {
                        let pixel = window.pixel(&rows, &columns, ky, kx);
                        let start = pixel.wrapping_mul(in_c).wrapping_add(first_c);
                        let tap = ky.wrapping_mul(kernel_w).wrapping_add(kx);
                        sum = dot(
                            sum,
                            ifm.get(start..)?.get(..filter_c)?,
                            weights.get(tap.wrapping_mul(filter_c)..)?,
                        );
                    }
                }
                *slot = clamp(sum + f32::from_le_bytes(bias), layer.min, layer.max).to_le_bytes();
            }
        }
    }
    Some(extents.output)
}

impl Conv2dF32 {
    /// Input channels of one filter; `None` where the groups do not divide the channels.
    fn filter_c(&self) -> Option<u32> {
        let (in_c, out_c) = (u32::from(self.in_c), u32::from(self.out_c));
        let rest = (in_c.checked_rem(self.groups)?, out_c.checked_rem(self.groups)?);
        (rest == (0, 0)).then_some(())?;
        in_c.checked_div(self.groups)
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let filter = self.window.kernel_taps().checked_mul(self.filter_c()?)?;
        let weights = filter.checked_mul(self.out_c.into())?;
        Some(Extents {
            sources: only(region(self.ifm, self.window.ifm_bytes(self.in_c)?)?),
            output: region(self.ofm, self.window.ofm_bytes(self.out_c)?)?,
            constants: Some(products_block(self.constants, self.out_c.into(), weights)?),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        let w = &self.window;
        work_of(&[
            w.out_h.into(),
            w.out_w.into(),
            self.out_c.into(),
            w.kernel_taps(),
            self.filter_c()?,
        ])
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.window.is_valid() && self.min.total_cmp(&self.max).is_le()
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
