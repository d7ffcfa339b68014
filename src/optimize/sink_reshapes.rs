//! The pass `sink-reshapes`.

use super::draft::{Draft, Place};
use super::edit::{hoist_above_dequantize, is_per_tensor, move_behind, shape, sole_producer};
use super::layer::broadcasts_along_channels;
use super::merge_reshapes::merge;
use super::stored::StoredConstant;
use crate::ir::{FloatGraph, Node};
use crate::op::tensor::TensorType;
use crate::op::{Op, Reshape};

/// Moves reshapes out from between layers and what could fuse into them: behind activations, casts, `QuantizeLinear`,
/// batch normalization and arithmetic with constants or equally reshaped tensors; and before `DequantizeLinear`. Two
/// that meet become one. One-dimensional networks, imported with a reshape at either side of every convolution, become
/// neighbours so.
///
/// Refuses where something else reads the reshaped tensor, where per-channel constants would lose their axis, and
/// per-axis quantization. Exact: a reshape moves no element.
pub(super) fn sink_reshapes(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, |graph, position| match &graph.nodes[position].op {
        // One that moved here meets the next one, and both move on as one.
        Op::Reshape(_) => merge(graph, position).or_else(|| hoist(graph, position)),
        Op::Binary(_) => sink_behind_binary(graph, position),
        _ => sink(graph, position),
    })
}

/// The reshape that alone feeds input `input` of a node, and the shape before it.
fn reshape_before(graph: &Draft, position: Place, input: usize) -> Option<(Place, Vec<usize>)> {
    let before = sole_producer(graph, graph.nodes[position].inputs[input])?;
    let Op::Reshape(_) = graph.nodes[before].op else {
        return None;
    };
    Some((before, shape(graph, graph.nodes[before].inputs[0]).to_vec()))
}

fn sink(graph: &mut Draft, position: Place) -> Option<()> {
    graph.nodes[position].inputs.first()?;
    let (before, inner) = reshape_before(graph, position, 0)?;
    let node = &graph.nodes[position];
    let moves = match &node.op {
        Op::Unary(_) | Op::BitCast(_) | Op::Cast(_) | Op::Delay(_) | Op::NarrowCast(_) => true,
        Op::QuantizeLinear(_) => is_per_tensor(graph, node),
        Op::BatchNormalization(_) => inner.last() == shape(graph, node.inputs[0]).last(),
        _ => false,
    };
    if !moves {
        return None;
    }
    let source = graph.nodes[before].inputs[0];
    graph.change(position, |node| node.inputs[0] = source);
    put_behind(graph, position, before, inner);
    graph.remove(before);
    Some(())
}

/// Gives the node's output the shape `inner`, and puts a reshape behind it that is named as the one at `before`.
fn put_behind(graph: &mut Draft, position: Place, before: Place, inner: Vec<usize>) {
    let outer = graph.tensors[graph.nodes[position].outputs[0]].ty.clone();
    let behind = Node {
        name: graph.nodes[before].name.clone(),
        op: Op::Reshape(Reshape { shape: outer.shape }),
        inputs: Vec::new(),
        outputs: Vec::new(),
    };
    move_behind(graph, position, TensorType::new(outer.dtype, inner), behind);
}

fn sink_behind_binary(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let outer = shape(graph, node.outputs[0]).to_vec();
    let (input, before, inner) = (0..2).find_map(|input| {
        let (before, inner) = reshape_before(graph, position, input)?;
        (shape(graph, node.inputs[input]) == outer).then_some((input, before, inner))
    })?;
    let other = 1 - input;
    let operand = node.inputs[other];
    if let Some((also, also_inner)) = reshape_before(graph, position, other) {
        if also_inner != inner || shape(graph, operand) != outer {
            return None;
        }
        for (input, before) in [(input, before), (other, also)] {
            let source = graph.nodes[before].inputs[0];
            graph.change(position, |node| node.inputs[input] = source);
        }
        put_behind(graph, position, before, inner);
        graph.remove(before);
        graph.remove(also);
        return Some(());
    }
    let constant = StoredConstant::find(graph, operand)?;
    let replaced = if constant.values.data.len() == 1 && constant.shape().len() <= inner.len() {
        None
    } else if constant.shape() == outer {
        Some(constant.reshaped(&inner)?)
    } else if inner.last() == outer.last() && broadcasts_along_channels(constant.shape(), &outer) {
        let channels = *constant.shape().last()?;
        Some(constant.reshaped(&[channels])?)
    } else {
        return None;
    };
    let source = graph.nodes[before].inputs[0];
    graph.change(position, |node| node.inputs[input] = source);
    if let Some(constant) = replaced {
        let operand = constant.add_to(graph, position);
        graph.change(position, |node| node.inputs[other] = operand);
    }
    put_behind(graph, position, before, inner);
    graph.remove(before);
    Some(())
}

/// Moves a reshape before the `DequantizeLinear` whose result it alone reads.
fn hoist(graph: &mut Draft, position: Place) -> Option<()> {
    let before = sole_producer(graph, graph.nodes[position].inputs[0])?;
    let Op::DequantizeLinear(op) = &graph.nodes[before].op else {
        return None;
    };
    let axis = op.axis;
    let outer = shape(graph, graph.nodes[position].outputs[0]).to_vec();
    let constant = StoredConstant::find(graph, graph.nodes[position].inputs[0]);
    let axis = match constant {
        Some(constant) => constant.reshaped(&outer)?.dequantize?.axis.unwrap_or(0),
        None if is_per_tensor(graph, &graph.nodes[before]) => axis.min(outer.len().saturating_sub(1)),
        None => return None,
    };
    hoist_above_dequantize(graph, before, position, axis);
    if let Some(moved) = graph.producer(graph.nodes[position].inputs[0]) {
        // It may have met another one.
        let _ = merge(graph, moved);
    }
    Some(())
}
