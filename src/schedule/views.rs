//! Storage: which tensors lie within others, so that no kernel has to move them.

use super::edges::Edges;
use crate::ir::QuantGraph;
use crate::op::{Lowered, Operand, View};

/// Where a tensor lies: within which storage, from which byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the tensor that owns the storage.
    pub(super) root: usize,
    /// First byte within it.
    pub(super) offset: u64,
}

/// Which storage every tensor lies in: its own, or a part of another's. Tensors are named by their index.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    within: Vec<Option<Place>>,
    bytes: Vec<u64>,
}

impl Storage {
    /// Every tensor in its own.
    fn new(graph: &QuantGraph) -> Self {
        Self {
            within: vec![None; graph.tensors.len()],
            bytes: graph
                .tensors
                .iter()
                .map(|(_, tensor)| tensor.ty.bytes() as u64)
                .collect(),
        }
    }

    /// Where `tensor` lies.
    pub(super) fn place(&self, tensor: usize) -> Place {
        let mut place = Place {
            root: tensor,
            offset: 0,
        };
        while let Some(outer) = self.within[place.root] {
            place = Place {
                root: outer.root,
                offset: outer.offset + place.offset,
            };
        }
        place
    }

    /// Bytes of `tensor`.
    pub(super) fn bytes(&self, tensor: usize) -> u64 {
        self.bytes[tensor]
    }

    /// Whether `tensor` fills the storage it lies in.
    pub(super) fn fills(&self, tensor: usize) -> bool {
        let place = self.place(tensor);
        place.offset == 0 && self.bytes[place.root] == self.bytes[tensor]
    }

    /// Puts a whole storage into another place.
    pub(super) fn put(&mut self, root: usize, place: Place) {
        debug_assert!(
            self.within[root].is_none() && self.place(place.root).root != root,
            "storages form a tree"
        );
        self.within[root] = Some(place);
    }
}

/// What remains to be computed once views are taken.
#[derive(Clone, Debug)]
pub(super) struct Views {
    /// Where the tensors lie.
    pub(super) storage: Storage,
    /// Per node, which of its kernel calls remain.
    pub(super) calls: Vec<Vec<usize>>,
}

/// The nodes whose inputs may be written straight into their output.
pub(super) fn joins(lowered: &[Lowered]) -> Vec<usize> {
    let is_join = |i: &usize| matches!(lowered[*i].view, Some(View::JoinsInputs { .. }));
    (0..lowered.len()).filter(is_join).collect()
}

/// Takes every view of an input, and the joins among `joined`.
pub(super) fn take(graph: &QuantGraph, edges: &Edges, lowered: &[Lowered], joined: &[usize]) -> Views {
    let mut storage = Storage::new(graph);
    for [output, input] in &edges.carried {
        let place = Place {
            root: input.index(),
            offset: 0,
        };
        storage.put(output.index(), place);
    }
    let mut calls = Vec::with_capacity(graph.nodes.len());
    for (i, (node, kernels)) in graph.nodes.iter().zip(lowered).enumerate() {
        let output = node.outputs[0].index();
        let mut remaining: Vec<usize> = (0..kernels.calls.len()).collect();
        match &kernels.view {
            Some(View::OfInput { byte_offset }) => {
                let source = node.inputs[0];
                if graph.tensors[source].data.is_none() {
                    let Place { root, offset } = storage.place(source.index());
                    storage.put(
                        output,
                        Place {
                            root,
                            offset: offset + *byte_offset as u64,
                        },
                    );
                    remaining.clear();
                }
            }
            Some(View::JoinsInputs { byte_offsets }) if joined.contains(&i) => {
                for (k, (&input, &byte_offset)) in node.inputs.iter().zip(byte_offsets).enumerate() {
                    // A constant and what the caller writes cannot be moved; neither can a part of a storage, nor
                    // one that already lies in this output because the same tensor is joined twice.
                    let root = storage.place(input.index()).root;
                    let from_caller = edges
                        .inputs
                        .iter()
                        .any(|tensor| storage.place(tensor.index()).root == root);
                    if graph.tensors[input].data.is_none()
                        && !from_caller
                        && storage.fills(input.index())
                        && root != output
                    {
                        storage.put(
                            root,
                            Place {
                                root: output,
                                offset: byte_offset as u64,
                            },
                        );
                        remaining.retain(|&call| !reads_only(&kernels.calls[call].sources, k));
                    }
                }
            }
            Some(View::JoinsInputs { .. }) | None => {}
        }
        calls.push(remaining);
    }
    Views { storage, calls }
}

/// Whether a call does nothing but move input `k`.
fn reads_only(sources: &[Operand], k: usize) -> bool {
    matches!(sources, [Operand::Input { index, .. }] if *index == k)
}
