//! The parts of a quantized model that stay in f32.
//!
//! A change between codes and reals is a node that leaves every element where it is: in a
//! [`QuantGraph`](crate::ir::QuantGraph) an int8 tensor counts as the reals it stands for.

use super::constant::constant;
use super::{Absorber, Grid, Precision};
use crate::ir::{FloatTensor, Handle, Node};
use crate::op::plain::needs_reals;
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::tensor::DType;
use crate::op::{Op, Reshape};
use crate::quantize::reals::plain;

impl Absorber<'_> {
    /// Whether a node computes in reals.
    pub(super) fn is_in_reals(&mut self, node: &Node<FloatTensor>) -> bool {
        if self.precision == Precision::F32 && self.has_no_integer_kernel(node) {
            self.give_up(node);
        }
        node.outputs.iter().any(|output| self.in_reals[output.index()])
    }

    /// Whether no int8 kernel computes a node, whatever its tensors' parameters.
    fn has_no_integer_kernel(&self, node: &Node<FloatTensor>) -> bool {
        let of_reals = node
            .outputs
            .iter()
            .all(|&output| self.graph.tensors[output].ty.dtype == DType::F32);
        let divides = matches!(&node.op, Op::Binary(binary) if needs_reals(binary.kind));
        let mut inputs = node.inputs.iter();
        let is_number = |&input: &Handle<FloatTensor>| {
            self.graph.tensors[input].ty.len() == 1 && constant(self.graph, input).is_some()
        };
        divides && of_reals && !inputs.any(is_number)
    }

    /// Has the next round compute a node in reals.
    pub(super) fn give_up(&mut self, node: &Node<FloatTensor>) {
        for &output in &node.outputs {
            self.want_reals(output);
        }
    }

    /// Has the next round make a tensor one of reals, where the model has reals there.
    pub(super) fn want_reals(&mut self, tensor: Handle<FloatTensor>) {
        let is_real = self.graph.tensors[tensor].ty.dtype == DType::F32;
        if self.precision == Precision::F32 && is_real && !self.is_dequantized(tensor) {
            self.in_reals[tensor.index()] = true;
        }
    }

    /// A node as the model has it.
    pub(super) fn real_node(&mut self, node: &Node<FloatTensor>) {
        let inputs: Vec<_> = node
            .inputs
            .iter()
            .map(|&input| self.real_operand(input))
            .collect();
        let Some(inputs) = inputs.into_iter().collect() else {
            return;
        };
        let outputs = node.outputs.iter().map(|&output| self.real(output)).collect();
        self.out.nodes.push(Node {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs,
            outputs,
        });
    }

    /// The f32 tensor of a tensor that is computed, or given, in reals.
    pub(super) fn real(&mut self, tensor: Handle<FloatTensor>) -> Handle<QuantTensor> {
        if let Some(handle) = self.reals[tensor.index()] {
            return handle;
        }
        let handle = self.out.tensors.push(plain(&self.graph.tensors[tensor]));
        self.reals[tensor.index()] = Some(handle);
        handle
    }

    /// The reals of an input; `None` where a later round has them.
    fn real_operand(&mut self, tensor: Handle<FloatTensor>) -> Option<Handle<QuantTensor>> {
        if self.in_reals[tensor.index()] {
            return Some(self.real(tensor));
        }
        if let Some(handle) = self.reals[tensor.index()] {
            return Some(handle);
        }
        if let Some(values) = constant(self.graph, tensor) {
            let handle = self.constant(tensor, values, Quantization::Plain);
            self.reals[tensor.index()] = Some(handle);
            return Some(handle);
        }
        if !self.exact[tensor.index()] {
            self.want_reals(tensor);
            return None;
        }
        let codes = self.codes(tensor)?;
        let mut reals = plain(&self.graph.tensors[tensor]);
        reals.name = super::fresh_name(&mut self.names, &reals.name);
        let name = reals.name.clone();
        let shape = reals.ty.shape.clone();
        let reals = self.out.tensors.push(reals);
        self.out.nodes.push(Node {
            name,
            op: Op::Reshape(Reshape { shape }),
            inputs: vec![codes],
            outputs: vec![reals],
        });
        self.reals[tensor.index()] = Some(reals);
        Some(reals)
    }

    /// `QuantizeLinear` of computed reals.
    pub(super) fn cast_to_codes(&mut self, node: &Node<FloatTensor>, grid: Grid) {
        let reals = self.real(node.inputs[0]);
        let codes = self.tensor(node.outputs[0], grid);
        self.out.nodes.push(Node {
            name: node.name.clone(),
            op: Op::Reshape(Reshape {
                shape: self.graph.tensors[node.outputs[0]].ty.shape.clone(),
            }),
            inputs: vec![reals],
            outputs: vec![codes],
        });
    }
}
