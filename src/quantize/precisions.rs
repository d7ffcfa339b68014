//! What every node of a graph computes in, and what follows for the tensors between them.

use super::Precision;
use super::params::{integer_params, passed_through};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node};
use crate::op::tensor::DType;
use crate::op::{Op, OutputParams};

/// The precision of every node, and of every tensor: that of the node which makes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Precisions {
    nodes: Vec<Precision>,
    tensors: Vec<Precision>,
}

impl Precisions {
    /// One `usual` precision, but where a node is `pinned` to another, by node. What only moves data stays with what made it,
    /// and an input of the graph comes in reals where nothing but reals are wanted of it.
    pub(super) fn of(graph: &FloatGraph, usual: Precision, pinned: &[Option<Precision>]) -> Self {
        let mut tensors = vec![usual; graph.tensors.len()];
        for &input in &graph.inputs {
            let is_pinned = |position: usize| pinned.get(position).copied().flatten() == Some(Precision::F32);
            let readers = graph.readers(input);
            tensors[input.index()] = if integer_params(graph.tensors[input].ty.dtype).is_some() {
                Precision::Int8
            } else if !readers.is_empty() && readers.into_iter().all(is_pinned) {
                Precision::F32
            } else {
                usual
            };
        }
        let mut nodes = Vec::with_capacity(graph.nodes.len());
        for (position, node) in graph.nodes.iter().enumerate() {
            let moved = carried(graph, node);
            let precision = match (pinned.get(position).copied().flatten(), &moved[..]) {
                _ if passed_through(graph, node).is_some() => Precision::Int8,
                (Some(precision), _) => precision,
                (None, [first, rest @ ..]) => {
                    let precision = tensors[first.index()];
                    let agree = rest.iter().all(|tensor| tensors[tensor.index()] == precision);
                    if agree { precision } else { usual }
                }
                (None, []) => usual,
            };
            for output in &node.outputs {
                tensors[output.index()] = precision;
            }
            nodes.push(precision);
        }
        Self { nodes, tensors }
    }

    /// Of the node at `position`.
    pub(super) fn node(&self, position: usize) -> Precision {
        self.nodes[position]
    }

    /// Of a tensor where it is made.
    pub(super) fn tensor(&self, tensor: Handle<FloatTensor>) -> Precision {
        self.tensors[tensor.index()]
    }
}

/// The reals that a node only moves; none of a node that computes.
fn carried(graph: &FloatGraph, node: &Node<FloatTensor>) -> Vec<Handle<FloatTensor>> {
    let moved = match node.op.output_params() {
        OutputParams::SameAsInput(input) => &node.inputs[input..=input],
        OutputParams::Observed if matches!(node.op, Op::Concat(_)) => &node.inputs[..],
        OutputParams::Observed | OutputParams::Fixed(_) => &[],
    };
    let is_real = |tensor: &&Handle<FloatTensor>| {
        let tensor = &graph.tensors[**tensor];
        tensor.data.is_none() && tensor.ty.dtype == DType::F32
    };
    moved.iter().filter(is_real).copied().collect()
}
