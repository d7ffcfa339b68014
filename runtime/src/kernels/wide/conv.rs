//! Convolution of int16 with int8 weights over up to three spatial axes, transposed ones and dense layers included:
//! `ofm[n][…][o] = clamp(ratio(bias[o] + Σ ifm[n][…][g + i] · weights[o][…][i]) + zp)`, positions as
//! [`crate::format::Window3`] says and `g` the first input channel of `o`'s group. Other taps read the input's zero point;
//! `bias` already holds `−zero_point · Σ weights`.
//!
//! Layouts: input and output `[images][d][h][w][c]`, weights `[out_c][d][h][w][in_c / groups]`. Never in place.
//!
//! Sums are kept in 64 bits; up to [`RUN`] neighbours are added in 32 bits before.

use super::{Code, codes, codes_mut, region};
use crate::arena::Memory;
use crate::arith::clamp_wide;
use crate::format::{CONSTANT_ALIGN, Conv16, Ratio, Window3};
use crate::kernels::{Extent, Extents, Kernel, kernel_of, only, product, source};

/// Products added in 32 bits: each is at most 2^22 in magnitude.
const RUN: usize = 256;

/// The kernel of [`Conv16`].
pub const fn kernel() -> Kernel {
    kernel_of!(Conv16, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Conv16::read(fields)?;
    let extents = layer.extents()?;
    let out_c = (layer.out_c as usize).max(1);
    let channels = Channels::new(memory.constants(extents.constants)?, layer.wide, out_c)?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let (ifm, window) = (codes(ifm), &layer.window);
    let filter_c = layer.filter_c()? as usize;
    let filter = filter_c.wrapping_mul(window.taps()? as usize);
    let group_out = layer.out_c.checked_div(layer.groups)?.max(1) as usize;
    let in_c = layer.in_c as usize;
    let image_pixels = product(&window.ifm.map(u32::from))? as usize;
    let zero_point = i64::from(layer.ifm_zero_point);

    let mut pixels = codes_mut(ofm).chunks_exact_mut(out_c);
    window.positions(layer.images, |image, at| {
        let first_pixel = image.wrapping_mul(image_pixels);
        for (o, slot) in pixels.next()?.iter_mut().enumerate() {
            let weights = channels.weights.get(o.wrapping_mul(filter)..)?.get(..filter)?;
            let first_c = o.checked_div(group_out)?.wrapping_mul(filter_c);
            let mut acc = channels.bias(o)?;
            window.visit(at, |tap| {
                let weights = weights.get(tap.tap.wrapping_mul(filter_c)..)?.get(..filter_c)?;
                let Some(pixel) = tap.pixel else {
                    let all = weights
                        .iter()
                        .fold(0i64, |all, &w| all.wrapping_add((w as i8).into()));
                    acc = acc.wrapping_add(all.wrapping_mul(zero_point));
                    return Some(());
                };
                let start = first_pixel
                    .wrapping_add(pixel)
                    .wrapping_mul(in_c)
                    .wrapping_add(first_c);
                acc = acc.wrapping_add(dot(ifm.get(start..)?.get(..filter_c)?, weights));
                Some(())
            })?;
            let value = channels.ratio(o)?.apply(acc);
            let value = value.wrapping_add(layer.ofm_zero_point.into());
            *slot = clamp_wide(value, layer.min, layer.max).to_le_bytes();
        }
        Some(())
    })?;
    Some(extents.output)
}

/// The sum of the products of neighbours.
fn dot(x: &[Code], weights: &[u8]) -> i64 {
    let runs = x.chunks(RUN).zip(weights.chunks(RUN));
    runs.fold(0, |sum, (x, weights)| {
        let run = x.iter().zip(weights).fold(0i32, |sum, (&x, &weight)| {
            let product = i32::from(i16::from_le_bytes(x)).wrapping_mul((weight as i8).into());
            sum.wrapping_add(product)
        });
        sum.wrapping_add(run.into())
    })
}

/// The lists of a constants block.
#[derive(Clone, Copy)]
struct Channels<'a> {
    lists: Lists<'a>,
    shifts: &'a [u8],
    weights: &'a [u8],
}

