//! The edits that passes are made of. They keep the order of the nodes and the names of the graph's ends.

use std::sync::Arc;

use super::draft::{Draft, Place};
use super::limit;
use crate::ir::{FloatTensor, Handle, Node};
use crate::op::tensor::{TensorType, Values};
use crate::op::{BinaryKind, DequantizeLinear, Op};

pub(super) type Tensor = Handle<FloatTensor>;

/// Adds a tensor without data, named after `base`.
pub(super) fn add_tensor(graph: &mut Draft, base: &str, ty: TensorType) -> Tensor {
    let name = graph.fresh_name(base);
    graph.add_tensor(FloatTensor { name, ty, data: None })
}

/// Adds a constant, named after `base`.
pub(super) fn add_constant(graph: &mut Draft, base: &str, values: Values) -> Tensor {
    let name = graph.fresh_name(base);
    graph.add_tensor(FloatTensor {
        name,
        ty: values.ty(),
        data: Some(Arc::new(values)),
    })
}

/// Extents of a tensor.
pub(super) fn shape(graph: &Draft, tensor: Tensor) -> &[usize] {
    &graph.tensors[tensor].ty.shape
}

/// The f32 elements of a constant that may be worked on: not those of large ones in files.
pub(super) fn reals(graph: &Draft, tensor: Tensor) -> Option<&[f32]> {
    if !limit::allows_copy(graph, tensor) {
        return None;
    }
    graph.tensors[tensor].data.as_ref()?.as_f32()
}

/// The node that produces `tensor`, if nothing but one input of one node reads it.
pub(super) fn sole_producer(graph: &Draft, tensor: Tensor) -> Option<Place> {
    graph.producer(tensor).filter(|_| graph.has_one_reader(tensor))
}

/// The operands of a binary node of this kind, which clamps nothing.
pub(super) fn operands(graph: &Draft, position: Place, kind: BinaryKind) -> Option<[Tensor; 2]> {
    let node = &graph.nodes[position];
    let Op::Binary(binary) = &node.op else {
        return None;
    };
    let [a, b] = node.inputs[..] else {
        return None;
    };
    (binary.kind == kind && binary.clamp.is_none()).then_some([a, b])
}

/// Removes a node whose output equals its first input in type and elements. Not where that would rename an output of
/// the graph; tells whether it did.
pub(super) fn bypass(graph: &mut Draft, position: Place) -> bool {
    let (input, output) = (graph.nodes[position].inputs[0], graph.nodes[position].outputs[0]);
    if !graph.is_output(output) {
        graph.replace_reads(output, input);
    } else if let Some(producer) = graph.producer(input)
        && !graph.is_output(input)
    {
        graph.replace_reads(input, output);
        graph.change(producer, |node| {
            for tensor in &mut node.outputs {
                if *tensor == input {
                    *tensor = output;
                }
            }
        });
    } else {
        return false;
    }
    graph.remove(position);
    true
}

/// Merges the node at `first` into the one at `second`, which alone reads it: `merged` stands where `second` stood,
/// with its name and outputs, because a layer is named by the ONNX node that produces its output.
pub(super) fn absorb(graph: &mut Draft, first: Place, second: Place, merged: Node<FloatTensor>) {
    graph.change(second, |node| {
        node.op = merged.op;
        node.inputs = merged.inputs;
    });
    graph.remove(first);
}

/// Inserts a node that has one new output, named after `base`, before `position`; gives the output.
pub(super) fn insert(
    graph: &mut Draft,
    position: Place,
    mut node: Node<FloatTensor>,
    base: &str,
    ty: TensorType,
) -> Tensor {
    let output = add_tensor(graph, base, ty);
    node.outputs = vec![output];
    graph.insert_before(position, node);
    output
}

/// Moves a node that only moves elements behind the node at `position`: `behind` takes over that node's output, and
/// the node writes a new tensor of type `inner` instead, which keeps the old tensor's name unless that is an output
/// of the graph. `behind` comes with its input and outputs still empty.
pub(super) fn move_behind(
    graph: &mut Draft,
    position: Place,
    inner: TensorType,
    mut behind: Node<FloatTensor>,
) {
    let outer = graph.nodes[position].outputs[0];
    let name = graph.tensors[outer].name.clone();
    let moved = add_tensor(graph, &name, inner);
    if !graph.is_output(outer) {
        let fresh = std::mem::replace(&mut graph.tensors[moved].name, name);
        graph.tensors[outer].name = fresh;
    }
    graph.change(position, |node| node.outputs = vec![moved]);
    behind.inputs = vec![moved];
    behind.outputs = vec![outer];
    graph.insert_behind(position, behind);
}

/// Whether a `QuantizeLinear` or `DequantizeLinear` has one scale for all elements.
pub(super) fn is_per_tensor(graph: &Draft, node: &Node<FloatTensor>) -> bool {
    node.inputs
        .get(1)
        .is_some_and(|&scale| graph.tensors[scale].ty.len() == 1)
}

/// Swaps the `DequantizeLinear` at `dequantize` and the node at `position`, which alone reads it and only moves
/// elements: it then moves the integers. `axis` is that of the parameters behind the move.
pub(super) fn hoist_above_dequantize(graph: &mut Draft, dequantize: Place, position: Place, axis: usize) {
    let real = graph.nodes[dequantize].outputs[0];
    let base = graph.tensors[real].name.clone();
    let integers = graph.nodes[dequantize].inputs[0];
    let shape = shape(graph, graph.nodes[position].outputs[0]).to_vec();
    let ty = TensorType::new(graph.tensors[integers].ty.dtype, shape);
    let mut moving = graph.nodes[position].clone();
    moving.inputs = vec![integers];
    let moved = insert(graph, position, moving, &base, ty);
    let mut inputs = graph.nodes[dequantize].inputs.clone();
    inputs[0] = moved;
    let name = graph.nodes[dequantize].name.clone();
    graph.change(position, |node| {
        node.name = name;
        node.op = Op::DequantizeLinear(DequantizeLinear { axis });
        node.inputs = inputs;
    });
    graph.remove(dequantize);
}
