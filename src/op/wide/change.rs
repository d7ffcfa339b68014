//! Copies that change parameters or width on the way, clamps and slopes.

use tinsmith_runtime::format::{Ratio, Rescale16};
use tinsmith_runtime::kernels::Layer;

use super::{WideCodes, exact, farthest, params};
use crate::op::lower::{KernelCall, LowerError, Lowered, Operand};
use crate::op::movement::fitting;
use crate::op::quant::QuantTensor;
use crate::op::rescale;
use crate::op::{Clamp, OpError};

/// What int8 or int16 codes become on their way to others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::op) struct Rescale(Rescale16);

impl Rescale {
    /// From one tensor's parameters to another's.
    ///
    /// # Errors
    /// Where one is not an activation.
    pub(in crate::op) fn between(x: &QuantTensor, y: &QuantTensor, clamp: Clamp) -> Result<Self, OpError> {
        Self::with_slopes(x, y, [(1.0, false); 2], clamp)
    }

    /// The same, times a magnitude with a sign for each of the differences above and below zero.
    fn with_slopes(
        x: &QuantTensor,
        y: &QuantTensor,
        slopes: [(f32, bool); 2],
        clamp: Clamp,
    ) -> Result<Self, OpError> {
        let (from, to) = (params(x)?, params(y)?);
        let codes = WideCodes::new(y, clamp)?;
        let widest = farthest(from.zero_point, x.ty.dtype);
        let ratio = |(slope, is_negative): (f32, bool)| {
            if slope == 0.0 {
                return Ok(Ratio {
                    multiplier: 0,
                    divisor: 0,
                    right_shift: 1,
                });
            }
            let ratio = rescale::ratio(&[from.scale, slope], &[to.scale], widest)?;
            Ok::<_, OpError>(Ratio {
                multiplier: if is_negative {
                    -ratio.multiplier
                } else {
                    ratio.multiplier
                },
                ..ratio
            })
        };
        Ok(Self(Rescale16 {
            ratio: ratio(slopes[0])?,
            negative: ratio(slopes[1])?,
            ifm_zero_point: fitting(from.zero_point)?,
            ofm_zero_point: codes.zero_point,
            min: codes.min,
            max: codes.max,
            ifm_bytes: fitting(x.ty.dtype.bytes())?,
            ofm_bytes: fitting(y.ty.dtype.bytes())?,
            ..Rescale16::default()
        }))
    }

    /// Bytes of an element of the source.
    pub(in crate::op) fn source_bytes(self) -> usize {
        self.0.ifm_bytes.into()
    }

    /// The record over these dimensions.
    pub(in crate::op) fn record(self, dims: [u32; 5], ifm_strides: [i32; 5], ofm_strides: [i32; 5]) -> Layer {
        Layer::Rescale16(Rescale16 {
            dims,
            ifm_strides,
            ofm_strides,
            ..self.0
        })
    }

    /// The call over `count` elements that lie side by side; in place where the widths are the same.
    ///
    /// # Errors
    /// Where there are too many.
    pub(in crate::op) fn call(self, source: Operand, count: usize) -> Result<KernelCall, OpError> {
        let dims = [1, 1, 1, 1, fitting(count)?];
        let in_place = self.0.ifm_bytes == self.0.ofm_bytes;
        Ok(KernelCall {
            in_place: if in_place { vec![0] } else { Vec::new() },
            ..KernelCall::new(self.record(dims, [1; 5], [1; 5]), vec![source], Vec::new())
        })
    }
}

/// `y = slope·x`, with a slope of its own below zero, each a magnitude and whether it is negative.
pub(in crate::op) fn slopes(
    x: &QuantTensor,
    y: &QuantTensor,
    slopes: [(f32, bool); 2],
    clamp: Clamp,
) -> Result<Lowered, LowerError> {
    let rescale = Rescale::with_slopes(x, y, slopes, clamp)?;
    let call = rescale.call(Operand::of_input(0, x), x.ty.len())?;
    Ok(Lowered::one(call, exact(1)))
}
