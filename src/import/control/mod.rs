//! Control flow: the branch that is taken, a short loop's iterations one after the other, a long one as a step over its
//! body. What else only running decides becomes a
//! choice between two values, of which the scheduler lets run the one that is taken.

mod branch;
mod flex_attention;
mod repeat;
mod scan;
mod step;

use tinsmith_proto::{GraphProto, Message};

use super::builder::Tensor;
use super::inputs::declared_type;
use super::model::Import;
use super::node::{self, ItemImporter, Node};
use super::scope::{Body, Item, Sequence};
use crate::op::tensor::{Data, Values};
use crate::op::{Concat, Op, OpError, Reshape, Slice};

pub(super) const IMPORTERS: &[(&str, ItemImporter)] = &[
    ("If", branch::import),
    ("Loop", repeat::import),
    ("Scan", scan::import),
    ("SequenceMap", repeat::map),
    ("ai.onnx.preview.FlexAttention", flex_attention::import),
];

/// A graph of an attribute, whose constants are in scope.
pub(super) struct Inner<'a> {
    graph: &'a GraphProto,
    body: Body<'a>,
    /// Names of what it is given.
    inputs: Vec<&'a str>,
}

impl Inner<'_> {
    pub(super) fn outputs(&self) -> usize {
        self.graph.output.len()
    }

    /// Nodes of one evaluation, and what its ends take.
    fn size(&self) -> usize {
        1 + self.body.nodes.len() + self.inputs.len() + self.outputs()
    }
}

