//! The mean of each window, clamped. Padding contributes zeros (the input's zero point) to the sum; the count holds it or
//! not as the record says.
//!
//! `ofm = clamp(round(Σ (ifm − ifm_zp) / count) + ofm_zp)`, ties to even, where input and output have one scale;
//! `ofm = requantize(Σ (ifm − ifm_zp) << left_shift)` with the rescale of the window's count, where they do not.
//!
//! Layouts: input and output `[h][w][c]`. Never in place.

use super::{Extent, Extents, Kernel, source};
use crate::arena::Memory;
use crate::arith::{FixedScale, clamp, divide_half_even, requantize};
use crate::format::AveragePool;
use crate::kernels::kernel_of;
use crate::kernels::only;

/// Bytes of a stored rescale: multiplier and shift.
const SCALE_BYTES: u32 = 5;

/// Most taps of a kernel: the sum of that many differences of int8 values stays within 30 bits.
const MOST_TAPS: u32 = 1 << 22;
/// Channels computed at once.
const BLOCK: usize = 16;

/// The kernel of [`AveragePool`].
pub const fn kernel() -> Kernel {
    kernel_of!(AveragePool, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = AveragePool::read(fields)?;
    let extents = layer.extents()?;
    let scales = memory.constants(extents.constants).unwrap_or_default();
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let channels = usize::from(layer.channels).max(1);
    let mut pixels = ofm.chunks_exact_mut(channels);
    for y in 0..usize::from(layer.window.out_h) {
        let rows = layer.window.rows(y);
        for x in 0..usize::from(layer.window.out_w) {
            let columns = layer.window.columns(x);
            let inside = rows.count().wrapping_mul(columns.count()) as u32;
            let count = if layer.count_include_pad == 0 {
                inside
            } else {
                layer.window.kernel_taps()
            };
            let divisor = if layer.divide == 1 || count == 0 {
                Divisor::Count(count)
            } else {
                Divisor::Scale(layer.scale(scales, count as usize)?)
            };
            let zeros = (inside as i32).wrapping_mul(layer.ifm_zero_point.into());
            for (block, ofm) in pixels.next()?.chunks_mut(BLOCK).enumerate() {
                let mut sums = [0i32; BLOCK];
                for ky in rows.first..rows.end {
                    for kx in columns.first..columns.end {
                        let pixel = layer.window.pixel(&rows, &columns, ky, kx);
                        let start = pixel
                            .wrapping_mul(channels)
                            .wrapping_add(block.wrapping_mul(BLOCK));
                        let values = ifm.get(start..)?.get(..ofm.len())?;
                        for (sum, &value) in sums.iter_mut().zip(values) {
                            *sum = sum.wrapping_add((value as i8).into());
                        }
                    }
                }
                ofm.iter_mut().zip(sums).for_each(|(slot, sum)| {
                    *slot = layer.mean(sum.wrapping_sub(zeros), divisor) as u8;
                });
            }
        }
    }
    Some(extents.output)
}

/// How a window's sum becomes its mean.
#[derive(Clone, Copy)]
enum Divisor {
    Count(u32),
    Scale(FixedScale),
}

impl AveragePool {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let constants = if self.divide == 0 {
            let bytes = self.window.kernel_taps().checked_mul(SCALE_BYTES)?;
            Some(Extent {
                offset: self.constants,
                bytes,
            })
        } else {
            None
        };
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: self.window.ifm_bytes(self.channels)?,
            }),
            output: Extent {
                offset: self.ofm,
                bytes: self.window.ofm_bytes(self.channels)?,
            },
            constants,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.window.work(self.channels)
    }

    /// The mean of a window.
    fn mean(&self, sum: i32, divisor: Divisor) -> i8 {
        match divisor {
            Divisor::Count(count) => {
                let mean = divide_half_even(sum, count).wrapping_add(self.ofm_zero_point.into());
                clamp(mean.into(), self.min, self.max)
            }
            Divisor::Scale(scale) => {
                let sum = sum.wrapping_shl(self.left_shift.into());
                requantize(sum, scale, self.ofm_zero_point, self.min, self.max)
            }
        }
    }

    /// The stored rescale of windows with `count` taps.
    fn scale(&self, scales: &[u8], count: usize) -> Option<FixedScale> {
        let taps = self.window.kernel_taps() as usize;
        let index = count.checked_sub(1)?;
        let (multipliers, shifts) = scales.split_at_checked(taps.checked_mul(4)?)?;
        let multiplier = i32::from_le_bytes(*multipliers.as_chunks().0.get(index)?);
        Some(FixedScale::from_stored(multiplier, *shifts.get(index)?))
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let taps = self.window.kernel_taps();
        let mut scales = (1..=taps as usize).map(|count| self.scale(constants, count));
        self.window.is_valid()
            && taps <= MOST_TAPS
            && self.min <= self.max
            && self.divide <= 1
            && self.count_include_pad <= 1
            && self.left_shift < 32
            && (self.divide == 1 || scales.all(|scale| scale.is_some_and(FixedScale::is_valid)))
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
