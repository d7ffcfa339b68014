//! A float model that stays one: every tensor keeps its reals.

use crate::ir::{FloatGraph, FloatTensor, Handle, Node, QuantGraph};
use crate::op::quant::{QuantTensor, Quantization};

/// The same graph, of tensors that are not quantized.
pub(super) fn keep(graph: &FloatGraph) -> QuantGraph {
    let mut out = QuantGraph::new(graph.name.clone());
    out.notes = graph.notes.clone();
    out.bodies = graph.bodies.iter().map(keep).collect();
    let kept: Vec<Handle<QuantTensor>> = graph
        .tensors
        .iter()
        .map(|(_, tensor)| out.tensors.push(plain(tensor)))
        .collect();
    let map = |handles: &[Handle<FloatTensor>]| -> Vec<_> {
        handles.iter().map(|handle| kept[handle.index()]).collect()
    };
    out.nodes = graph
        .nodes
        .iter()
        .map(|node| Node {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs: map(&node.inputs),
            outputs: map(&node.outputs),
        })
        .collect();
    out.inputs = map(&graph.inputs);
    out.outputs = map(&graph.outputs);
    out
}

/// A tensor as it is.
pub(super) fn plain(tensor: &FloatTensor) -> QuantTensor {
    QuantTensor {
        name: tensor.name.clone(),
        ty: tensor.ty.clone(),
        quantization: Quantization::Plain,
        model_dtype: tensor.ty.dtype,
        data: tensor.data.clone(),
    }
}
