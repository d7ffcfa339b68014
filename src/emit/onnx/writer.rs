//! The ONNX graph as it grows: names, nodes, constants.

use std::collections::HashSet;

use tinsmith_proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

use super::message;
use super::tensors::Forms;
use crate::ir::{Handle, Node, QuantGraph, TensorInfo};
use crate::op::Clamp;
use crate::op::quant::QuantTensor;
use crate::op::tensor::{DType, Data, Values};

/// An ONNX graph that grows.
pub(super) struct Writer<'g> {
    pub(super) graph: &'g QuantGraph,
    pub(super) inputs: Vec<ValueInfoProto>,
    pub(super) outputs: Vec<ValueInfoProto>,
    pub(super) nodes: Vec<NodeProto>,
    pub(super) initializers: Vec<TensorProto>,
    /// Names of values that are taken.
    pub(super) values: HashSet<String>,
    /// Names of nodes that are taken.
    pub(super) node_names: HashSet<String>,
    /// By tensor.
    pub(super) forms: Vec<Forms>,
    /// The node that is written.
    pub(super) scope: String,
    /// The version of the operators that has all that were written.
    pub(super) opset: i64,
}

impl<'g> Writer<'g> {
    /// A graph without nodes, whose ports' names are taken.
    pub(super) fn new(graph: &'g QuantGraph) -> Self {
        let ports = graph.inputs.iter().chain(&graph.outputs);
        Self {
            graph,
            inputs: Vec::new(),
            outputs: Vec::new(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            values: ports.map(|&port| graph.tensors[port].name.clone()).collect(),
            node_names: HashSet::new(),
            forms: vec![Forms::default(); graph.tensors.len()],
            scope: String::new(),
            opset: super::OPSET,
        }
    }

    /// Asks for operators of this version at least.
    pub(super) fn need(&mut self, opset: i64) {
        self.opset = self.opset.max(opset);
    }

    /// The graph of a body, which takes no name of the graph around it.
    pub(super) fn within(outer: &mut Self, body: &'g QuantGraph) -> Self {
        let mut inner = Self::new(body);
        inner.values.clear();
        inner.values.extend(std::mem::take(&mut outer.values));
        inner.node_names = std::mem::take(&mut outer.node_names);
        inner.scope.clone_from(&outer.scope);
        inner.opset = outer.opset;
        inner
    }

    /// The finished body.
    pub(super) fn finish_within(mut self, outer: &mut Writer<'_>) -> GraphProto {
        outer.values = std::mem::take(&mut self.values);
        outer.node_names = std::mem::take(&mut self.node_names);
        outer.opset = self.opset;
        self.finish()
    }

    /// The finished graph.
    pub(super) fn finish(self) -> GraphProto {
        GraphProto {
            name: self.graph.name.clone(),
            input: self.inputs,
            output: self.outputs,
            node: self.nodes,
            initializer: self.initializers,
            ..GraphProto::default()
        }
    }

    /// Goes on to a node of the graph.
    pub(super) fn enter(&mut self, node: &Node<QuantTensor>) {
        self.scope.clone_from(&node.name);
    }

    /// A tensor of the graph.
    pub(super) fn tensor(&self, tensor: Handle<QuantTensor>) -> &'g QuantTensor {
        &self.graph.tensors[tensor]
    }

