//! Convolution: `ofm[y][x][o] = requantize(bias[o] + Σ ifm[iy][ix][g + i] · weights[o][ky][kx][i])`, with `iy`, `ix` as
//! [`crate::format::Window`] says and `g` the first input channel of `o`'s group. Padding taps read the input's zero
//! point; `bias` already holds `−zero_point · Σ weights`.
//!
//! Layouts: input and output `[h][w][c]`, weights `[out_c][kernel_h][kernel_w][in_c / groups]`. Never in place.
//!
//! Without groups and dilation the taps of one kernel row are contiguous in the input row and in the weights, so that
//! one [`Lanes::dot`] takes them all.

use super::filters::{Filters, Output, is_known_packing};
use super::{Extent, Extents, Kernel, source, weights_block, work_of};
use crate::arena::Memory;
use crate::format::Conv2d;
use crate::kernels::kernel_of;
use crate::kernels::only;
use crate::lanes::{DOT_CHANNELS, Lanes};

/// Padding bytes that one dot takes.
const PADDING_BLOCK: usize = 64;

/// The kernel of [`Conv2d`].
pub const fn kernel<L: Lanes>() -> Kernel {
    kernel_of!(Conv2d, run::<L>)
}

fn run<L: Lanes>(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Conv2d::read(fields)?;
    let extents = layer.extents()?;
    let out_c = usize::from(layer.out_c).max(1);
    let filters = Filters::new(memory.constants(extents.constants)?, out_c)?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let window = &layer.window;
    let output = layer.output();
    let filter_c = layer.filter_c()? as usize;
    let filter = filter_c.wrapping_mul(window.kernel_taps() as usize);
    let group_out = usize::from(layer.out_c.checked_div(layer.groups)?).max(1);
    let in_c = usize::from(layer.in_c);
    // Taps that lie side by side both in the input and in the weights.
    let side_by_side = if layer.groups == 1 && window.dilation_w == 1 {
        usize::MAX
    } else {
        1
    };
    let padding = [layer.ifm_zero_point as u8; PADDING_BLOCK];

    let mut pixels = ofm.chunks_exact_mut(out_c);
    for y in 0..usize::from(window.out_h) {
        let rows = window.rows(y);
        for x in 0..usize::from(window.out_w) {
            let columns = window.columns(x);
            let mut ofm = pixels.next()?;
            let mut o = 0;
            let (mut last, mut first_c) = (group_out.wrapping_sub(1), 0);
            while !ofm.is_empty() {
                let mut acc = filters.biases(o);
                let weights = filters.rows(filter, o, last)?;
                window.runs(&rows, &columns, |run| {
                    let from = run.tap.wrapping_mul(filter_c);
                    let length = run.taps.wrapping_mul(filter_c);
                    let Some(pixel) = run.pixel else {
                        return add_padding::<L>(&mut acc, &padding, part(weights, from, length)?);
                    };
                    let step = run.taps.min(side_by_side);
                    for tap in (0..run.taps).step_by(step.max(1)) {
                        let pixel = pixel.wrapping_add(tap.wrapping_mul(window.dilation_w.into()));
                        let start = pixel.wrapping_mul(in_c).wrapping_add(first_c);
                        let from = from.wrapping_add(tap.wrapping_mul(filter_c));
                        let length = step.wrapping_mul(filter_c);
                        L::dot(
                            &mut acc,
                            ifm.get(start..)?.get(..length)?,
                            part(weights, from, length)?,
                        );
                    }
                    Some(())
                })?;
                let block = DOT_CHANNELS.min(last.wrapping_sub(o).wrapping_add(1));
                let (head, rest) = ofm.split_at_mut_checked(block)?;
                filters.rescale(&output, o, &acc, head)?;
                ofm = rest;
                o = o.wrapping_add(block);
                if o > last {
                    last = last.wrapping_add(group_out);
                    first_c = first_c.wrapping_add(filter_c);
                }
            }
        }
    }
    Some(extents.output)
}

/// `length` weights of each row.
#[inline(always)]
fn part(rows: [&[u8]; DOT_CHANNELS], from: usize, length: usize) -> Option<[&[u8]; DOT_CHANNELS]> {
    let [a, b, c, d] = rows;
    Some([
        a.get(from..)?.get(..length)?,
        b.get(from..)?.get(..length)?,
        c.get(from..)?.get(..length)?,
        d.get(from..)?.get(..length)?,
    ])
}

/// Adds the padding's value under all of `weights`.
fn add_padding<L: Lanes>(
    acc: &mut [i32; DOT_CHANNELS],
    padding: &[u8; PADDING_BLOCK],
    weights: [&[u8]; DOT_CHANNELS],
) -> Option<()> {
    let [mut a, mut b, mut c, mut d] = weights;
    while padding.iter().any(|&value| value != 0) && !a.is_empty() {
        L::dot(acc, padding, [a, b, c, d]);
        [a, b, c, d] = [a, b, c, d].map(|row| row.get(PADDING_BLOCK..).unwrap_or_default());
    }
    Some(())
}

impl Conv2d {
    /// Input channels of one filter; `None` where the groups do not divide the channels.
    fn filter_c(&self) -> Option<u32> {
        let rest = (
            self.in_c.checked_rem(self.groups)?,
            self.out_c.checked_rem(self.groups)?,
        );
        (rest == (0, 0)).then_some(())?;
        self.in_c.checked_div(self.groups).map(u32::from)
    }

    pub(super) fn output(&self) -> Output {
        Output {
            left_shift: self.left_shift,
            zero_point: self.ofm_zero_point,
            min: self.min,
            max: self.max,
        }
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let filter = self.window.kernel_taps().checked_mul(self.filter_c()?)?;
        let weights = filter.checked_mul(self.out_c.into())?;
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: self.window.ifm_bytes(self.in_c)?,
            }),
            output: Extent {
                offset: self.ofm,
                bytes: self.window.ofm_bytes(self.out_c)?,
            },
            constants: Some(weights_block(self.constants, self.out_c.into(), weights)?),
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

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let filters = Filters::new(constants, self.out_c.into());
        self.window.is_valid()
            && self.output().is_valid()
            && is_known_packing(self.packing)
            && filters.is_some_and(|filters| filters.are_valid())
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
