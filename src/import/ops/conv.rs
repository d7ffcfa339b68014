//! Conv, ConvTranspose.

use super::super::builder::Tensor;
use super::super::layout::{
    channels_first, channels_last, conv_weights, from_image, to_image, transpose_constant,
};
use super::window::{self, AutoPad};
use super::{Call, Importer, Made, onnx};
use crate::op::{Clamp, Conv2d, ConvNd, Op, OpError, Reshape, Slice, WindowNd};

pub(super) const IMPORTERS: &[Importer] = &[onnx("Conv", conv), onnx("ConvTranspose", transposed)];

/// Input and weights of one rank, with one spatial axis or more.
fn operands(call: &Call<'_>) -> Result<(Tensor, Tensor), OpError> {
    let (x, weights) = (call.input(0)?, call.input(1)?);
    let (x_ty, weights_ty) = (call.graph.ty(x), call.graph.ty(weights));
    if x_ty.shape.len() < 3 || weights_ty.shape.len() != x_ty.shape.len() {
        return Err(OpError::new(format!(
            "an input of rank 3 or more and weights of the same wanted, {x_ty} and {weights_ty} found"
        )));
    }
    Ok((x, weights))
}

/// The extents of the weights' kernel, which `kernel_shape` may repeat.
pub(super) fn kernel(call: &Call<'_>, weights: Tensor) -> Result<Vec<i64>, OpError> {
    let kernel: Vec<i64> = call.graph.shape(weights)[2..].iter().map(|&n| n as i64).collect();
    match call.attrs.maybe_ints("kernel_shape")? {
        Some(given) if given != kernel => Err(OpError::new(format!(
            "`kernel_shape` of the weights' {kernel:?} wanted, {given:?} found"
        ))),
        Some(_) | None => Ok(kernel),
    }
}

pub(super) fn groups(call: &Call<'_>) -> Result<usize, OpError> {
    let groups = call.attrs.int("group", 1)?;
    usize::try_from(groups)
        .ok()
        .filter(|&groups| groups > 0)
        .ok_or_else(|| OpError::new(format!("`group` of at least 1 wanted, {groups} found")))
}

/// Any number of spatial axes; one becomes an image of height 1.
fn conv(call: &mut Call<'_>) -> Made {
    let (x, weights) = operands(call)?;
    let shape = call.graph.shape(x).to_vec();
    let (rank, extents) = (shape.len(), &shape[2..]);
    let kernel = kernel(call, weights)?;
    let groups = groups(call)?;
    let resolved = window::resolve(call, extents, &kernel, false)?;
    let clamp = Clamp::NONE;
    if rank > 4 {
        let window = WindowNd {
            output: resolved.outputs(extents)?,
            spread: vec![1; extents.len()],
            pads: resolved.before.iter().map(|&pad| pad as i64).collect(),
            kernel: resolved.kernel,
            strides: resolved.strides,
            dilations: resolved.dilations,
        };
        let mut perm: Vec<usize> = (0..rank).collect();
        perm[1..].rotate_left(1);
        let mut inputs = vec![
            channels_last(call.graph, x)?,
            transpose_constant(call.graph, weights, &perm)?,
        ];
        inputs.extend(call.optional(2));
        let op = Op::ConvNd(ConvNd {
            window,
            groups,
            clamp,
        });
        let y = call.graph.emit_as(op, &inputs, "", "channels_last")?;
        return Ok(vec![channels_first(call.graph, y)?]);
    }
    let axes: Vec<usize> = (0..extents.len()).collect();
    let window = resolved.image(&axes);
    let mut inputs = vec![to_image(call.graph, x)?, conv_weights(call.graph, weights)?];
    inputs.extend(call.optional(2));
    let op = Op::Conv2d(Conv2d {
        window,
        groups,
        clamp,
    });
    let y = call.graph.emit_as(op, &inputs, "", "image")?;
    Ok(vec![from_image(call.graph, y, rank)?])
}

/// The transpose of a convolution gathers through the turned kernel, over the input spread by the stride.
fn transposed(call: &mut Call<'_>) -> Made {
    let (x, weights) = operands(call)?;
    let shape = call.graph.shape(x).to_vec();
    let extents = &shape[2..];
    let kernel = kernel(call, weights)?;
    let groups = groups(call)?;
    let window = transposed_window(call, extents, &kernel)?;
    let mut inputs = vec![
        channels_last(call.graph, x)?,
        turned_weights(call, weights, groups)?,
    ];
    inputs.extend(call.optional(2));
    let op = Op::ConvNd(ConvNd {
        window,
        groups,
        clamp: Clamp::NONE,
    });
    let y = call.graph.emit_as(op, &inputs, "", "channels_last")?;
    Ok(vec![channels_first(call.graph, y)?])
}