    /// A tensor's shape.
    pub(super) fn shape(&self, tensor: Handle<QuantTensor>) -> &'g [usize] {
        &self.tensor(tensor).ty.shape
    }

    /// A tensor's element type as operators see it.
    pub(super) fn dtype(&self, tensor: Handle<QuantTensor>) -> DType {
        self.tensor(tensor).real_type().dtype
    }

    /// The node that stands for the graph's own, under its name. Gives the name of its output.
    pub(super) fn own(&mut self, op_type: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let name = self.scope.clone();
        let outputs = self.push(&name, op_type, inputs, attributes, 1);
        outputs.into_iter().next().unwrap_or_default()
    }

    /// A node beside it. Gives the name of its output.
    pub(super) fn add(&mut self, op_type: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let outputs = self.add_many(op_type, inputs, attributes, 1);
        outputs.into_iter().next().unwrap_or_default()
    }

    /// A node beside it with several outputs.
    pub(super) fn add_many(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
        outputs: usize,
    ) -> Vec<String> {
        let name = format!("{}/{op_type}", self.scope);
        self.push(&name, op_type, inputs, attributes, outputs)
    }

    fn push(
        &mut self,
        name: &str,
        op_type: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
        outputs: usize,
    ) -> Vec<String> {
        let output: Vec<String> = (0..outputs)
            .map(|_| fresh(&mut self.values, &format!("{}/{op_type}", self.scope)))
            .collect();
        self.nodes.push(NodeProto {
            name: fresh(&mut self.node_names, name),
            op_type: op_type.into(),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: output.clone(),
            attribute,
            ..NodeProto::default()
        });
        output
    }

    /// A constant, by a role if not by a name of its own.
    pub(super) fn constant(&mut self, role: &str, values: &Values) -> String {
        let name = fresh(&mut self.values, &format!("{}/{role}", self.scope));
        self.initializers.push(message::tensor(&name, values));
        name
    }

    /// A list of integers.
    pub(super) fn ints(&mut self, role: &str, ints: impl IntoIterator<Item = i64>) -> String {
        let ints: Vec<i64> = ints.into_iter().collect();
        self.constant(role, &Values::new([ints.len()], Data::I64(ints)))
    }

    /// A list of counts.
    pub(super) fn counts(&mut self, role: &str, counts: &[usize]) -> String {
        self.ints(role, counts.iter().map(|&count| count as i64))
    }

    /// One number of an element type.
    pub(super) fn number(&mut self, role: &str, number: f64, dtype: DType) -> String {
        let data = Data::F64(vec![number]).cast(dtype);
        self.constant(role, &Values::new([], data))
    }

    /// The node that stands for the graph's own, and behind it the activation that is fused with it; the last one has
    /// its name.
    pub(super) fn layer(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
        clamp: Clamp,
        dtype: DType,
    ) -> String {
        if clamp.is_none() {
            return self.own(op_type, inputs, attributes);
        }
        let y = self.add(op_type, inputs, attributes);
        self.clamped(&y, clamp, dtype)
    }

    /// The node of a clamp.
    pub(super) fn clamped(&mut self, x: &str, clamp: Clamp, dtype: DType) -> String {
        if clamp == Clamp::RELU {
            return self.own("Relu", &[x], Vec::new());
        }
        let mut end = |role: &str, end: Option<f32>| {
            end.map_or_else(String::new, |end| self.number(role, end.into(), dtype))
        };
        let (min, max) = (end("min", clamp.min), end("max", clamp.max));
        let mut inputs = vec![x, min.as_str()];
        if !max.is_empty() {
            inputs.push(&max);
        }
        self.own("Clip", &inputs, Vec::new())
    }

    /// A value in another shape.
    pub(super) fn reshaped(&mut self, x: &str, shape: &[usize]) -> String {
        let allows_zero = i64::from(shape.contains(&0));
        let shape = self.counts("shape", shape);
        self.add(
            "Reshape",
            &[x, &shape],
            vec![message::int("allowzero", allows_zero)],
        )
    }

    /// A value with its axes in another order.
    pub(super) fn permuted(&mut self, x: &str, perm: &[usize]) -> String {
        self.add("Transpose", &[x], vec![message::counts("perm", perm)])
    }
}

/// A name that is not taken yet, after `name`; takes it.
pub(super) fn fresh(names: &mut HashSet<String>, name: &str) -> String {
    let numbered = (1..).map(|i| format!("{name}_{i}"));
    let fresh = std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|candidate| !names.contains(candidate))
        .expect("one of endlessly many names is free");
    names.insert(fresh.clone());
    fresh
}
