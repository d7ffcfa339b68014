//! Convolutions and dense layers of int16 inputs and int8 weights.

use tinsmith_runtime::format::{CONSTANT_ALIGN, Conv16, Ratio, Window3};
use tinsmith_runtime::kernels::Layer;

use super::{WideCodes, exact, farthest, params};
use crate::op::lower::{KernelCall, LowerError, Lowered, Operand};
use crate::op::movement::fitting;
use crate::op::quant::QuantTensor;
use crate::op::rescale::{self, Factor};
use crate::op::tensor::Data;
use crate::op::{Clamp, Conv2d, ConvNd, OpError};

/// A window of one tap on one pixel.
const POINT: Window3 = Window3 {
    ifm: [1; 3],
    ofm: [1; 3],
    kernel: [1; 3],
    strides: [1; 3],
    dilations: [1; 3],
    spread: [1; 3],
    pads: [0; 3],
};

/// A convolution over rows and columns.
pub(in crate::op) fn convolution(
    op: &Conv2d,
    inputs: &[&QuantTensor],
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let (x, out) = (&inputs[0].ty.shape, &y.ty.shape);
    let window = op.window.general([out[1], out[2]]).record(&[x[1], x[2]])?;
    products(window, [x[0], x[3], out[3], op.groups], op.clamp, inputs, y)
}

/// A convolution over up to three axes.
pub(in crate::op) fn convolution_nd(
    op: &ConvNd,
    inputs: &[&QuantTensor],
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let (x, axes) = (&inputs[0].ty.shape, op.window.axes());
    let window = op.window.record(&x[1..=axes])?;
    let sizes = [x[0], x[axes + 1], y.ty.shape[axes + 1], op.groups];
    products(window, sizes, op.clamp, inputs, y)
}

/// A product with constant weights.
pub(in crate::op) fn dense(
    clamp: Clamp,
    inputs: &[&QuantTensor],
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let (out_features, in_features) = (inputs[1].ty.shape[0], inputs[1].ty.shape[1]);
    let rows = y.ty.len() / out_features.max(1);
    products(POINT, [rows, in_features, out_features, 1], clamp, inputs, y)
}

/// A channel: its folded bias and its rescale.
struct Channel {
    bias: i64,
    ratio: Ratio,
}

/// Weighted sums of `images`, `in_c`, `out_c` and `groups`.
fn products(
    window: Window3,
    [images, in_c, out_c, groups]: [usize; 4],
    clamp: Clamp,
    inputs: &[&QuantTensor],
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let x = params(inputs[0])?;
    let (weights, scales) = rescale::weights(inputs.get(1).copied())?;
    let biases = inputs.get(2).map_or(Ok(Vec::new()), |bias| biases(bias, out_c))?;
    let to = params(y)?;
    let codes = WideCodes::new(y, clamp)?;
    let farthest = farthest(x.zero_point, inputs[0].ty.dtype);
    let rows = weights.chunks((weights.len() / out_c.max(1)).max(1));
    let mut channels = Vec::with_capacity(out_c);
    let mut problems = Vec::new();
    for (o, (row, &scale)) in rows.zip(scales).enumerate() {
        let sum: i64 = row.iter().map(|&weight| i64::from(weight)).sum();
        let magnitude: u64 = row.iter().map(|&weight| u64::from(weight.unsigned_abs())).sum();
        let bias = biases.get(o).copied().unwrap_or(0);
        // Fewer than 2^32 weights of 2^7 each, 17 bits of input: all of it far inside 64 bits but for the bias.
        let widest = magnitude
            .saturating_mul(farthest)
            .saturating_add(bias.unsigned_abs());
        if widest > 1 << 60 {
            problems.push(OpError::new(format!(
                "output channel {o} has sums of up to {widest}, beyond 2^60"
            )));
            continue;
        }
        let factor = Factor::new(&[x.scale, scale], &[to.scale], 1);
        let ratio = factor
            .ok_or_else(|| {
                OpError::new(format!(
                    "output channel {o} has a scale that is not positive and finite"
                ))
            })
            .and_then(|factor| factor.ratio(widest, false));
        match ratio {
            Ok(ratio) => channels.push(Channel {
                bias: bias - i64::from(x.zero_point) * sum,
                ratio,
            }),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(LowerError(problems));
    }
    let (mut constants, wide) = head(&channels);
    let used = constants.len();
    constants.resize(used.next_multiple_of(CONSTANT_ALIGN as usize), 0);
    let padding_bytes = constants.len() - used;
    constants.extend(weights.iter().map(|&weight| weight as u8));
    let record = Conv16 {
        images: fitting(images)?,
        window,
        in_c: fitting(in_c)?,
        out_c: fitting(out_c)?,
        groups: fitting(groups)?,
        ifm_zero_point: fitting(x.zero_point)?,
        ofm_zero_point: codes.zero_point,
        min: codes.min,
        max: codes.max,
        wide: wide.into(),
        ..Conv16::default()
    };
    let call = KernelCall {
        padding_bytes,
        ..KernelCall::new(
            Layer::Conv16(record),
            vec![Operand::of_input(0, inputs[0])],
            constants,
        )
    };
    Ok(Lowered::one(call, exact(out_c)))
}

/// The lists of the constants block, and whether they are in the wide form.
fn head(channels: &[Channel]) -> (Vec<u8>, bool) {
    let fits = |channel: &Channel| {
        channel.ratio.divisor == 0
            && i32::try_from(channel.bias).is_ok()
            && i32::try_from(channel.ratio.multiplier).is_ok()
    };
    let wide = !channels.iter().all(fits);
    // The lower half of a number that fits it is the number.
    let bytes = if wide { 8 } else { 4 };
    let number = |number: i64| number.to_le_bytes().into_iter().take(bytes);
    let mut head: Vec<u8> = channels.iter().flat_map(|channel| number(channel.bias)).collect();
    head.extend(
        channels
            .iter()
            .flat_map(|channel| number(channel.ratio.multiplier)),
    );
    if wide {
        head.extend(
            channels
                .iter()
                .flat_map(|channel| channel.ratio.divisor.to_le_bytes()),
        );
    }
    head.extend(channels.iter().map(|channel| channel.ratio.right_shift as u8)); // at most 126
    (head, wide)
}

/// The elements of a constant bias.
fn biases(tensor: &QuantTensor, channels: usize) -> Result<Vec<i64>, OpError> {
    match tensor.data.as_deref().map(|values| &values.data) {
        Some(Data::I32(bias)) if bias.len() == channels => Ok(bias.iter().map(|&b| b.into()).collect()),
        Some(Data::I64(bias)) if bias.len() == channels => Ok(bias.clone()),
        Some(_) | None => Err(OpError::new(format!(
            "the bias is not an int32 or int64 constant of {channels} elements"
        ))),
    }
}
