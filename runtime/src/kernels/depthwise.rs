//! Depthwise convolution: `ofm[y][x][o] = requantize(bias[o] + Σ ifm[iy][ix][o / k] · weights[ky][kx][o])`, with `iy`,
//! `ix` as [`crate::format::Window`] says and `k = out_c / in_c`. Padding taps read the input's zero point; `bias` already
//! holds `−zero_point · Σ weights`.
//!
//! Layouts: input and output `[h][w][c]`, weights `[kernel_h][kernel_w][out_c]`. Never in place.

use super::filters::Filters;
use super::{Extent, Extents, Kernel};
use crate::arena::Memory;
use crate::format::DepthwiseConv2d;
use crate::kernels::kernel_of;
use crate::lanes::{COLUMN_CHANNELS, Lanes};

/// The kernel of [`DepthwiseConv2d`].
pub const fn kernel<L: Lanes>() -> Kernel {
    kernel_of!(DepthwiseConv2d, run::<L>)
}

fn run<L: Lanes>(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let DepthwiseConv2d(layer) = DepthwiseConv2d::read(fields)?;
    let extents = layer.extents()?;
    let in_c = usize::from(layer.in_c);
    let out_c = usize::from(layer.out_c).max(1);
    let filters = Filters::new(memory.constants(extents.constants)?, out_c)?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let window = &layer.window;
    let output = layer.output();
    let padding = [layer.ifm_zero_point as u8; COLUMN_CHANNELS];
    let x_step = in_c.wrapping_mul(window.dilation_w.into());

    let mut pixels = ofm.chunks_exact_mut(out_c);
    for y in 0..usize::from(window.out_h) {
        let rows = window.rows(y);
        for x in 0..usize::from(window.out_w) {
            let columns = window.columns(x);
            let pixel = pixels.next()?;
            let mut o = 0;
            while o < out_c {
                // The last block may begin early and compute some channels twice.
                let wide = in_c == out_c && out_c >= COLUMN_CHANNELS;
                if wide {
                    o = o.min(out_c.wrapping_sub(COLUMN_CHANNELS));
                }
                let input_channel = if wide {
                    o
                } else {
                    o.wrapping_mul(in_c).checked_div(out_c)?
                };
                let mut acc = filters.biases::<COLUMN_CHANNELS>(o);
                window.runs(&rows, &columns, |run| {
                    let from = run.tap.wrapping_mul(out_c).wrapping_add(o);
                    let weights = filters.weights.get(from..)?;
                    let (x, x_step) = match run.pixel {
                        Some(pixel) => (
                            ifm.get(pixel.wrapping_mul(in_c).wrapping_add(input_channel)..)?,
                            x_step,
                        ),
                        None => (padding.as_slice(), 0),
                    };
                    if wide {
                        L::columns(&mut acc, run.taps, (x, x_step), (weights, out_c));
                    } else {
                        column(&mut acc[0], run.taps, (x, x_step), (weights, out_c));
                    }
                    Some(())
                })?;
                let channels = if wide { COLUMN_CHANNELS } else { 1 };
                filters.rescale(&output, o, &acc, pixel.get_mut(o..)?.get_mut(..channels)?)?;
                o = o.wrapping_add(channels);
            }
        }
    }
    Some(extents.output)
}

/// One channel of [`Lanes::columns`]: for few channels, and for several outputs of one input channel.
fn column(acc: &mut i32, taps: usize, x: (&[u8], usize), weights: (&[u8], usize)) {
    let at = |(bytes, step): (&[u8], usize), tap: usize| {
        let byte = bytes.get(tap.wrapping_mul(step)).copied().unwrap_or(0);
        i32::from(byte as i8)
    };
    for tap in 0..taps {
        *acc = acc.wrapping_add(at(x, tap).wrapping_mul(at(weights, tap)));
    }
}

impl DepthwiseConv2d {
    pub(crate) fn extents(&self) -> Option<Extents> {
        self.0.extents()
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.0.work()
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        self.0.groups == self.0.in_c && self.0.is_valid(constants)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, state: u32) {
        self.0.bind(sources, ofm, constants, state);
    }
}
