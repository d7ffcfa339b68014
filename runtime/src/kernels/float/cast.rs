//! Reals to int8 codes and back, as ONNX has it: `saturate(round_half_even(x / scale) + zero_point)` and
//! `(q − zero_point) · scale`. Never in place.

use super::{WIDTH, region, words, words_mut};
use crate::arena::Memory;
use crate::arith;
use crate::format::{Dequantize, Quantize};
use crate::kernels::kernel_of;
use crate::kernels::only;
use crate::kernels::{Extent, Extents, Kernel, source};

/// The kernel of [`Quantize`].
pub const fn quantize() -> Kernel {
    kernel_of!(Quantize, run_quantize)
}

/// The kernel of [`Dequantize`].
pub const fn dequantize() -> Kernel {
    kernel_of!(Dequantize, run_dequantize)
}

fn run_quantize(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Quantize::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    for (slot, &x) in ofm.iter_mut().zip(words(ifm)) {
        *slot = arith::quantize(f32::from_le_bytes(x), layer.scale, layer.zero_point) as u8;
    }
    Some(extents.output)
}

fn run_dequantize(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Dequantize::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    for (slot, &code) in words_mut(ofm).iter_mut().zip(ifm) {
        *slot = arith::dequantize(code as i8, layer.scale, layer.zero_point).to_le_bytes();
    }
    Some(extents.output)
}

/// Whether a scale is positive and finite, told from its bits: the check of an int8 firmware takes no float code.
fn is_scale(scale: f32) -> bool {
    (1..f32::INFINITY.to_bits()).contains(&scale.to_bits())
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
                is_scale(self.scale) && self.count < u32::MAX / WIDTH
            }

            pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
                self.ifm = source(sources, 0);
                self.ofm = ofm;
            }
        }
    };
}

/// A region of int8 codes.
fn codes(offset: u32, bytes: u32) -> Option<Extent> {
    Some(Extent { offset, bytes })
}

cast! { Quantize, region, codes }
cast! { Dequantize, codes, region }
