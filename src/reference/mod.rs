//! The reference executor: runs the operators' `eval` over a [`FloatGraph`] on the host, in ONNX's element types.
//!
//! It gathers calibration statistics and is the FP32 side of every comparison. Same inputs, same bits, on every host
//! and at any number of threads: one run is one thread, and an [`Executor`] may serve many threads at once.

mod error;
mod prepared;

pub use error::ReferenceError;

use crate::ir::{FloatGraph, FloatTensor, Handle, Node};
use crate::op::tensor::{Data, Values};
use crate::op::{Op, OpError, Repeat};
use prepared::Prepared;

/// Told every tensor that comes about, in the order of the nodes.
pub type Observer<'o> = &'o mut dyn FnMut(Handle<FloatTensor>, &Values);

/// Runs a graph once. Who runs it often makes an [`Executor`].
///
/// # Errors
/// See [`ReferenceError`].
pub fn run(graph: &FloatGraph, inputs: &[Values]) -> Result<Vec<Values>, ReferenceError> {
    Executor::new(graph)?.run(inputs)
}

/// Runs a graph once and tells `observer` of its inputs and of every node's outputs.
///
/// # Errors
/// See [`ReferenceError`].
pub fn observe(
    graph: &FloatGraph,
    inputs: &[Values],
    observer: Observer<'_>,
) -> Result<Vec<Values>, ReferenceError> {
    Executor::new(graph)?.observe(inputs, observer)
}

/// A graph made ready for many runs: weights packed, live ranges known.
pub struct Executor<'g> {
    graph: &'g FloatGraph,
    /// One per node.
    prepared: Vec<Prepared>,
    /// By tensor: which input of the graph it is.
    inputs: Vec<Option<usize>>,
    /// Per node, the tensors that no later node reads and that are no outputs.
    dead_after: Vec<Vec<Handle<FloatTensor>>>,
    /// Of the graph's bodies.
    bodies: Vec<Self>,
}

impl<'g> Executor<'g> {
    /// Checks the nodes' types and packs constant weights.
    ///
    /// # Errors
    /// Where a node's inputs do not fit its operator.
    pub fn new(graph: &'g FloatGraph) -> Result<Self, ReferenceError> {
        let prepared = graph
            .nodes
            .iter()
            .map(|node| Prepared::new(graph, node))
            .collect::<Result<_, _>>()?;
        let mut inputs = vec![None; graph.tensors.len()];
        for (index, input) in graph.inputs.iter().enumerate() {
            inputs[input.index()].get_or_insert(index);
        }
        Ok(Self {
            graph,
            prepared,
            inputs,
            dead_after: dead_after(graph),
            bodies: graph.bodies.iter().map(Self::new).collect::<Result<_, _>>()?,
        })
    }

    /// One run: a value per graph input in, a value per graph output out, in the graph's order.
    ///
    /// # Errors
    /// Where the inputs' number, shapes or element types are not the graph's, or a node cannot act on its values.
    pub fn run(&self, inputs: &[Values]) -> Result<Vec<Values>, ReferenceError> {
        self.observe(inputs, &mut |_, _| ())
    }

    /// One run that tells `observer` of the inputs and of every node's outputs. Tensors are freed behind their last
    /// reader.
    ///
    /// # Errors
    /// As [`Executor::run`].
    pub fn observe(&self, inputs: &[Values], observer: Observer<'_>) -> Result<Vec<Values>, ReferenceError> {
        self.check_inputs(inputs)?;
        let mut tensors = Tensors {
            graph: self.graph,
            places: &self.inputs,
            inputs,
            computed: vec![None; self.graph.tensors.len()],
        };
        for (&input, values) in self.graph.inputs.iter().zip(inputs) {
            observer(input, values);
        }
        for (i, node) in self.graph.nodes.iter().enumerate() {
            let operands: Vec<&Values> = node
                .inputs
                .iter()
                .map(|&input| tensors.get(node, input))
                .collect::<Result<_, _>>()?;
            let results = match &node.op {
                Op::Repeat(repeat) => self.repeat(node, repeat, &operands)?,
                op => self.prepared[i]
                    .eval(node, &operands)
                    .map_err(|source| refused(node, op, source))?,
            };
            for (&output, values) in node.outputs.iter().zip(results) {
                let tensor = &self.graph.tensors[output];
                let found = values.ty();
                if found != tensor.ty {
                    return Err(ReferenceError::OutputType {
                        node: node.name.clone(),
                        wanted: tensor.ty.clone(),
                        found,
                    });
                }
                observer(output, &values);
                tensors.computed[output.index()] = Some(values);
            }
            for dead in &self.dead_after[i] {
                tensors.computed[dead.index()] = None;
            }
        }
        self.graph
            .outputs
            .iter()
            .map(|&output| tensors.output(output))
            .collect()
    }

