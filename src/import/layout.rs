//! Between ONNX's channels-first layout and the channels-last one inside.
//!
//! Values of rank 3 and above, `[n, c, …]`, become `[n, …, c]` by a transpose; those with one spatial axis then become
//! images of height 1, `[n, 1, w, c]`, by a reshape. Both are done once per value, and a value that came out of such an
//! image is not turned back again.

use super::builder::{Builder, Tensor};
use crate::op::{DequantizeLinear, Op, OpError, Reshape, Transpose};

/// `[n, …, c]` from `[n, c, …]`.
fn to_last(rank: usize) -> Op {
    let mut perm: Vec<usize> = (0..rank).collect();
    perm[1..].rotate_left(1);
    Op::Transpose(Transpose { perm })
}

/// `[n, c, …]` from `[n, …, c]`.
fn to_first(rank: usize) -> Op {
    let mut perm: Vec<usize> = (0..rank).collect();
    perm[1..].rotate_right(1);
    Op::Transpose(Transpose { perm })
}

/// A value of rank 3 or above with its channels last.
pub(super) fn channels_last(graph: &mut Builder, x: Tensor) -> Result<Tensor, OpError> {
    let rank = graph.shape(x).len();
    graph.derive(x, to_last(rank), "channels_last", "channels_last")
}

/// The ONNX layout of the current node's output, from its channels-last form.
pub(super) fn channels_first(graph: &mut Builder, y: Tensor) -> Result<Tensor, OpError> {
    let rank = graph.shape(y).len();
    let first = graph.emit_as(to_first(rank), &[y], "channels_first", "")?;
    graph.note_derived(first, to_last(rank), y);
    Ok(first)
}

/// A value with one or two spatial axes as an image, `[n, h, w, c]`.
pub(super) fn to_image(graph: &mut Builder, x: Tensor) -> Result<Tensor, OpError> {
    let x = channels_last(graph, x)?;
    let &[n, w, c] = graph.shape(x) else {
        return Ok(x);
    };
    let lift = Op::Reshape(Reshape {
        shape: vec![n, 1, w, c],
    });
    graph.derive(x, lift, "image", "image")
}

/// The ONNX layout of the current node's output of this rank, from an image.
pub(super) fn from_image(graph: &mut Builder, y: Tensor, rank: usize) -> Result<Tensor, OpError> {
    let (3, &[n, 1, w, c]) = (rank, graph.shape(y)) else {
        return channels_first(graph, y);
    };
    let flat = Op::Reshape(Reshape { shape: vec![n, w, c] });
    let lift = Op::Reshape(Reshape {
        shape: vec![n, 1, w, c],
    });
    let row = graph.emit_as(flat, &[y], "row", "channels_last")?;
    graph.note_derived(row, lift, y);
    channels_first(graph, row)
}

/// Convolution weights `[o, kh, kw, i]` from ONNX's `[o, i, kh, kw]` or `[o, i, kw]`.
pub(super) fn conv_weights(graph: &mut Builder, weights: Tensor) -> Result<Tensor, OpError> {
    let mut weights = weights;
    if let &[o, i, kw] = graph.shape(weights) {
        let lift = Op::Reshape(Reshape {
            shape: vec![o, i, 1, kw],
        });
        weights = move_constant(graph, weights, lift, &[0, 1, 3], "image")?;
    }
    transpose_constant(graph, weights, &[0, 2, 3, 1])
}

/// A transpose that, for dequantized constants, acts on the stored integers.
pub(super) fn transpose_constant(graph: &mut Builder, x: Tensor, perm: &[usize]) -> Result<Tensor, OpError> {
    let mut moved = vec![0; perm.len()];
    for (to, &from) in perm.iter().enumerate() {
        moved[from] = to;
    }
    let op = Op::Transpose(Transpose { perm: perm.to_vec() });
    move_constant(graph, x, op, &moved, "transposed")
}

/// Applies an operator that moves data: to the integers below, where `x` is a dequantized constant. `moved` says where
/// each axis goes.
fn move_constant(
    graph: &mut Builder,
    x: Tensor,
    op: Op,
    moved: &[usize],
    role: &str,
) -> Result<Tensor, OpError> {
    if let Some(known) = graph.find_derived(x, &op) {
        return Ok(known);
    }
    let dequantized = graph.producer(x).and_then(|node| {
        let Op::DequantizeLinear(dequantize) = &node.op else {
            return None;
        };
        let constant = node
            .inputs
            .iter()
            .all(|&input| graph.constant_of(input).is_some());
        constant.then(|| (dequantize.axis, node.inputs.clone()))
    });
    let Some((axis, mut inputs)) = dequantized else {
        return graph.derive(x, op, role, role);
    };
    inputs[0] = graph.derive(inputs[0], op.clone(), role, role)?;
    let dequantize = Op::DequantizeLinear(DequantizeLinear { axis: moved[axis] });
    let output = graph.emit(dequantize, &inputs, &format!("dequantized_{role}"))?;
    graph.note_derived(x, op, output);
    Ok(output)
}