impl Import<'_> {
    /// Opens a scope for a graph of a node's attribute and fills it with the graph's constants.
    pub(super) fn open_graph<'a>(
        &mut self,
        graph: &'a GraphProto,
        call: &'a Node<'_>,
    ) -> Result<Inner<'a>, OpError> {
        self.enter()?;
        self.values.open();
        let prefix = call.body.prefix.clone().unwrap_or_default();
        let body = Body::of_graph(graph, prefix, call.body);
        let mut constants = Vec::with_capacity(graph.initializer.len());
        for tensor in &graph.initializer {
            let name = self.value_name(&tensor.name, &body);
            let value = self.graph.values(tensor).and_then(|values| {
                self.graph.take_bytes(tensor.encoded_len())?;
                Ok(Item::Tensor(self.graph.tensor(name, values.ty(), Some(values))))
            });
            let value = value.map_err(|error| self.refuse(&body.path(&tensor.name), "initializer", error));
            self.values.insert(&tensor.name, value.ok());
            constants.push(tensor.name.as_str());
        }
        self.sparse_initializers(graph);
        let inputs = graph.input.iter().map(|info| info.name.as_str());
        Ok(Inner {
            graph,
            body,
            inputs: inputs.filter(|name| !constants.contains(name)).collect(),
        })
    }

    /// Closes it.
    pub(super) fn close_graph(&mut self) {
        self.values.close();
        self.depth -= 1;
    }

    /// Imports the graph's nodes once, for these inputs, and gives its outputs; `None` where one is unknown because of
    /// a problem that is noted.
    pub(super) fn evaluate(
        &mut self,
        inner: &Inner<'_>,
        inputs: Vec<Item>,
    ) -> Result<Option<Vec<Item>>, OpError> {
        if inputs.len() != inner.inputs.len() {
            return Err(OpError::new(format!(
                "a graph of {} inputs wanted, `{}` with {} found",
                inputs.len(),
                inner.graph.name,
                inner.inputs.len()
            )));
        }
        self.values.open();
        for (name, item) in inner.inputs.iter().zip(inputs) {
            self.values.insert(name, Some(item));
        }
        self.body(&inner.body);
        let outputs: Result<Option<Vec<Item>>, OpError> = inner
            .graph
            .output
            .iter()
            .map(|info| match self.values.find(&info.name) {
                Some(value) => Ok(value.clone()),
                None => Err(OpError::new(format!(
                    "output `{}` of graph `{}` wanted, which nothing makes",
                    info.name, inner.graph.name
                ))),
            })
            .collect();
        self.values.close();
        outputs
    }

    /// The one value of a tensor, where it is known now.
    pub(super) fn known_number(&self, tensor: Tensor, what: &str) -> Result<Option<i64>, OpError> {
        let ty = self.graph.ty(tensor);
        if ty.len() != 1 || ty.dtype.is_float() {
            return Err(OpError::new(format!(
                "one integer or Boolean for {what} wanted, {ty} found"
            )));
        }
        let values = self.graph.constant_of(tensor).and_then(|values| values.to_i64());
        Ok(values.and_then(|values| values.first().copied()))
    }

    /// Index `at` along an axis, which is dropped.
    pub(super) fn pick(&mut self, x: Tensor, axis: usize, at: usize) -> Result<Tensor, OpError> {
        let mut shape = self.graph.shape(x).to_vec();
        let (mut starts, steps) = (vec![0; shape.len()], vec![1; shape.len()]);
        (starts[axis], shape[axis]) = (at, 1);
        let mut kept = shape.clone();
        kept.remove(axis);
        let op = Op::Slice(Slice { starts, steps, shape });
        let slice = self.graph.emit(op, &[x], "slice")?;
        self.graph
            .emit(Op::Reshape(Reshape { shape: kept }), &[slice], "element")
    }

    /// Tensors of one shape along a new axis; at least one.
    pub(super) fn stack(&mut self, tensors: &[Tensor], axis: usize) -> Result<Tensor, OpError> {
        let mut lifted = Vec::with_capacity(tensors.len());
        for &tensor in tensors {
            let mut shape = self.graph.shape(tensor).to_vec();
            if axis > shape.len() {
                return Err(OpError::new(format!(
                    "an axis of {} wanted, {axis} found",
                    shape.len() + 1
                )));
            }
            shape.insert(axis, 1);
            lifted.push(
                self.graph
                    .emit(Op::Reshape(Reshape { shape }), &[tensor], "lifted")?,
            );
        }
        match lifted.as_slice() {
            &[one] => Ok(one),
            several => self.graph.emit(Op::Concat(Concat { axis }), several, "stacked"),
        }
    }

    /// What iterations gave for output `index` of their graph, along a new axis, counted from the end where negative.
    fn stack_scan(
        &mut self,
        inner: &Inner<'_>,
        index: usize,
        items: &[Tensor],
        axis: i64,
    ) -> Result<Tensor, OpError> {
        if let Some(&first) = items.first() {
            let axis = super::ops::resolve_axis(axis, self.graph.shape(first).len() + 1)?;
            return self.stack(items, axis);
        }
        // No iteration: the shape can only be the declared one.
        let info = inner.graph.output.get(index);
        let mut ty = info.and_then(declared_type).ok_or_else(|| {
            OpError::new(
                "at least one iteration wanted where the graph does not declare the shape of its output",
            )
        })?;
        let axis = super::ops::resolve_axis(axis, ty.shape.len() + 1)?;
        ty.shape.insert(axis, 0);
        let nothing = Values::new(ty.shape, Data::empty(ty.dtype));
        Ok(self.graph.constant(nothing, "nothing"))
    }

    /// Refuses to unroll what does not get along with the room left.
    fn expect_room(&self, inner: &Inner<'_>, iterations: usize) -> Result<(), OpError> {
        let most = self.room();
        if iterations.saturating_mul(inner.size()) <= most {
            return Ok(());
        }
        Err(OpError::new(format!(
            "iterations that take at most {most} nodes when unrolled wanted, {iterations} of `{}` with {} nodes each found",
            inner.graph.name,
            inner.body.nodes.len()
        ))
        .with_help("shorten the sequence: --dim or --shape; or bound a loop that its condition ends: --bound NODE=N"))
    }

    /// One of two items by a condition that is known only when running.
    fn choose(&mut self, condition: Tensor, then: &Item, other: &Item) -> Result<Item, OpError> {
        match (then, other) {
            (Item::Tensor(a), Item::Tensor(b)) => Ok(Item::Tensor(self.choose_tensor(condition, *a, *b)?)),
            (Item::Sequence(a), Item::Sequence(b)) if a.items.len() == b.items.len() => {
                let pairs = a.items.iter().zip(&b.items);
                let items = pairs.map(|(&a, &b)| self.choose_tensor(condition, a, b));
                Ok(Item::Sequence(Sequence {
                    items: items.collect::<Result<_, _>>()?,
                    element: a.element,
                }))
            }
            (Item::Absent, Item::Absent) => Ok(Item::Absent),
            _ => Err(OpError::new(
                "values of one kind and length wanted on both sides of a condition that is known only when running, \
                 another kind of value found",
            )),
        }
    }

    fn choose_tensor(&mut self, condition: Tensor, a: Tensor, b: Tensor) -> Result<Tensor, OpError> {
        if a == b {
            return Ok(a);
        }
        let (a_type, b_type) = (self.graph.ty(a), self.graph.ty(b));
        if a_type != b_type {
            return Err(OpError::new(format!(
                "one type wanted on both sides of a condition that is known only when running, {a_type} and {b_type} \
                 found"
            ))
            .with_help("export the model with one of the sides, or pad the smaller one"));
        }
        // A scalar, so that it leaves the shape of the sides alone.
        let scalar = Op::Reshape(Reshape { shape: Vec::new() });
        let condition = self.graph.derive(condition, scalar, "scalar", "scalar")?;
        self.graph.choose(condition, a, b, "choice")
    }

    /// Names what is emitted next after a node: the graphs inside have named theirs.
    pub(super) fn name_after(&mut self, call: &Node<'_>) {
        self.graph.begin(&call.names.0, &call.names.1);
    }
}

/// Items that must be tensors.
fn tensors_of(items: &[Item]) -> Result<Vec<Tensor>, OpError> {
    items.iter().map(node::tensor).collect()
}
