//! Values: what a byte is worth by the graph's meaning.

use super::CheckError;
use super::touched::Touched;
use crate::ir::{Handle, QuantGraph};
use crate::op::quant::QuantTensor;
use crate::op::{Lowered, View};

/// The name of a byte's worth: the byte of a tensor, as it stands after a call of the node that produces it. Bytes of
/// views have the name of what they are a view of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// Bodies around the graph that the tensor belongs to.
    depth: u32,
    tensor: u32,
    byte: u32,
    /// Number of the call that wrote it last; 0 for what the caller writes.
    call: u32,
}

/// The values of every tensor of a graph.
pub(super) struct Values<'a> {
    graph: &'a QuantGraph,
    depth: u32,
    /// Per tensor and byte, what it is worth once complete.
    complete: Vec<Vec<Value>>,
    /// Per node, the calls' written bytes, where the output is computed rather than viewed.
    written: Vec<Vec<Vec<bool>>>,
}

impl<'a> Values<'a> {
    /// Derives the values from the operators' answers.
    pub(super) fn of(graph: &'a QuantGraph, lowered: &[Lowered]) -> Result<Self, CheckError> {
        Self::within(graph, lowered, 0, &[])
    }

    /// The same of a body with so many around it; `given` are the values of tensors that come from outside.
    pub(super) fn within(
        graph: &'a QuantGraph,
        lowered: &[Lowered],
        depth: u32,
        given: &[Option<Vec<Value>>],
    ) -> Result<Self, CheckError> {
        let own = |tensor: usize, bytes: usize, call: u32| -> Vec<Value> {
            (0..bytes as u32)
                .map(|byte| Value {
                    depth,
                    tensor: tensor as u32,
                    byte,
                    call,
                })
                .collect()
        };
        let tensors = graph.tensors.iter();
        let mut complete: Vec<Vec<Value>> = tensors
            .map(|(handle, tensor)| match given.get(handle.index()) {
                Some(Some(values)) => values.clone(),
                Some(None) | None => own(handle.index(), tensor.ty.bytes(), 0),
            })
            .collect();
        let mut written = Vec::with_capacity(graph.nodes.len());
        for (node, kernels) in graph.nodes.iter().zip(lowered) {
            if !kernels.body.is_empty() {
                // A carried value is put in place, and is another one behind the loop.
                for output in &node.outputs {
                    complete[output.index()]
                        .iter_mut()
                        .for_each(|value| value.call = 2);
                }
                written.push(Vec::new());
                continue;
            }
            let output = node.outputs[0].index();
            let bytes = complete[output].len();
            let mut calls = Vec::new();
            match &kernels.view {
                Some(View::OfInput { byte_offset }) => {
                    let source = &complete[node.inputs[0].index()];
                    if let Some(part) = source.get(*byte_offset..byte_offset + bytes) {
                        complete[output] = part.to_vec();
                    }
                }
                Some(View::JoinsInputs { byte_offsets }) => {
                    for (input, &offset) in node.inputs.iter().zip(byte_offsets) {
                        let part = complete[input.index()].clone();
                        if let Some(place) = complete[output].get_mut(offset..offset + part.len()) {
                            place.copy_from_slice(&part);
                        }
                    }
                }
                None => {
                    for (number, call) in (1u32..).zip(&kernels.calls) {
                        let mut mask = vec![false; bytes];
                        let touched = Touched::unbound(call);
                        for byte in touched.iter().flat_map(|touched| touched.output.bytes()) {
                            let byte = byte + call.ofm_byte_offset as i64;
                            if let Some(slot) = usize::try_from(byte).ok().and_then(|byte| mask.get_mut(byte))
                            {
                                *slot = true;
                            }
                        }
                        let worth = complete[output]
                            .iter_mut()
                            .zip(&mask)
                            .filter(|(_, written)| **written);
                        worth.for_each(|(value, _)| value.call = number);
                        calls.push(mask);
                    }
                    let unwritten = complete[output].iter().position(|value| value.call == 0);
                    if let Some(byte) = unwritten.filter(|_| !kernels.calls.is_empty()) {
                        return Err(CheckError::Unwritten {
                            node: node.name.clone(),
                            byte: byte as u32,
                        });
                    }
                }
            }
            written.push(calls);
        }
        Ok(Self {
            graph,
            depth,
            complete,
            written,
        })
    }

    /// Bodies around the graph.
    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// What byte `byte` of a tensor is worth; `None` outside the tensor.
    pub(super) fn of_tensor(&self, tensor: Handle<QuantTensor>, byte: u32) -> Option<Value> {
        self.complete[tensor.index()].get(byte as usize).copied()
    }

    /// What a byte of the node's output is worth right after one of its calls wrote it.
    pub(super) fn after_call(&self, node: usize, call: usize, byte: u32) -> Option<Value> {
        let node_outputs = &self.graph.nodes[node].outputs;
        if self.graph.body(&self.graph.nodes[node]).is_some() {
            let value = self.of_tensor(*node_outputs.get(call)?, byte)?;
            return Some(Value { call: 1, ..value });
        }
        let value = self.of_tensor(node_outputs[0], byte)?;
        match self.written[node].get(call) {
            Some(mask) => mask[byte as usize].then_some(Value {
                call: call as u32 + 1,
                ..value
            }),
            // A view that is computed all the same: a copy is worth what it is a copy of.
            None => Some(value),
        }
    }

    /// What a byte of the node's output is worth before one of its calls: as the last call before left it.
    pub(super) fn before_call(&self, node: usize, call: usize, byte: u32) -> Option<Value> {
        (0..call)
            .rev()
            .find_map(|earlier| self.after_call(node, earlier, byte))
    }
}
