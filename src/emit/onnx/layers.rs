//! Products with weights: convolutions, dense layers, matrices.

use super::message::{count, counts, int, ints};
use super::no_form;
use super::order::{Order, reversed, transposed};
use super::writer::Writer;
use crate::ir::Node;
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::tensor::{DType, Values};
use crate::op::{Conv2d, ConvNd, Dense, OpError};

pub(super) fn conv2d(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Conv2d) -> Result<(), OpError> {
    let mut inputs = vec![
        w.read(node.inputs[0], Order::ChannelsFirst),
        w.read(node.inputs[1], Order::ChannelsFirst),
    ];
    inputs.extend(bias(w, node)?);
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let attributes = vec![
        counts("kernel_shape", &op.window.kernel),
        counts("strides", &op.window.strides),
        counts("dilations", &op.window.dilations),
        counts("pads", &op.window.pads),
        count("group", op.groups),
    ];
    let dtype = w.dtype(node.outputs[0]);
    let y = w.layer("Conv", &inputs, attributes, op.clamp, dtype);
    w.write(node.outputs[0], Order::ChannelsFirst, y);
    Ok(())
}

/// The bias of a layer. Quantized, it counts in steps of the input's scale times the weights'.
fn bias(w: &mut Writer<'_>, node: &Node<QuantTensor>) -> Result<Option<String>, OpError> {
    let Some(&bias) = node.inputs.get(2) else {
        return Ok(None);
    };
    let (tensor, weights) = (w.tensor(bias), w.tensor(node.inputs[1]));
    if tensor.ty.dtype == DType::I64 {
        return Err(no_form("a bias of more than 32 bits"));
    }
    let name = match (
        &tensor.data,
        weights.quantization.channel_scales(),
        w.tensor(node.inputs[0]).params(),
    ) {
        (Some(values), Some(scales), Some(params)) => {
            let steps = scales.iter().map(|scale| scale * params.scale);
            let steps: Vec<f32> = steps.collect();
            let codes = w.constant("bias", values);
            w.per_channel(&codes, &steps, 0)
        }
        _ => w.read(bias, Order::Own),
    };
    Ok(Some(name))
}

/// A convolution, or with spread a transposed one.
pub(super) fn conv_nd(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &ConvNd) -> Result<(), OpError> {
    let window = &op.window;
    let is_transposed = window.spread.iter().any(|&spread| spread > 1);
    let extents = &w.shape(node.inputs[0])[1..][..window.axes()];
    // What each axis has behind its input: padding, or for a negative number what is cut off.
    let span = |axis: usize| ((window.kernel[axis] - 1) * window.dilations[axis] + 1) as i64;
    let (mut before, mut behind, mut more) = (Vec::new(), Vec::new(), Vec::new());
    for (axis, &extent) in extents.iter().enumerate() {
        let (outputs, pad) = (window.output[axis] as i64, window.pads[axis]);
        if is_transposed {
            // Outputs of the turned kernel count from where its last tap meets the first element.
            let full = (extent as i64 - 1) * window.spread[axis] as i64 + span(axis);
            let cut = span(axis) - 1 - pad;
            let rest = full - cut - outputs;
            before.push(cut);
            behind.push(rest.max(0));
            more.push((-rest).max(0));
        } else {
            let reach = (outputs - 1) * window.strides[axis] as i64 + span(axis);
            before.push(pad);
            // Elements that no window reaches may stay.
            behind.push((reach - pad - extent as i64).max(0));
        }
    }
    let strides_too = is_transposed && window.strides.iter().any(|&stride| stride > 1);
    let pads: Vec<i64> = before.iter().chain(&behind).copied().collect();
    if strides_too || pads.iter().any(|&pad| pad < 0) {
        return Err(no_form(
            "a convolution that spreads and strides, or begins inside its input,",
        ));
    }
    let x = w.read(node.inputs[0], Order::ChannelsFirst);
    let mut attributes = vec![
        counts("kernel_shape", &window.kernel),
        counts("dilations", &window.dilations),
        ints("pads", pads),
        count("group", op.groups),
    ];
    let weights = if is_transposed {
        attributes.push(counts("strides", &window.spread));
        attributes.push(ints("output_padding", more));
        turned_weights(w, node, op.groups)
    } else {
        attributes.push(counts("strides", &window.strides));
        w.read(node.inputs[1], Order::ChannelsFirst)
    };
    let bias = bias(w, node)?;
    let inputs = [Some(&x), Some(&weights), bias.as_ref()];
    let inputs: Vec<&str> = inputs.into_iter().flatten().map(String::as_str).collect();
    let op_type = if is_transposed { "ConvTranspose" } else { "Conv" };
    let dtype = w.dtype(node.outputs[0]);
    let y = w.layer(op_type, &inputs, attributes, op.clamp, dtype);
    w.write(node.outputs[0], Order::ChannelsFirst, y);
    Ok(())
}

