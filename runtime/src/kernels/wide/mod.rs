//! Kernels on int16 codes: portable loops over two bytes an element. Weights are int8, sums exact in 64 bits, and one
//! [`Ratio`](crate::format::Ratio) rounds them, exactly.

pub mod binary;
pub mod cast;
pub mod conv;
pub mod function;
pub mod pool;
pub mod rescale;

use super::Extent;

/// Bytes of a code.
const WIDTH: u32 = 2;

/// A stored code.
type Code = [u8; WIDTH as usize];

/// The codes of a region.
fn codes(bytes: &[u8]) -> &[Code] {
    bytes.as_chunks().0
}

/// The codes of a region, to write.
fn codes_mut(bytes: &mut [u8]) -> &mut [Code] {
    bytes.as_chunks_mut().0
}

/// A region of `elements` codes.
fn region(offset: u32, elements: u32) -> Option<Extent> {
    let bytes = elements.checked_mul(WIDTH)?;
    Some(Extent { offset, bytes })
}

/// The difference of a stored code to a zero point.
#[inline(always)]
fn difference(code: Code, zero_point: i16) -> i32 {
    i32::from(i16::from_le_bytes(code)).wrapping_sub(zero_point.into())
}
