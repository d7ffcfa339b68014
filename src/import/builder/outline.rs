//! Bodies of loops: nodes that were just added are taken out of the graph again, to be repeated by one node.

use std::collections::{BTreeMap, BTreeSet};

use super::{Builder, Tensor};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node};
use crate::op::tensor::TensorType;
use crate::op::{Op, OpError, Repeat};

/// How the graph was before something was added to it.
pub(in super::super) struct Mark {
    nodes: usize,
    bodies: usize,
    further_outputs: usize,
    derived: BTreeMap<Tensor, Vec<(Op, Tensor)>>,
}

/// A value that a loop carries.
#[derive(Clone, Copy)]
pub(in super::super) struct Carried {
    /// What it starts with.
    pub(in super::super) start: Tensor,
    /// What stands for it in the body.
    pub(in super::super) now: Tensor,
    /// What the body makes of it.
    pub(in super::super) next: Tensor,
}

impl Builder {
    /// How the graph is now.
    pub(in super::super) fn mark(&self) -> Mark {
        Mark {
            nodes: self.graph.nodes.len(),
            bodies: self.graph.bodies.len(),
            further_outputs: self.further_outputs.len(),
            derived: self.derived.clone(),
        }
    }

    /// Takes back all nodes since then.
    pub(in super::super) fn undo(&mut self, mark: Mark) {
        self.graph.nodes.truncate(mark.nodes);
        self.graph.bodies.truncate(mark.bodies);
        self.further_outputs.truncate(mark.further_outputs);
        self.derived = mark.derived;
        for producer in &mut self.producers {
            producer.take_if(|position| *position >= mark.nodes);
        }
    }

    /// A tensor that stands for something inside a body.
    pub(in super::super) fn stand_in(&mut self, ty: TensorType, role: &str) -> Tensor {
        let name = self.tensor_name(role);
        self.tensor(name, ty, None)
    }

    /// Takes the nodes since then that depend on the counter or on what is carried out of the graph, and has one node
    /// repeat them; gives what is carried in the end. What does not depend on them is computed once, before.
    pub(in super::super) fn outline(
        &mut self,
        mark: Mark,
        counter: Tensor,
        carried: &[Carried],
        (trips, conditional): (usize, bool),
    ) -> Result<Vec<Tensor>, OpError> {
        if self.further_outputs.len() > mark.further_outputs {
            return Err(OpError::new(
                "a body without counts that become outputs of the model wanted, one found",
            ));
        }
        for &Carried { start, next, .. } in carried {
            let (first, later) = (self.ty(start), self.ty(next));
            if first != later || first.is_empty() {
                return Err(OpError::new(format!(
                    "carried values of one type wanted, {first} and then {later} found"
                ))
                .with_help("carry a tensor of the full length instead"));
            }
        }
        let added = self.graph.nodes.split_off(mark.nodes);
        let mut bodies: Vec<Option<FloatGraph>> = self
            .graph
            .bodies
            .split_off(mark.bodies)
            .into_iter()
            .map(Some)
            .collect();
        // What was derived inside is not there for those outside.
        self.derived = mark.derived;
        let mut varies: BTreeSet<Tensor> = carried.iter().map(|carried| carried.now).collect();
        varies.insert(counter);
        let mut inside = Vec::new();
        for mut node in added {
            let is_inside = node.inputs.iter().any(|input| varies.contains(input));
            if is_inside {
                varies.extend(&node.outputs);
                node.outputs
                    .iter()
                    .for_each(|output| self.producers[output.index()] = None);
                inside.push(node);
                continue;
            }
            if let Op::Repeat(repeat) = &mut node.op {
                repeat.body = move_body(&mut bodies, mark.bodies, repeat.body, &mut self.graph.bodies);
            }
            node.outputs
                .iter()
                .for_each(|output| self.producers[output.index()] = Some(self.graph.nodes.len()));
            self.graph.nodes.push(node);
        }
        let mut body = Body::new(&self.graph);
        body.input(counter);
        carried.iter().for_each(|carried| body.input(carried.now));
        let needed = needed(&inside, carried.iter().map(|carried| carried.next));
        let mut given = Vec::new();
        let mut taken = Vec::new();
        for mut node in inside {
            if !node.outputs.iter().any(|output| needed.contains(output)) {
                continue;
            }
            if let Op::Repeat(repeat) = &mut node.op {
                repeat.body = move_body(&mut bodies, mark.bodies, repeat.body, &mut taken);
            }
            body.node(&node, &mut given);
        }
        for carried in carried {
            let output = body.read(carried.next, &mut given);
            body.made.outputs.push(output);
        }
        let mut made = body.made;
        made.bodies = taken;
        let repeat = Op::Repeat(Repeat {
            body: self.graph.bodies.len(),
            carried: carried.len(),
            trips,
            conditional,
        });
        self.graph.bodies.push(made);
        let types: Vec<TensorType> = carried
            .iter()
            .map(|carried| self.ty(carried.start).clone())
            .collect();
        let inputs: Vec<Tensor> = carried.iter().map(|carried| carried.start).chain(given).collect();
        let position = self.graph.nodes.len();
        let mut outputs = Vec::with_capacity(types.len());
        for ty in types {
            let output = self.stand_in(ty, "carried");
            self.producers[output.index()] = Some(position);
            outputs.push(output);
        }
        let name = self.node_names.unique(&self.node);
        self.graph.nodes.push(Node {
            name,
            op: repeat,
            inputs,
            outputs: outputs.clone(),
        });
        Ok(outputs)
    }
}

