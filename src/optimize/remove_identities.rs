//! The pass `remove-identities`.

use super::draft::{Draft, Place};
use super::edit::{bypass, reals, shape};
use crate::ir::{FloatGraph, FloatTensor, Node};
use crate::op::{BinaryKind, Clamp, Op, Unary, UnaryKind, Window};

/// Removes nodes whose output equals their input: transposes in order, reshapes to the same shape, pads by nothing,
/// slices of everything, casts to the same type, concatenations of one tensor, clamps without ends, windows of one
/// element, means over extents of 1, adding 0, multiplying by 1, and `QuantizeLinear` behind the `DequantizeLinear`
/// with the same 8- or 16-bit parameters. Where a clamp was fused into such a node, the clamp stays.
///
/// Refuses where the input and the output of the graph would become one tensor. Exact, but that a negative zero may
/// become a positive one or the other way round.
pub(super) fn remove_identities(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, |graph, position| {
        let (input, clamp) = identity(graph, &graph.nodes[position])?;
        if clamp.is_none() {
            return skip(graph, position, input);
        }
        graph.change(position, |node| {
            node.inputs = vec![node.inputs[input]];
            node.op = Op::Unary(Unary {
                kind: UnaryKind::Clamp(clamp),
            });
        });
        Some(())
    }) + Draft::sweep(graph, cancel_quantization)
}

/// Removes the node whose output equals one of its inputs, if it can go.
fn skip(graph: &mut Draft, position: Place, input: usize) -> Option<()> {
    graph.change(position, |node| node.inputs.swap(0, input));
    if bypass(graph, position) {
        return Some(());
    }
    graph.change(position, |node| node.inputs.swap(0, input));
    None
}

/// Which input passes through, and how it is limited; `None` of a node that does something.
fn identity(graph: &Draft, node: &Node<FloatTensor>) -> Option<(usize, Clamp)> {
    let x = &graph.tensors[*node.inputs.first()?].ty;
    let y = &graph.tensors[*node.outputs.first()?].ty;
    let passes = |condition: bool| condition.then_some((0, Clamp::NONE));
    match &node.op {
        Op::Transpose(op) => passes(op.perm.is_sorted()),
        Op::Reshape(_) | Op::BitCast(_) | Op::Cast(_) | Op::Expand(_) => passes(x == y),
        Op::Pad(op) => passes(op.before.iter().chain(&op.after).all(|&pad| pad == 0)),
        // A slice with steps of −1 has the same shape too.
        Op::Slice(op) => passes(x == y && op.steps.iter().zip(&op.shape).all(|(&s, &e)| s == 1 || e == 1)),
        Op::Concat(_) => passes(node.inputs.len() == 1),
        Op::Reduce(op) => passes(op.axes.iter().all(|&axis| x.shape[axis] == 1)),
        Op::Unary(op) => passes(op.kind.clamp().is_some_and(|clamp| clamp.is_none())),
        Op::AveragePool(op) => is_point(&op.window).then_some((0, op.clamp)),
        Op::MaxPool(op) => is_point(&op.window).then_some((0, op.clamp)),
        Op::Binary(op) => {
            let neutral = |input: usize, value: f32| {
                let other = 1 - input;
                let all = |values: &[f32]| values.iter().all(|&v| v == value);
                shape(graph, node.inputs[input]) == y.shape
                    && reals(graph, node.inputs[other]).is_some_and(all)
            };
            let input = match op.kind {
                BinaryKind::Add => (0..2).find(|&input| neutral(input, 0.0)),
                BinaryKind::Mul => (0..2).find(|&input| neutral(input, 1.0)),
                BinaryKind::Sub => neutral(0, 0.0).then_some(0),
                BinaryKind::Div | BinaryKind::Pow => neutral(0, 1.0).then_some(0),
                BinaryKind::Min
                | BinaryKind::Max
                | BinaryKind::Mod
                | BinaryKind::Fmod
                | BinaryKind::PRelu
                | BinaryKind::And
                | BinaryKind::Or
                | BinaryKind::Xor
                | BinaryKind::ShiftLeft
                | BinaryKind::ShiftRight => None,
            };
            Some((input?, op.clamp))
        }
        Op::BatchNormalization(_)
        | Op::Compare(_)
        | Op::Conv2d(_)
        | Op::Cumulate(_)
        | Op::GatherElements(_)
        | Op::GatherNd(_)
        | Op::Lookup(_)
        | Op::Lstm(_)
        | Op::NonMaxSuppression(_)
        | Op::NonZero(_)
        | Op::Scatter(_)
        | Op::TfIdf(_)
        | Op::TopK(_)
        | Op::TreeEnsemble(_)
        | Op::Trilu(_)
        | Op::Unique(_)
        | Op::ConvNd(_)
        | Op::Delay(_)
        | Op::Dense(_)
        | Op::DequantizeLinear(_)
        | Op::DequantizeTo(_)
        | Op::Gather(_)
        | Op::GridSample(_)
        | Op::Attention(_)
        | Op::LayerNorm(_)
        | Op::MatMul(_)
        | Op::NarrowCast(_)
        | Op::MaxPoolIndices(_)
        | Op::Resample(_)
        | Op::RoiAlign(_)
        | Op::QuantizeLinear(_)
        | Op::Recurrent(_)
        | Op::Repeat(_)
        | Op::Select(_)
        | Op::QuantizeTo(_)
        | Op::Softmax(_) => None,
    }
}

/// Whether a window sees one element at a time, each once.
fn is_point(window: &Window) -> bool {
    window.kernel == [1, 1] && window.strides == [1, 1] && window.pads == [0; 4]
}

/// Removes `QuantizeLinear(DequantizeLinear(x))` with the same parameters. The f32 result of the second differs from
/// an integer by less than 2^16 · 2^-23, so it rounds back to `x`.
fn cancel_quantization(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let Op::QuantizeLinear(quantize) = &node.op else {
        return None;
    };
    let before = &graph.nodes[graph.producer(node.inputs[0])?];
    let Op::DequantizeLinear(dequantize) = &before.op else {
        return None;
    };
    let (real, stored) = (node.inputs[0], before.inputs[0]);
    let ty = &graph.tensors[node.outputs[0]].ty;
    if quantize.axis != dequantize.axis
        || node.inputs[1..] != before.inputs[1..]
        || ty.dtype.bytes() > 2
        || *ty != graph.tensors[stored].ty
    {
        return None;
    }
    // The node would be no `QuantizeLinear` of integers for long: it goes, or gets its input back.
    graph.change(position, |node| node.inputs[0] = stored);
    if bypass(graph, position) {
        return Some(());
    }
    graph.change(position, |node| node.inputs[0] = real);
    None
}
