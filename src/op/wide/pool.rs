//! The largest and the mean of windows of int16.

use tinsmith_runtime::format::{Pool16, Ratio, Window, Window3};
use tinsmith_runtime::kernels::Layer;

use super::{WideCodes, exact, farthest, params};
use crate::op::lower::{KernelCall, LowerError, Lowered, Operand};
use crate::op::movement::fitting;
use crate::op::quant::QuantTensor;
use crate::op::rescale::Factor;
use crate::op::{Clamp, OpError};

/// The largest of each window of every image.
pub(in crate::op) fn greatest(
    window: &Window,
    channels: u32,
    clamp: Clamp,
    x: &QuantTensor,
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let widest = farthest(params(x)?.zero_point, x.ty.dtype);
    let ratio = factor(x, y)?.ratio(widest, false)?;
    pool(window, channels, 0, ratio, clamp, x, y)
}

/// The mean of each window of every image; padding counts as zeros where `count_include_pad` says so.
pub(in crate::op) fn mean(
    window: &Window,
    channels: u32,
    count_include_pad: bool,
    clamp: Clamp,
    x: &QuantTensor,
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let taps = u64::from(window.kernel_h) * u64::from(window.kernel_w);
    let widest = taps * farthest(params(x)?.zero_point, x.ty.dtype); // 32 bits times 17
    let ratio = factor(x, y)?.ratio(widest, true)?;
    if u64::from(ratio.divisor) * taps > u32::MAX.into() {
        return Err(OpError::new(format!(
            "windows of {taps} taps whose output scale has a mantissa of {} are beyond an exact mean",
            ratio.divisor
        ))
        .with_help("give the output the input's scale, or one that is a power of two")
        .into());
    }
    let kind = if count_include_pad { 2 } else { 1 };
    pool(window, channels, kind, ratio, clamp, x, y)
}

fn factor(x: &QuantTensor, y: &QuantTensor) -> Result<Factor, OpError> {
    let (from, to) = (params(x)?, params(y)?);
    // Equal scales are one, whatever their mantissas.
    let factor = if from.scale == to.scale {
        Factor::new(&[], &[], 1)
    } else {
        Factor::new(&[from.scale], &[to.scale], 1)
    };
    factor.ok_or_else(|| OpError::new("a scale is not positive and finite"))
}

fn pool(
    window: &Window,
    channels: u32,
    kind: u8,
    ratio: Ratio,
    clamp: Clamp,
    x: &QuantTensor,
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let codes = WideCodes::new(y, clamp)?;
    let image = usize::from(window.in_h) * usize::from(window.in_w) * channels as usize;
    let record = Pool16 {
        images: fitting(x.ty.len() / image.max(1))?,
        window: three(window),
        channels,
        ratio,
        ifm_zero_point: fitting(params(x)?.zero_point)?,
        ofm_zero_point: codes.zero_point,
        min: codes.min,
        max: codes.max,
        kind,
        ..Pool16::default()
    };
    let call = KernelCall::new(Layer::Pool16(record), vec![Operand::of_input(0, x)], Vec::new());
    Ok(Lowered::one(call, exact(1)))
}

/// A window of rows and columns as one of three axes.
fn three(w: &Window) -> Window3 {
    Window3 {
        ifm: [1, w.in_h, w.in_w],
        ofm: [1, w.out_h, w.out_w],
        kernel: [1, w.kernel_h, w.kernel_w],
        strides: [1, w.stride_h, w.stride_w],
        dilations: [1, w.dilation_h, w.dilation_w],
        spread: [1; 3],
        pads: [0, w.pad_top.into(), w.pad_left.into()],
    }
}