/// Weights `[out, k…, in / groups]` as a transposed convolution has them: `[in, out / groups, k…]`, the kernel turned
/// around.
fn turned_weights(w: &mut Writer<'_>, node: &Node<QuantTensor>, groups: usize) -> String {
    let tensor = w.tensor(node.inputs[1]);
    let Some(values) = &tensor.data else {
        return turned_in_the_graph(w, node, groups);
    };
    let rank = values.shape.len();
    let turned = reversed(values, 1..rank - 1);
    let (out, kernel, of_group) = (
        values.shape[0],
        &values.shape[1..rank - 1],
        values.shape[rank - 1],
    );
    // [groups, out / groups, k…, in / groups] to [groups, in / groups, out / groups, k…].
    let apart = [&[groups, out / groups], kernel, &[of_group]].concat();
    let perm: Vec<usize> = [0, rank].into_iter().chain(1..rank).collect();
    let joined = [&[groups * of_group, out / groups], kernel].concat();
    let in_groups: Values = transposed(&turned.reshaped(apart), &perm).reshaped(joined.clone());
    let Quantization::PerChannel { scales, .. } = &tensor.quantization else {
        return w.constant("weights", &in_groups);
    };
    let per_group = &scales[..out / groups];
    if scales
        .chunks(per_group.len().max(1))
        .all(|scales| scales == per_group)
    {
        let codes = w.constant("weights", &in_groups);
        return w.per_channel(&codes, per_group, 1);
    }
    // Scales that differ from group to group lie along no axis of the joined weights.
    let codes = w.constant("weights", &turned);
    let reals = w.per_channel(&codes, scales, 0);
    let apart = [&[groups, out / groups], kernel, &[of_group]].concat();
    let reals = w.reshaped(&reals, &apart);
    let reals = w.permuted(&reals, &perm);
    w.reshaped(&reals, &joined)
}

/// The same of weights that are computed.
fn turned_in_the_graph(w: &mut Writer<'_>, node: &Node<QuantTensor>, groups: usize) -> String {
    let shape = w.shape(node.inputs[1]);
    let rank = shape.len();
    let (out, kernel, of_group) = (shape[0], &shape[1..rank - 1], shape[rank - 1]);
    let weights = w.read(node.inputs[1], Order::Own);
    let axes: Vec<usize> = (1..rank - 1).collect();
    let starts = w.counts(
        "starts",
        &kernel.iter().map(|extent| extent - 1).collect::<Vec<_>>(),
    );
    let ends = w.ints("ends", axes.iter().map(|_| i64::MIN));
    let steps = w.ints("steps", axes.iter().map(|_| -1));
    let axes = w.counts("axes", &axes);
    let turned = w.add("Slice", &[&weights, &starts, &ends, &axes, &steps], Vec::new());
    let apart = [&[groups, out / groups], kernel, &[of_group]].concat();
    let perm: Vec<usize> = [0, rank].into_iter().chain(1..rank).collect();
    let turned = w.reshaped(&turned, &apart);
    let turned = w.permuted(&turned, &perm);
    w.reshaped(&turned, &[&[groups * of_group, out / groups], kernel].concat())
}

/// A matrix product with the rows of all axes but the last.
pub(super) fn dense(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Dense) -> Result<(), OpError> {
    let (shape, output) = (w.shape(node.inputs[0]), node.outputs[0]);
    let mut x = w.read(node.inputs[0], Order::Own);
    let (features, is_matrix) = (shape.last().copied().unwrap_or(1), shape.len() == 2);
    if !is_matrix {
        let rows = shape[..shape.len().saturating_sub(1)].iter().product();
        x = w.reshaped(&x, &[rows, features]);
    }
    let mut inputs = vec![x, w.read(node.inputs[1], Order::Own)];
    inputs.extend(bias(w, node)?);
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let dtype = w.dtype(output);
    let mut y = w.layer("Gemm", &inputs, vec![int("transB", 1)], op.clamp, dtype);
    if !is_matrix {
        y = w.reshaped(&y, w.shape(output));
    }
    w.write(output, Order::Own, y);
    Ok(())
}

pub(super) fn matmul(w: &mut Writer<'_>, node: &Node<QuantTensor>) {
    let (a, b) = (
        w.read(node.inputs[0], Order::Own),
        w.read(node.inputs[1], Order::Own),
    );
    let y = w.own("MatMul", &[&a, &b], Vec::new());
    w.write(node.outputs[0], Order::Own, y);
}
