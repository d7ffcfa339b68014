//! PRelu with a slope for each channel: `ofm[o][c][i] = requantize(ifm[o][c][i] − ifm_zero_point)`, by one factor where that
//! is not negative, by the channel's where it is.
//!
//! Layouts: input and output `[outer][channels][inner]`. May run in place.

use super::{Extent, Extents, FIRST_IN_PLACE, Kernel, only, product, source, work_of};
use crate::arena::Memory;
use crate::arith::{FixedScale, requantize};
use crate::format::PRelu;
use crate::kernels::kernel_of;

/// Left shifts: a difference of codes has 9 bits.
const LEFT_SHIFTS: u8 = 24;

/// The kernel of [`PRelu`].
pub const fn kernel() -> Kernel {
    kernel_of!(PRelu, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = PRelu::read(fields)?;
    let extents = layer.extents()?;
    let (multipliers, shifts) = layer.slopes(memory.constants(extents.constants)?)?;
    let rest = FixedScale::from_stored(layer.multiplier, layer.shift);
    let inner = (layer.inner as usize).max(1);
    let mut runs = memory.output_from_source(&extents)?.chunks_exact_mut(inner);
    for _ in 0..layer.outer {
        for (&multiplier, &shift) in multipliers.iter().zip(shifts) {
            let multiplier = i32::from_le_bytes(multiplier);
            let slope = FixedScale::from_stored(multiplier.wrapping_abs(), shift);
            for slot in runs.next()? {
                let steps = i32::from(*slot as i8).wrapping_sub(layer.ifm_zero_point.into());
                let (steps, scale) = match (steps < 0, multiplier < 0) {
                    (false, _) => (steps, rest),
                    (true, false) => (steps, slope),
                    (true, true) => (steps.wrapping_neg(), slope),
                };
                let acc = steps.wrapping_shl(layer.left_shift.into());
                *slot = requantize(acc, scale, layer.ofm_zero_point, layer.min, layer.max) as u8;
            }
        }
    }
    Some(extents.output)
}

impl PRelu {
    /// Multipliers and shifts of a constants block.
    fn slopes<'a>(&self, block: &'a [u8]) -> Option<(&'a [[u8; 4]], &'a [u8])> {
        let (multipliers, shifts) = block.split_at_checked((self.channels as usize).checked_mul(4)?)?;
        Some((multipliers.as_chunks().0, shifts))
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let bytes = product(&[self.outer, self.channels, self.inner])?;
        let region = |offset| Extent { offset, bytes };
        Some(Extents {
            sources: only(region(self.ifm)),
            in_place: FIRST_IN_PLACE,
            output: region(self.ofm),
            constants: Some(Extent {
                offset: self.constants,
                bytes: self.channels.checked_mul(5)?,
            }),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.outer, self.channels, self.inner])
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let is_sound = |(&multiplier, &shift): (&[u8; 4], &u8)| {
            // The least of all numbers stays negative.
            let multiplier = i32::from_le_bytes(multiplier).wrapping_abs();
            FixedScale::from_stored(multiplier, shift).is_valid()
        };
        FixedScale::from_stored(self.multiplier, self.shift).is_valid()
            && self.left_shift < LEFT_SHIFTS
            && self.min <= self.max
            // Empty rows would leave loops without work.
            && ![self.channels, self.inner].contains(&0)
            && self
                .slopes(constants)
                .is_some_and(|(multipliers, shifts)| multipliers.iter().zip(shifts).all(is_sound))
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
