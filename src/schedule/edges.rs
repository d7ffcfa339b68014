//! What the caller writes and reads: the graph's inputs and outputs, or, channels-last, what lies behind their
//! transposes.

use super::IoLayout;
use crate::ir::{Handle, QuantGraph};
use crate::op::Op;
use crate::op::quant::QuantTensor;

/// The tensors at the program's edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edges {
    /// What the caller writes, one per graph input.
    pub inputs: Vec<Handle<QuantTensor>>,
    /// What the caller reads, one per graph output.
    pub outputs: Vec<Handle<QuantTensor>>,
    /// Per node: a transpose that the caller does.
    pub left_out: Vec<bool>,
}

/// Decides what lies at the edge. A transpose is left to the caller where it only moves the channels of a graph
/// input to the end and nothing else reads that input; likewise one that only moves an output's channels to the
/// front.
pub fn find(graph: &QuantGraph, layout: IoLayout) -> Edges {
    let mut edges = Edges {
        inputs: graph.inputs.clone(),
        outputs: graph.outputs.clone(),
        left_out: vec![false; graph.nodes.len()],
    };
    if layout == IoLayout::Keep {
        return edges;
    }
    let neighbours = graph.neighbours();
    for (node, left_out) in graph.nodes.iter().zip(&mut edges.left_out) {
        let Op::Transpose(transpose) = &node.op else {
            continue;
        };
        let (source, output) = (node.inputs[0], node.outputs[0]);
        let rank = transpose.perm.len();
        let to_last = rank > 2
            && transpose
                .perm
                .iter()
                .eq([0].iter().chain(&Vec::from_iter(2..rank)).chain(&[1]));
        let to_first = rank > 2
            && transpose
                .perm
                .iter()
                .eq([0, rank - 1].iter().chain(&Vec::from_iter(1..rank - 1)));
        // For rank 3 both are the same permutation, so the position decides, not the permutation.
        let (before, behind) = (neighbours[source.index()], neighbours[output.index()]);
        if to_last && before.is_input && before.has_one_reader() {
            *left_out = true;
            replace(&mut edges.inputs, source, output);
        } else if to_first && behind.reads == 0 && behind.is_output && graph.tensors[source].data.is_none() {
            *left_out = true;
            replace(&mut edges.outputs, output, source);
        }
    }
    edges
}

fn replace(tensors: &mut [Handle<QuantTensor>], old: Handle<QuantTensor>, new: Handle<QuantTensor>) {
    for tensor in tensors.iter_mut().filter(|tensor| **tensor == old) {
        *tensor = new;
    }
}
