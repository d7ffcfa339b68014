//! Nodes that compute in reals among those that compute in codes.
//!
//! A change between codes and reals is a node that leaves every element where it is: in a
//! [`QuantGraph`](crate::ir::QuantGraph) an int8 tensor counts as the reals it stands for.

use std::sync::Arc;

use super::{Quantizer, is_plain};
use crate::ir::{FloatTensor, Handle, Node};
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::{Op, Reshape};
use crate::quantize::Precision;
use crate::quantize::reals::plain;

impl Quantizer<'_> {
    /// A node as the model has it.
    pub(super) fn real_node(&mut self, node: &Node<FloatTensor>) {
        let inputs = node
            .inputs
            .iter()
            .map(|&input| self.real_operand(input))
            .collect();
        let outputs = node.outputs.iter().map(|&output| self.real(output)).collect();
        self.out.nodes.push(Node {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs,
            outputs,
        });
    }

    /// The tensor as the model has it, where it is made.
    pub(super) fn real(&mut self, tensor: Handle<FloatTensor>) -> Handle<QuantTensor> {
        if is_plain(self.graph, tensor) {
            return self.plain(tensor);
        }
        let handle = self.out.tensors.push(plain(&self.graph.tensors[tensor]));
        self.reals[tensor.index()] = Some(handle);
        handle
    }

    /// The reals of an input: made so, a constant, or what its codes stand for.
    fn real_operand(&mut self, tensor: Handle<FloatTensor>) -> Handle<QuantTensor> {
        if let Some(handle) = self.reals[tensor.index()] {
            return handle;
        }
        let float = &self.graph.tensors[tensor];
        let handle = match (&float.data, self.mapped[tensor.index()]) {
            (Some(data), _) => {
                let constant = QuantTensor {
                    name: self.unused(&float.name),
                    ty: data.ty(),
                    quantization: Quantization::Plain,
                    model_dtype: float.ty.dtype,
                    data: Some(Arc::clone(data)),
                };
                self.out.tensors.push(constant)
            }
            (None, Some(handle)) if is_plain(self.graph, tensor) => handle,
            (None, _) => {
                self.precision = if self.wide[tensor.index()].is_some() {
                    Precision::Int16x8
                } else {
                    Precision::Int8
                };
                let codes = self.activation(tensor);
                let reals = QuantTensor {
                    name: super::super::fresh_name(&mut self.names, &float.name),
                    ..plain(float)
                };
                self.convert(codes, reals)
            }
        };
        self.reals[tensor.index()] = Some(handle);
        handle
    }

    /// A node that makes `to` of the same elements in another form.
    pub(super) fn convert(&mut self, from: Handle<QuantTensor>, to: QuantTensor) -> Handle<QuantTensor> {
        let (name, shape) = (to.name.clone(), to.ty.shape.clone());
        let to = self.out.tensors.push(to);
        self.out.nodes.push(Node {
            name,
            op: Op::Reshape(Reshape { shape }),
            inputs: vec![from],
            outputs: vec![to],
        });
        to
    }
}
