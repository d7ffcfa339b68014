//! The constants block of products with weights, and the rescale of their accumulators.

use super::PER_CHANNEL_BYTES;
use crate::arith::{FixedScale, requantize};
use crate::format::CONSTANT_ALIGN;
use crate::lanes::{DOT_CHANNELS, Packing};

/// Biases, rescales and weights of all output channels.
#[derive(Clone, Copy)]
pub(super) struct Filters<'a> {
    biases: &'a [[u8; 4]],
    multipliers: &'a [[u8; 4]],
    shifts: &'a [u8],
    /// All weights.
    pub(super) weights: &'a [u8],
}

impl<'a> Filters<'a> {
    /// The parts of `block`; `None` where it is too short.
    pub(super) fn new(block: &'a [u8], channels: usize) -> Option<Self> {
        let lists = channels.checked_mul(PER_CHANNEL_BYTES as usize)?;
        let weights = block.get(lists.checked_next_multiple_of(CONSTANT_ALIGN as usize)?..)?;
        let (biases, rest) = block.split_at_checked(channels.checked_mul(4)?)?;
        let (multipliers, rest) = rest.split_at_checked(biases.len())?;
        let shifts = rest.get(..channels)?;
        Some(Self {
            biases: biases.as_chunks().0,
            multipliers: multipliers.as_chunks().0,
            shifts,
            weights,
        })
    }

    /// Bias of channel `o`.
    #[inline(always)]
    pub(super) fn bias(&self, o: usize) -> i32 {
        self.biases.get(o).map_or(0, |&bytes| i32::from_le_bytes(bytes))
    }

    /// Biases from channel `o` on; behind the last one, of any channel.
    #[inline(always)]
    pub(super) fn biases<const N: usize>(&self, o: usize) -> [i32; N] {
        core::array::from_fn(|i| self.bias(o.wrapping_add(i)))
    }

    /// Rescale of channel `o`.
    #[inline(always)]
    fn scale(&self, o: usize) -> Option<FixedScale> {
        let (&multiplier, &shift) = self.multipliers.get(o).zip(self.shifts.get(o))?;
        Some(FixedScale::from_stored(i32::from_le_bytes(multiplier), shift))
    }

    /// The weights of [`DOT_CHANNELS`] rows of `length` from channel `o` on. Behind channel `last` it stands in for
    /// the missing ones, whose sums nobody reads.
    #[inline(always)]
    pub(super) fn rows(&self, length: usize, o: usize, last: usize) -> Option<[&'a [u8]; DOT_CHANNELS]> {
        let row = |i: usize| {
            let start = o.wrapping_add(i).min(last).wrapping_mul(length);
            self.weights.get(start..)?.get(..length)
        };
        Some([row(0)?, row(1)?, row(2)?, row(3)?])
    }

    /// Rescales accumulators of the channels from `o` on into `ofm`, over the shorter of the two.
    #[inline(always)]
    pub(super) fn rescale(&self, output: &Output, o: usize, acc: &[i32], ofm: &mut [u8]) -> Option<()> {
        for (i, (slot, &acc)) in ofm.iter_mut().zip(acc).enumerate() {
            let acc = acc.wrapping_shl(output.left_shift.into());
            let scale = self.scale(o.wrapping_add(i))?;
            *slot = requantize(acc, scale, output.zero_point, output.min, output.max) as u8;
        }
        Some(())
    }

    /// Whether every rescale is in range.
    pub(super) fn are_valid(&self) -> bool {
        (0..self.shifts.len()).all(|o| self.scale(o).is_some_and(FixedScale::is_valid))
    }
}

/// What a record says about the way from accumulators to the output.
pub(super) struct Output {
    pub(super) left_shift: u8,
    pub(super) zero_point: i8,
    pub(super) min: i8,
    pub(super) max: i8,
}

impl Output {
    /// Whether shift and clamp are in range.
    pub(super) fn is_valid(&self) -> bool {
        self.left_shift < 32 && self.min <= self.max
    }
}

/// Whether the kernels know this packing of weights.
pub(super) fn is_known_packing(code: u8) -> bool {
    Packing::from_code(code) == Some(Packing::Plain)
}
