//! Nodes that compute in reals among those that compute in codes.
//!
//! A change between codes and reals is a node that leaves every element where it is: in a
//! [`QuantGraph`](crate::ir::QuantGraph) an int8 tensor counts as the reals it stands for.

use std::sync::Arc;

use super::{Quantizer, is_plain};
use crate::ir::{FloatTensor, Handle, Node};
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::tensor::{DType, TensorType};
use crate::op::{Lstm, Op, Resample, Reshape, Slice};
use crate::quantize::Precision;
use crate::quantize::fresh_name;
use crate::quantize::reals::plain;

/// A recurrence over reals.
pub(super) struct Recurrence {
    /// The inputs of the LSTM.
    inputs: Vec<Handle<QuantTensor>>,
    backward: bool,
    /// All that it gives.
    packed: Handle<QuantTensor>,
}

impl Quantizer<'_> {
    /// A node as the model has it.
    pub(super) fn real_node(&mut self, node: &Node<FloatTensor>) {
        let inputs: Vec<_> = node
            .inputs
            .iter()
            .map(|&input| self.real_operand(input))
            .collect();
        match &node.op {
            Op::Lstm(lstm) => {
                let (given, packed) = self.recurrence(node, lstm, inputs);
                self.last_node(node, Op::Slice(given), vec![packed]);
            }
            // Along two axes at once is for integers.
            Op::Resample(Resample {
                first,
                second: Some(second),
            }) => {
                let between = self.unnamed(&node.name, Op::Resample(first.clone().into()), &inputs);
                self.last_node(node, Op::Resample(second.clone().into()), vec![between]);
            }
            op => self.last_node(node, op.clone(), inputs),
        }
    }

    /// The node that makes what `node` makes.
    fn last_node(&mut self, node: &Node<FloatTensor>, op: Op, inputs: Vec<Handle<QuantTensor>>) {
        let outputs = node.outputs.iter().map(|&output| self.real(output)).collect();
        self.out.nodes.push(Node {
            name: node.name.clone(),
            op,
            inputs,
            outputs,
        });
    }

    /// The recurrence of an LSTM, which is no operator of its own over reals, and what of it is wanted. Several may be of one
    /// recurrence: that runs once.
    fn recurrence(
        &mut self,
        node: &Node<FloatTensor>,
        lstm: &Lstm,
        inputs: Vec<Handle<QuantTensor>>,
    ) -> (Slice, Handle<QuantTensor>) {
        let parts = lstm.parts(&self.types(&inputs).iter().collect::<Vec<_>>());
        let is_same = |of: &&Recurrence| of.inputs == inputs && of.backward == lstm.backward;
        if let Some(same) = self.recurrences.iter().find(is_same) {
            return (parts.given, same.packed);
        }
        let no_peepholes = parts.no_peepholes();
        let no_peepholes = self.out.tensors.push(QuantTensor {
            name: fresh_name(&mut self.names, &node.name),
            ty: no_peepholes.ty(),
            quantization: Quantization::Plain,
            model_dtype: DType::F32,
            data: Some(Arc::new(no_peepholes)),
        });
        let product = self.unnamed(&node.name, Op::Dense(parts.product), &inputs[..3]);
        let side = self.unnamed(
            &node.name,
            Op::Concat(parts.side),
            &[inputs[4], inputs[5], no_peepholes],
        );
        let packed = self.unnamed(
            &node.name,
            Op::Recurrent(parts.recurrent),
            &[product, inputs[3], side],
        );
        self.recurrences.push(Recurrence {
            inputs,
            backward: lstm.backward,
            packed,
        });
        (parts.given, packed)
    }

    fn types(&self, tensors: &[Handle<QuantTensor>]) -> Vec<TensorType> {
        tensors
            .iter()
            .map(|&tensor| self.out.tensors[tensor].ty.clone())
            .collect()
    }

    /// A node over reals whose output the model has no name for.
    fn unnamed(&mut self, name: &str, op: Op, inputs: &[Handle<QuantTensor>]) -> Handle<QuantTensor> {
        let types = self.types(inputs);
        let types = op.output_types(&types.iter().collect::<Vec<_>>());
        // The verifier refuses what does not fit, by name.
        let ty = types.ok().and_then(|mut types| types.pop());
        let name = fresh_name(&mut self.names, name);
        let output = self.out.tensors.push(QuantTensor {
            name: name.clone(),
            ty: ty.unwrap_or_else(|| TensorType::new(DType::F32, [])),
            quantization: Quantization::Plain,
            model_dtype: DType::F32,
            data: None,
        });
        self.out.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
            outputs: vec![output],
        });
        output
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
                    name: fresh_name(&mut self.names, &float.name),
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
