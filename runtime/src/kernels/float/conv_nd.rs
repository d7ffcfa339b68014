//! Convolution of reals over up to three spatial axes, transposed ones included:
//! `ofm[n][…][o] = clamp(Σ ifm[n][…][g + i] · weights[o][…][i] + bias[o])`, positions as [`crate::format::Window3`] says
//! and `g` the first input channel of `o`'s group. Other taps are left out, which is as good as zeros.
//!
//! Layouts: input and output `[images][d][h][w][c]`, weights `[out_c][d][h][w][in_c / groups]`. Never in place.

use super::{clamp, dot, region, words, words_mut};
use crate::arena::Memory;
use crate::format::{ConvNdF32, Window3};
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, product, source, sources};

/// The kernel of [`ConvNdF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(ConvNdF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = ConvNdF32::read(fields)?;
    let extents = layer.extents()?;
    let [x, weights, bias, ..] = extents.sources;
    let window = &layer.window;
    let (in_c, out_c) = (layer.in_c as usize, layer.out_c as usize);
    let filter_c = layer.filter_c()? as usize;
    let filter = filter_c.wrapping_mul(window.taps()? as usize);
    let group_out = layer.out_c.checked_div(layer.groups)?.max(1) as usize;
    let image_pixels = product(&window.ifm.map(u32::from))? as usize;
    let mut element = 0usize;
    window.positions(layer.images, |image, at| {
        let first_pixel = image.wrapping_mul(image_pixels);
        for o in 0..out_c {
            let ifm = words(memory.source(x?)?);
            let weights = words(memory.source(weights?)?).get(o.wrapping_mul(filter)..)?;
            let bias = f32::from_le_bytes(*words(memory.source(bias?)?).get(o)?);
            let first_c = o.checked_div(group_out)?.wrapping_mul(filter_c);
            let mut sum = 0.0;
            window.visit(at, |tap| {
                let Some(pixel) = tap.pixel else {
                    return Some(());
                };
                let start = first_pixel
                    .wrapping_add(pixel)
                    .wrapping_mul(in_c)
                    .wrapping_add(first_c);
                sum = dot(
                    sum,
                    ifm.get(start..)?.get(..filter_c)?,
                    weights.get(tap.tap.wrapping_mul(filter_c)..)?,
                );
                Some(())
            })?;
            let y = clamp(sum + bias, layer.min, layer.max);
            *words_mut(memory.output(extents.output)?).get_mut(element)? = y.to_le_bytes();
            element = element.wrapping_add(1);
        }
        Some(())
    })?;
    Some(extents.output)
}

impl ConvNdF32 {
    /// Input channels of one filter; `None` where the groups do not divide the channels.
    fn filter_c(&self) -> Option<u32> {
        let rest = (
            self.in_c.checked_rem(self.groups)?,
            self.out_c.checked_rem(self.groups)?,
        );
        (rest == (0, 0)).then_some(())?;
        self.in_c.checked_div(self.groups)
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let filter = self.window.taps()?.checked_mul(self.filter_c()?)?;
        let ifm = product(&Window3::around(self.images, self.window.ifm, self.in_c))?;
        let ofm = product(&Window3::around(self.images, self.window.ofm, self.out_c))?;
        Some(Extents {
            sources: sources([
                region(self.ifm, ifm)?,
                region(self.weights, filter.checked_mul(self.out_c)?)?,
                region(self.bias, self.out_c)?,
            ]),
            output: region(self.ofm, ofm)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        let each = self.out_c.checked_mul(self.filter_c()?)?;
        self.window.work(self.images, each)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.window.is_valid() && self.min.total_cmp(&self.max).is_le()
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.weights = source(sources, 1);
        self.bias = source(sources, 2);
        self.ofm = ofm;
    }
}
