//! What names stand for while nodes are imported: scopes of values, and the body that a node stands in.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use tinsmith_proto::{AttributeProto, GraphProto, NodeProto};

use super::builder::Tensor;
use crate::op::tensor::DType;

/// What a name can stand for.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Tensor(Tensor),
    /// A list whose length is known: it never reaches the graph.
    Sequence(Sequence),
    /// An optional value that is not there.
    Absent,
}

/// A sequence of tensors.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequence {
    pub(super) items: Vec<Tensor>,
    /// The element type, where the model says so.
    pub(super) element: Option<DType>,
}

/// A value: known, or unknown because of a problem that is already noted.
pub(super) type Value = Option<Item>;

/// Values by name, scope within scope: inner names hide outer ones.
#[derive(Default)]
pub(super) struct Scopes {
    stack: Vec<BTreeMap<String, Value>>,
    /// The outermost scope that is visible: a function sees nothing of its caller.
    base: usize,
}

impl Scopes {
    /// The value of a name.
    pub(super) fn find(&self, name: &str) -> Option<&Value> {
        let visible = self.stack.get(self.base..).unwrap_or_default();
        visible.iter().rev().find_map(|scope| scope.get(name))
    }

    /// The value of a name in the innermost scope.
    pub(super) fn find_here(&self, name: &str) -> Option<&Value> {
        self.stack.last().and_then(|scope| scope.get(name))
    }

    /// The names of the innermost scope.
    pub(super) fn names_here(&self) -> impl Iterator<Item = &str> {
        self.stack
            .iter()
            .rev()
            .take(1)
            .flat_map(BTreeMap::keys)
            .map(String::as_str)
    }

    /// Gives a name of the innermost scope a value; whether it had none before.
    pub(super) fn insert(&mut self, name: &str, value: Value) -> bool {
        let scope = self.stack.last_mut().expect("a scope is open");
        scope.insert(name.to_owned(), value).is_none()
    }

    /// Opens a scope inside.
    pub(super) fn open(&mut self) {
        self.stack.push(BTreeMap::new());
    }

    /// Closes the innermost scope.
    pub(super) fn close(&mut self) {
        self.stack.pop();
    }

    /// Opens a function's scope; gives what [`Scopes::close_function`] takes.
    pub(super) fn open_function(&mut self) -> usize {
        let caller = std::mem::replace(&mut self.base, self.stack.len());
        self.open();
        caller
    }

    /// Closes a function's scope.
    pub(super) fn close_function(&mut self, caller: usize) {
        self.close();
        self.base = caller;
    }
}

/// The version of each set of operators by its domain.
pub(super) type Opsets<'a> = BTreeMap<&'a str, i64>;

/// Nodes that see each other's values: the model's graph, a function, or the graph of an attribute.
pub(super) struct Body<'a> {
    pub(super) nodes: Cow<'a, [NodeProto]>,
    pub(super) opsets: &'a Opsets<'a>,
    /// What stands before the names of nodes and values; `None` for the model's own graph, whose names are kept.
    pub(super) prefix: Option<String>,
    /// The body around, whose values are seen here.
    pub(super) outer: Option<&'a Body<'a>>,
    /// Names that nodes read, those in the graphs of their attributes too, and the outputs.
    read: BTreeSet<String>,
    /// By name: the position of the first node that makes a value.
    makers: BTreeMap<String, usize>,
}

impl<'a> Body<'a> {
    pub(super) fn new(
        nodes: Cow<'a, [NodeProto]>,
        outputs: impl Iterator<Item = String>,
        opsets: &'a Opsets<'a>,
        prefix: Option<String>,
        outer: Option<&'a Body<'a>>,
    ) -> Self {
        let mut read: BTreeSet<String> = outputs.collect();
        nodes.iter().for_each(|node| note_read(node, &mut read));
        let mut makers = BTreeMap::new();
        for (index, node) in nodes.iter().enumerate() {
            for output in &node.output {
                makers.entry(output.clone()).or_insert(index);
            }
        }
        Self {
            nodes,
            opsets,
            prefix,
            outer,
            read,
            makers,
        }
    }

    /// The body of an attribute's graph.
    pub(super) fn of_graph(graph: &'a GraphProto, prefix: String, outer: &'a Self) -> Self {
        let outputs = graph.output.iter().map(|info| info.name.clone());
        let nodes = Cow::Borrowed(graph.node.as_slice());
        Self::new(nodes, outputs, outer.opsets, Some(prefix), Some(outer))
    }

    /// Whether something reads a value of this body.
    pub(super) fn reads(&self, name: &str) -> bool {
        self.read.contains(name)
    }

    /// The first node that makes a value, here or around.
    pub(super) fn maker(&self, name: &str) -> Option<&NodeProto> {
        match self.makers.get(name) {
            Some(&index) => self.nodes.get(index),
            None => self.outer.and_then(|outer| outer.maker(name)),
        }
    }

    /// A name of this body as the graph tells it.
    pub(super) fn path(&self, name: &str) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}{name}"),
            None => name.to_owned(),
        }
    }
}

/// The graphs of an attribute.
pub(super) fn graphs(attribute: &AttributeProto) -> impl Iterator<Item = &GraphProto> {
    attribute.g.iter().chain(&attribute.graphs)
}

/// Notes what a node reads, and what the graphs of its attributes do. Decoding bounds the depth.
fn note_read(node: &NodeProto, read: &mut BTreeSet<String>) {
    read.extend(node.input.iter().cloned());
    for graph in node.attribute.iter().flat_map(graphs) {
        read.extend(graph.output.iter().map(|info| info.name.clone()));
        graph.node.iter().for_each(|node| note_read(node, read));
    }
}

/// A node's name, or that of the first output that has one.
pub(super) fn name(node: &NodeProto) -> &str {
    if node.name.is_empty() {
        let mut outputs = node.output.iter().filter(|output| !output.is_empty());
        outputs.next().map_or("", String::as_str)
    } else {
        &node.name
    }
}