    /// What a body carries in the end. Nobody is told of what is inside.
    fn repeat(
        &self,
        node: &Node<FloatTensor>,
        repeat: &Repeat,
        operands: &[&Values],
    ) -> Result<Vec<Values>, ReferenceError> {
        let Some(body) = self.bodies.get(repeat.body) else {
            let source = OpError::new(format!(
                "body {} wanted, {} found",
                repeat.body,
                self.bodies.len()
            ));
            return Err(refused(node, &node.op, source));
        };
        let mut inputs = vec![Values::new([], Data::I64(vec![0]))];
        inputs.extend(operands.iter().map(|&values| values.clone()));
        for trip in 0..repeat.trips {
            if !repeat.goes_on(&inputs[1..]) {
                break;
            }
            inputs[0] = Values::new([], Data::I64(vec![trip as i64]));
            let carried = body.run(&inputs)?;
            inputs[1..]
                .iter_mut()
                .zip(carried)
                .for_each(|(old, new)| *old = new);
        }
        inputs.truncate(1 + repeat.carried);
        inputs.remove(0);
        Ok(inputs)
    }

    fn check_inputs(&self, inputs: &[Values]) -> Result<(), ReferenceError> {
        if inputs.len() != self.graph.inputs.len() {
            return Err(ReferenceError::InputCount {
                wanted: self.graph.inputs.len(),
                found: inputs.len(),
            });
        }
        for (&input, values) in self.graph.inputs.iter().zip(inputs) {
            let tensor = &self.graph.tensors[input];
            if values.ty() != tensor.ty {
                return Err(ReferenceError::InputType {
                    name: tensor.name.clone(),
                    wanted: tensor.ty.clone(),
                    found: values.ty(),
                });
            }
        }
        Ok(())
    }
}

fn refused(node: &Node<FloatTensor>, op: &Op, source: OpError) -> ReferenceError {
    ReferenceError::Node {
        node: node.name.clone(),
        operator: op.name(),
        source,
    }
}

/// The values at hand during a run.
struct Tensors<'r> {
    graph: &'r FloatGraph,
    /// By tensor: which input of the graph it is.
    places: &'r [Option<usize>],
    inputs: &'r [Values],
    /// What nodes gave and what is still read, by tensor.
    computed: Vec<Option<Values>>,
}

impl Tensors<'_> {
    fn find(&self, tensor: Handle<FloatTensor>) -> Option<&Values> {
        let computed = self.computed[tensor.index()].as_ref();
        computed
            .or(self.graph.tensors[tensor].data.as_deref())
            .or_else(|| self.places[tensor.index()].map(|index| &self.inputs[index]))
    }

    fn get(&self, node: &Node<FloatTensor>, tensor: Handle<FloatTensor>) -> Result<&Values, ReferenceError> {
        self.find(tensor).ok_or_else(|| ReferenceError::Unset {
            tensor: self.graph.tensors[tensor].name.clone(),
            reader: format!("node `{}`", node.name),
        })
    }

    fn output(&self, tensor: Handle<FloatTensor>) -> Result<Values, ReferenceError> {
        self.find(tensor).cloned().ok_or_else(|| ReferenceError::Unset {
            tensor: self.graph.tensors[tensor].name.clone(),
            reader: "an output of the graph".into(),
        })
    }
}

/// Per node, what can be freed behind it: computed tensors that it is the last to read, or that nobody reads.
fn dead_after(graph: &FloatGraph) -> Vec<Vec<Handle<FloatTensor>>> {
    let mut dead_after = vec![Vec::new(); graph.nodes.len()];
    let mut seen = vec![false; graph.tensors.len()];
    for &output in &graph.outputs {
        seen[output.index()] = true;
    }
    for (i, node) in graph.nodes.iter().enumerate().rev() {
        for &tensor in node.inputs.iter().chain(&node.outputs) {
            if !std::mem::replace(&mut seen[tensor.index()], true) {
                dead_after[i].push(tensor);
            }
        }
    }
    dead_after
}
