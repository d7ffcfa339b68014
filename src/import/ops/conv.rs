//! Conv.

use super::super::layout::{conv_weights, from_image, to_image};
use super::{Call, Importer, Made, onnx, window};
use crate::op::{Clamp, Conv2d, Op, OpError};

pub(super) const IMPORTERS: &[Importer] = &[onnx("Conv", conv)];

/// One or two spatial axes; one becomes an image of height 1.
fn conv(call: &mut Call<'_>) -> Made {
    let (x, weights) = (call.input(0)?, call.input(1)?);
    let (x_ty, weights_ty) = (call.graph.ty(x), call.graph.ty(weights));
    let rank = x_ty.shape.len();
    if !(3..=4).contains(&rank) || weights_ty.shape.len() != rank {
        return Err(OpError::new(format!(
            "an input of rank 3 or 4 and weights of the same wanted, {x_ty} and {weights_ty} found"
        )));
    }
    let extents = x_ty.shape[2..].to_vec();
    let kernel: Vec<i64> = weights_ty.shape[2..].iter().map(|&n| n as i64).collect();
    if let Some(given) = call.attrs.maybe_ints("kernel_shape")?
        && given != kernel
    {
        return Err(OpError::new(format!(
            "`kernel_shape` of the weights' {kernel:?} wanted, {given:?} found"
        )));
    }
    let groups = call.attrs.int("group", 1)?;
    let groups = usize::try_from(groups)
        .map_err(|_| OpError::new(format!("`group` of at least 1 wanted, {groups} found")))?;
    let window = window::resolve(call, &extents, &kernel, false)?.window;
    let mut inputs = vec![to_image(call.graph, x)?, conv_weights(call.graph, weights)?];
    inputs.extend(call.optional(2));
    let op = Op::Conv2d(Conv2d {
        window,
        groups,
        clamp: Clamp::NONE,
    });
    let y = call.graph.emit_as(op, &inputs, "", "image")?;
    Ok(vec![from_image(call.graph, y, rank)?])
}