/// `output_shape` and `auto_pad` decide the padding, which may not be negative; else the padding decides the output.
fn transposed_window(call: &Call<'_>, extents: &[usize], kernel: &[i64]) -> Result<WindowNd, OpError> {
    let axes = extents.len();
    let auto = window::auto_pad(call)?;
    let given = window::plain(call, kernel, axes)?;
    let added = window::list(call, "output_padding", axes, 0)?;
    let shape = call.attrs.maybe_ints("output_shape")?;
    let (mut pads, mut output) = (Vec::with_capacity(axes), Vec::with_capacity(axes));
    for axis in 0..axes {
        let (stride, span) = (given.strides[axis], given.span(axis));
        if added[axis] >= stride.max(given.dilations[axis]) && added[axis] > 0 {
            return Err(OpError::new(format!(
                "`output_padding` below stride or dilation wanted, {added:?} found"
            )));
        }
        let last = extents[axis].checked_sub(1).ok_or_else(|| {
            OpError::new(format!(
                "an input with elements along axis {axis} wanted, none found"
            ))
        })?;
        let full = last
            .checked_mul(stride)
            .and_then(|start| start.checked_add(span + added[axis]))
            .filter(|&full| full <= u32::MAX as usize)
            .ok_or_else(|| OpError::new(format!("an output within 2^32 along axis {axis} wanted")))?;
        let wanted = match (shape, auto) {
            (Some(shape), _) => {
                let own = shape.get(shape.len().wrapping_sub(axes)..);
                let fits =
                    |own: &[i64]| own.len() == axes && (shape.len() == axes || shape.len() == axes + 2);
                let extent = own
                    .filter(|own| fits(own))
                    .and_then(|own| usize::try_from(own[axis]).ok())
                    .filter(|extent| (1..=u32::MAX as usize).contains(extent));
                Some(extent.ok_or_else(|| {
                    OpError::new(format!(
                        "`output_shape` of {axes} positive extents wanted, {shape:?} found"
                    ))
                })?)
            }
            (None, AutoPad::SameUpper | AutoPad::SameLower) => Some(extents[axis] * stride),
            (None, AutoPad::Valid | AutoPad::NotSet) => None,
        };
        let before = match wanted {
            Some(extent) => {
                let total = full.saturating_sub(extent);
                output.push(extent);
                if auto == AutoPad::SameUpper {
                    total / 2
                } else {
                    total - total / 2
                }
            }
            None => {
                let (before, after) = (given.before[axis], given.after[axis]);
                let extent = full.checked_sub(before + after).filter(|&extent| extent > 0);
                output.push(extent.ok_or_else(|| {
                    OpError::new(format!(
                        "pads that leave something of {full} elements wanted, {before} and {after} found"
                    ))
                })?);
                before
            }
        };
        // Tap k of the turned kernel is tap K − 1 − k of the given one.
        pads.push(span as i64 - 1 - before as i64);
    }
    Ok(WindowNd {
        kernel: given.kernel,
        strides: vec![1; axes],
        dilations: given.dilations,
        spread: given.strides,
        pads,
        output,
    })
}

/// Weights `[o, k…, c / groups]` with the kernel turned around, from ONNX's `[c, o / groups, k…]`.
fn turned_weights(call: &mut Call<'_>, weights: Tensor, groups: usize) -> Result<Tensor, OpError> {
    let shape = call.graph.shape(weights).to_vec();
    let (channels, each, kernel) = (shape[0], shape[1], &shape[2..]);
    if !channels.is_multiple_of(groups) {
        return Err(OpError::new(format!(
            "groups that divide {channels} channels wanted, {groups} found"
        )));
    }
    let rank = shape.len();
    let turned = if groups == 1 {
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.rotate_left(1);
        transpose_constant(call.graph, weights, &perm)?
    } else {
        let mut split = vec![groups, channels / groups];
        split.extend(&shape[1..]);
        let split = Op::Reshape(Reshape { shape: split });
        let split = call.graph.derive(weights, split, "groups", "groups")?;
        let mut perm: Vec<usize> = (0..=rank).collect();
        perm[1..].rotate_left(1);
        let moved = transpose_constant(call.graph, split, &perm)?;
        let mut joined = vec![groups * each];
        joined.extend(kernel);
        joined.push(channels / groups);
        let join = Op::Reshape(Reshape { shape: joined });
        call.graph.derive(moved, join, "joined", "joined")?
    };
    if kernel.iter().all(|&taps| taps == 1) {
        return Ok(turned);
    }
    let mut turn = Slice {
        starts: vec![0; rank],
        steps: vec![1; rank],
        shape: call.graph.shape(turned).to_vec(),
    };
    for (axis, &taps) in kernel.iter().enumerate() {
        turn.starts[axis + 1] = taps.saturating_sub(1);
        turn.steps[axis + 1] = -1;
    }
    call.graph.derive(turned, Op::Slice(turn), "turned", "turned")
}
