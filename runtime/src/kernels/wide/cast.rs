//! Reals to int16 codes and back, as ONNX has it. Never in place.

use super::{codes, codes_mut, region};
use crate::arena::Memory;
use crate::arith;
use crate::format::{Dequantize16, Quantize16};
use crate::kernels::{Extent, Extents, Kernel, kernel_of, only, source};

/// Bytes of a real.
const REAL: u32 = 4;

/// The kernel of [`Quantize16`].
pub const fn quantize() -> Kernel {
    kernel_of!(Quantize16, run_quantize)
}

/// The kernel of [`Dequantize16`].
pub const fn dequantize() -> Kernel {
    kernel_of!(Dequantize16, run_dequantize)
}

fn run_quantize(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Quantize16::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    for (slot, &x) in codes_mut(ofm).iter_mut().zip(ifm.as_chunks().0) {
        let code = arith::quantize_wide(f32::from_le_bytes(x), layer.scale, layer.zero_point);
        *slot = code.to_le_bytes();
    }
    Some(extents.output)
}

fn run_dequantize(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Dequantize16::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    for (slot, &code) in ofm.as_chunks_mut().0.iter_mut().zip(codes(ifm)) {
        let code = i16::from_le_bytes(code);
        *slot = arith::dequantize_wide(code, layer.scale, layer.zero_point).to_le_bytes();
    }
    Some(extents.output)
}

/// A region of reals.
fn reals(offset: u32, elements: u32) -> Option<Extent> {
    let bytes = elements.checked_mul(REAL)?;
    Some(Extent { offset, bytes })
}

macro_rules! cast {
    ($name:ident, $from:expr, $to:expr) => {
        impl $name {
            pub(crate) fn extents(&self) -> Option<Extents> {
                Some(Extents {
                    sources: only($from(self.ifm, self.count)?),
                    output: $to(self.ofm, self.count)?,
                    ..Extents::default()
                })
            }

            pub(crate) fn work(&self) -> Option<u64> {
                Some(self.count.into())
            }

            pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
                // Positive and finite.
                (1..f32::INFINITY.to_bits()).contains(&self.scale.to_bits())
            }

            pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
                self.ifm = source(sources, 0);
                self.ofm = ofm;
            }
        }
    };
}

cast! { Quantize16, reals, region }
cast! { Dequantize16, region, reals }