/// Biases, multipliers and divisors, in either form.
#[derive(Clone, Copy)]
enum Lists<'a> {
    Narrow(&'a [[u8; 4]], &'a [[u8; 4]]),
    Wide(&'a [[u8; 8]], &'a [[u8; 8]], &'a [[u8; 4]]),
}

impl<'a> Channels<'a> {
    /// Bytes of all lists of a channel.
    const fn bytes(wide: u8) -> u32 {
        if wide == 0 { 9 } else { 21 }
    }

    fn new(block: &'a [u8], wide: u8, channels: usize) -> Option<Self> {
        let all = channels.checked_mul(Self::bytes(wide) as usize)?;
        let weights = block.get(all.checked_next_multiple_of(CONSTANT_ALIGN as usize)?..)?;
        let (words, longs) = (channels.checked_mul(4)?, channels.checked_mul(8)?);
        let (lists, rest) = if wide == 0 {
            let (biases, rest) = block.split_at_checked(words)?;
            let (multipliers, rest) = rest.split_at_checked(words)?;
            (
                Lists::Narrow(biases.as_chunks().0, multipliers.as_chunks().0),
                rest,
            )
        } else {
            let (biases, rest) = block.split_at_checked(longs)?;
            let (multipliers, rest) = rest.split_at_checked(longs)?;
            let (divisors, rest) = rest.split_at_checked(words)?;
            let lists = Lists::Wide(
                biases.as_chunks().0,
                multipliers.as_chunks().0,
                divisors.as_chunks().0,
            );
            (lists, rest)
        };
        Some(Self {
            lists,
            shifts: rest.get(..channels)?,
            weights,
        })
    }

    fn bias(&self, o: usize) -> Option<i64> {
        Some(match self.lists {
            Lists::Narrow(biases, _) => i32::from_le_bytes(*biases.get(o)?).into(),
            Lists::Wide(biases, _, _) => i64::from_le_bytes(*biases.get(o)?),
        })
    }

    fn ratio(&self, o: usize) -> Option<Ratio> {
        let right_shift = u32::from(*self.shifts.get(o)?);
        Some(match self.lists {
            Lists::Narrow(_, multipliers) => Ratio {
                multiplier: i32::from_le_bytes(*multipliers.get(o)?).into(),
                divisor: 0,
                right_shift,
            },
            Lists::Wide(_, multipliers, divisors) => Ratio {
                multiplier: i64::from_le_bytes(*multipliers.get(o)?),
                divisor: u32::from_le_bytes(*divisors.get(o)?),
                right_shift,
            },
        })
    }
}

impl Conv16 {
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
        let weights = filter.checked_mul(self.out_c)?;
        let lists = self
            .out_c
            .checked_mul(Channels::bytes(self.wide))?
            .checked_next_multiple_of(CONSTANT_ALIGN)?;
        Some(Extents {
            sources: only(region(
                self.ifm,
                product(&Window3::around(self.images, self.window.ifm, self.in_c))?,
            )?),
            output: region(
                self.ofm,
                product(&Window3::around(self.images, self.window.ofm, self.out_c))?,
            )?,
            constants: Some(Extent {
                offset: self.constants,
                bytes: lists.checked_add(weights)?,
            }),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        let each = self.out_c.checked_mul(self.filter_c()?)?;
        self.window.work(self.images, each)
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let channels = self.out_c as usize;
        let lists = Channels::new(constants, self.wide, channels);
        let are_valid =
            |lists: Channels<'_>| (0..channels).all(|o| lists.ratio(o).is_some_and(|ratio| ratio.is_valid()));
        self.window.is_valid() && self.min <= self.max && self.wide <= 1 && lists.is_some_and(are_valid)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
