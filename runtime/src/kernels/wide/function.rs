//! A function of one int16 value, linear between the entries of a table. May run in place.

use super::{codes, codes_mut, region};
use crate::arena::Memory;
use crate::format::Function16;
use crate::kernels::{Extent, Extents, FIRST_IN_PLACE, Kernel, kernel_of, only, source};

/// Bits of a code.
const BITS: u32 = 16;

/// The kernel of [`Function16`].
pub const fn kernel() -> Kernel {
    kernel_of!(Function16, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Function16::read(fields)?;
    let extents = layer.extents()?;
    let table = codes(memory.constants(extents.constants)?);
    for slot in codes_mut(memory.output_from_source(&extents)?) {
        let code = i16::from_le_bytes(*slot);
        *slot = interpolate(table, layer.log2_segments.into(), code)?.to_le_bytes();
    }
    Some(extents.output)
}

/// The function of a code: what the compiler measures, too. `None` where the table has fewer than
/// `2^log2_segments + 1` entries.
pub fn interpolate(table: &[[u8; 2]], log2_segments: u32, code: i16) -> Option<i16> {
    let s = BITS.wrapping_sub(log2_segments) & 15;
    // Flipping the sign bit adds 32768.
    let place = u32::from(code as u16 ^ 0x8000);
    let index = (place >> s) as usize;
    let &[low, high] = table.get(index..)?.first_chunk()?;
    let (low, high) = (
        i32::from(i16::from_le_bytes(low)),
        i32::from(i16::from_le_bytes(high)),
    );
    let fraction = (place & (1u32 << s).wrapping_sub(1)) as i32;
    // 17 bits times at most 15.
    let rise = high.wrapping_sub(low).wrapping_mul(fraction);
    let rounded = rise.wrapping_add((1i32 << s) >> 1) >> s;
    // Between two codes.
    Some(low.wrapping_add(rounded) as i16)
}

impl Function16 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let entries = 1u32.checked_shl(self.log2_segments.into())?.checked_add(1)?;
        Some(Extents {
            sources: only(region(self.ifm, self.count)?),
            in_place: FIRST_IN_PLACE,
            output: region(self.ofm, self.count)?,
            constants: Some(region(self.constants, entries)?),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        Some(self.count.into())
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        (1..BITS).contains(&self.log2_segments.into())
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
