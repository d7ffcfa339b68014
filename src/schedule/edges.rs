//! What the caller writes and reads: the graph's inputs and outputs, or, channels-last, what lies behind their
//! transposes.

use super::IoLayout;
use crate::ir::{Handle, QuantGraph};
use crate::op::quant::QuantTensor;
use crate::op::{Op, Repeat};

/// The tensors at the program's edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edges {
    /// What the caller writes, one per graph input.
    pub inputs: Vec<Handle<QuantTensor>>,
    /// What the caller reads, one per graph output.
    pub outputs: Vec<Handle<QuantTensor>>,
    /// Per node: a transpose that the caller does.
    pub left_out: Vec<bool>,
    /// Of a body: tensors that lie where someone else put them, in no memory of the body's own.
    pub elsewhere: Vec<Handle<QuantTensor>>,
    /// Of a body: outputs that are written where an input lay, and that input.
    pub carried: Vec<[Handle<QuantTensor>; 2]>,
}

/// Decides what lies at the edge. A transpose is left to the caller where it only moves the channels of a graph
/// input to the end and nothing else reads that input; likewise one that only moves an output's channels to the
/// front.
pub fn find(graph: &QuantGraph, layout: IoLayout) -> Edges {
    let mut edges = Edges {
        inputs: graph.inputs.clone(),
        outputs: graph.outputs.clone(),
        left_out: vec![false; graph.nodes.len()],
        elsewhere: Vec::new(),
        carried: Vec::new(),
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

/// The ends of a body that is ready: what it is given stays as it is until the body ends, but for what is carried on.
/// The counter is the body's own.
pub(super) fn of_body(body: &QuantGraph, repeat: &Repeat) -> Edges {
    let given = &body.inputs[1..];
    let pairs = body.outputs.iter().zip(given).take(repeat.carried);
    let carried = pairs.filter(|(output, input)| output != input);
    Edges {
        inputs: body.inputs.clone(),
        outputs: body.inputs.iter().chain(&body.outputs).copied().collect(),
        left_out: vec![false; body.nodes.len()],
        elsewhere: given.to_vec(),
        carried: carried.map(|(&output, &input)| [output, input]).collect(),
    }
}

fn replace(tensors: &mut [Handle<QuantTensor>], old: Handle<QuantTensor>, new: Handle<QuantTensor>) {
    for tensor in tensors.iter_mut().filter(|tensor| **tensor == old) {
        *tensor = new;
    }
}
