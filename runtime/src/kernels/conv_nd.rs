//! Convolution of int8 over up to three spatial axes, transposed ones included:
//! `ofm[n][…][o] = requantize(bias[o] + Σ ifm[n][…][g + i] · weights[o][…][i])`, positions as [`crate::format::Window3`]
//! says and `g` the first input channel of `o`'s group. Other taps read the input's zero point; `bias` already holds
//! `−zero_point · Σ weights`.
//!
//! Layouts: input and output `[images][d][h][w][c]`, weights `[out_c][d][h][w][in_c / groups]`. Never in place.

use super::filters::{Filters, Output};
use super::{Extent, Extents, Kernel, product, source, weights_block};
use crate::arena::Memory;
use crate::format::{ConvNd, Window3};
use crate::kernels::kernel_of;
use crate::kernels::only;

/// The kernel of [`ConvNd`].
pub const fn kernel() -> Kernel {
    kernel_of!(ConvNd, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = ConvNd::read(fields)?;
    let extents = layer.extents()?;
    let out_c = (layer.out_c as usize).max(1);
    let filters = Filters::new(memory.constants(extents.constants)?, out_c)?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let (window, output) = (&layer.window, layer.output());
    let filter_c = layer.filter_c()? as usize;
    let filter = filter_c.wrapping_mul(window.taps()? as usize);
    let group_out = layer.out_c.checked_div(layer.groups)?.max(1) as usize;
    let in_c = layer.in_c as usize;
    let image_pixels = product(&window.ifm.map(u32::from))? as usize;
    let zero_point = i32::from(layer.ifm_zero_point);

    let mut pixels = ofm.chunks_exact_mut(out_c);
    window.positions(layer.images, |image, at| {
        let first_pixel = image.wrapping_mul(image_pixels);
        for (o, slot) in pixels.next()?.iter_mut().enumerate() {
            let weights = filters.weights.get(o.wrapping_mul(filter)..)?.get(..filter)?;
            let first_c = o.checked_div(group_out)?.wrapping_mul(filter_c);
            let mut acc = filters.bias(o);
            window.visit(at, |tap| {
                let weights = weights.get(tap.tap.wrapping_mul(filter_c)..)?.get(..filter_c)?;
                let Some(pixel) = tap.pixel else {
                    let all = weights
                        .iter()
                        .fold(0i32, |all, &w| all.wrapping_add((w as i8).into()));
                    acc = acc.wrapping_add(all.wrapping_mul(zero_point));
                    return Some(());
                };
                let start = first_pixel
                    .wrapping_add(pixel)
                    .wrapping_mul(in_c)
                    .wrapping_add(first_c);
                for (&x, &weight) in ifm.get(start..)?.get(..filter_c)?.iter().zip(weights) {
                    let product = i32::from(x as i8).wrapping_mul((weight as i8).into());
                    acc = acc.wrapping_add(product);
                }
                Some(())
            })?;
            filters.rescale(&output, o, &[acc], core::slice::from_mut(slot))?;
        }
        Some(())
    })?;
    Some(extents.output)
}

impl ConvNd {
    /// Input channels of one filter; `None` where the groups do not divide the channels.
    fn filter_c(&self) -> Option<u32> {
        let rest = (
            self.in_c.checked_rem(self.groups)?,
            self.out_c.checked_rem(self.groups)?,
        );
        (rest == (0, 0)).then_some(())?;
        self.in_c.checked_div(self.groups)
    }

    fn output(&self) -> Output {
        Output {
            left_shift: self.left_shift,
            zero_point: self.ofm_zero_point,
            min: self.min,
            max: self.max,
        }
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let filter = self.window.taps()?.checked_mul(self.filter_c()?)?;
        let weights = filter.checked_mul(self.out_c)?;
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: product(&Window3::around(self.images, self.window.ifm, self.in_c))?,
            }),
            output: Extent {
                offset: self.ofm,
                bytes: product(&Window3::around(self.images, self.window.ofm, self.out_c))?,
            },
            constants: Some(weights_block(self.constants, self.out_c, weights)?),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        let each = self.out_c.checked_mul(self.filter_c()?)?;
        self.window.work(self.images, each)
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let filters = Filters::new(constants, self.out_c as usize);
        self.window.is_valid()
            && self.output().is_valid()
            && filters.is_some_and(|filters| filters.are_valid())
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