/// Moves a body of those that begin at `first` to others; gives its number there.
fn move_body(
    bodies: &mut [Option<FloatGraph>],
    first: usize,
    body: usize,
    to: &mut Vec<FloatGraph>,
) -> usize {
    to.extend(bodies[body - first].take());
    to.len() - 1
}

/// What must be computed for these.
fn needed(nodes: &[Node<FloatTensor>], ends: impl Iterator<Item = Tensor>) -> BTreeSet<Tensor> {
    let mut needed: BTreeSet<Tensor> = ends.collect();
    for node in nodes.iter().rev() {
        if node.outputs.iter().any(|output| needed.contains(output)) {
            needed.extend(&node.inputs);
        }
    }
    needed
}

/// A body as it grows.
struct Body<'g> {
    around: &'g FloatGraph,
    made: FloatGraph,
    /// By tensor around: what it is inside.
    inner: BTreeMap<Tensor, Handle<FloatTensor>>,
}

impl<'g> Body<'g> {
    fn new(around: &'g FloatGraph) -> Self {
        Self {
            around,
            made: FloatGraph::new("body"),
            inner: BTreeMap::new(),
        }
    }

    fn tensor(&mut self, tensor: Tensor) -> Handle<FloatTensor> {
        let inner = self.made.tensors.push(self.around.tensors[tensor].clone());
        self.inner.insert(tensor, inner);
        inner
    }

    fn input(&mut self, tensor: Tensor) {
        let inner = self.tensor(tensor);
        self.made.inputs.push(inner);
    }

    /// A tensor inside; what comes from around becomes an input, and is noted. Constants are at hand.
    fn read(&mut self, tensor: Tensor, given: &mut Vec<Tensor>) -> Handle<FloatTensor> {
        if let Some(&known) = self.inner.get(&tensor) {
            return known;
        }
        if self.around.tensors[tensor].data.is_none() {
            given.push(tensor);
            self.input(tensor);
        } else {
            self.tensor(tensor);
        }
        self.inner[&tensor]
    }

    fn node(&mut self, node: &Node<FloatTensor>, given: &mut Vec<Tensor>) {
        let inputs = node.inputs.iter().map(|&input| self.read(input, given)).collect();
        let outputs = node.outputs.iter().map(|&output| self.tensor(output)).collect();
        self.made.nodes.push(Node {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs,
            outputs,
        });
    }
}
