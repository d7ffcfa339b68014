//! A strided copy with a rescale on the way, of int8 and int16 codes:
//! `ofm[Σ dᵢ·ofm_stridesᵢ] = clamp(ratio(ifm[Σ dᵢ·ifm_stridesᵢ] − ifm_zp) + zp)`, with a ratio of its own for negative
//! differences. May run in place where both sides are dense and of one width; else the two regions, gaps included, are
//! disjoint.

use crate::arena::Memory;
use crate::arith::clamp_wide;
use crate::format::Rescale16;
use crate::kernels::strided_copy::region;
use crate::kernels::{
    Extent, Extents, FIRST_IN_PLACE, Kernel, MAX_SOURCES, kernel_of, only, source, work_of,
};

/// The kernel of [`Rescale16`].
pub const fn kernel() -> Kernel {
    kernel_of!(Rescale16, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Rescale16::read(fields)?;
    let extents = layer.extents()?;
    let [Some(from), ..] = extents.sources else {
        return None;
    };
    let to = extents.output;
    // Where the elements at index zero stand in the two regions.
    let ifm_first = layer.ifm.wrapping_sub(from.offset) as usize;
    let ofm_first = layer.ofm.wrapping_sub(to.offset) as usize;
    let mut index = [0u32; 5];
    loop {
        let at = |first: usize, strides: &[i32; 5], bytes: u8| {
            let steps = index.iter().zip(strides);
            steps.fold(first, |at, (&index, &stride)| {
                let step = (stride as isize as usize).wrapping_mul(bytes.into());
                at.wrapping_add(step.wrapping_mul(index as usize))
            })
        };
        let read = at(ifm_first, &layer.ifm_strides, layer.ifm_bytes);
        let written = at(ofm_first, &layer.ofm_strides, layer.ofm_bytes);
        let bytes = memory.source(from)?.get(read..)?;
        let code = if layer.ifm_bytes == 1 {
            let [byte] = *bytes.first_chunk()?;
            i16::from(byte as i8)
        } else {
            i16::from_le_bytes(*bytes.first_chunk()?)
        };
        let code = layer.code(code).to_le_bytes();
        let place = memory.output(to)?.get_mut(written..)?;
        let code = code.get(..layer.ofm_bytes.into())?;
        place.iter_mut().zip(code).for_each(|(slot, &byte)| *slot = byte);
        // The dimensions count like an odometer: a full one goes back to zero, and the next one moves.
        let mut moved = false;
        for (index, &extent) in index.iter_mut().zip(&layer.dims).rev() {
            *index = index.wrapping_add(1);
            if *index < extent {
                moved = true;
                break;
            }
            *index = 0;
        }
        if !moved {
            return Some(extents.output);
        }
    }
}

/// Whether strides visit elements one after the other.
fn is_dense(dims: &[u32; 5], strides: &[i32; 5]) -> bool {
    let mut expected = 1u32;
    dims.iter().zip(strides).rev().all(|(&extent, &stride)| {
        let fits = extent == 1 || stride as u32 == expected;
        expected = expected.wrapping_mul(extent);
        fits
    })
}

impl Rescale16 {
    /// What becomes of a code.
    fn code(&self, code: i16) -> i16 {
        let x = i64::from(code).wrapping_sub(self.ifm_zero_point.into());
        let ratio = if x < 0 { self.negative } else { self.ratio };
        let value = ratio.apply(x).wrapping_add(self.ofm_zero_point.into());
        clamp_wide(value, self.min, self.max)
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let in_place = self.ifm_bytes == self.ofm_bytes
            && is_dense(&self.dims, &self.ifm_strides)
            && is_dense(&self.dims, &self.ofm_strides);
        Some(Extents {
            sources: only(region(self.ifm, &self.dims, &self.ifm_strides, self.ifm_bytes)?),
            in_place: if in_place {
                FIRST_IN_PLACE
            } else {
                [false; MAX_SOURCES]
            },
            output: region(self.ofm, &self.dims, &self.ofm_strides, self.ofm_bytes)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.dims)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.ratio.is_valid()
            && self.negative.is_valid()
            && self.min <= self.max
            && [self.ifm_bytes, self.ofm_bytes]
                .iter()
                .all(|bytes| (1..=2).contains(bytes))
            && (self.ofm_bytes == 2 || (self.min >= i8::MIN.into() && self.max <= i8::MAX.into()))
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
