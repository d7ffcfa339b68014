//! Outputs of the model, and what remains of the graph: what they depend on.

use std::collections::BTreeSet;

use tinsmith_proto::GraphProto;

use super::builder::{Builder, Tensor};
use super::inputs::{check_dense, declared_element, problem};
use super::node;
use super::scope::Scopes;
use super::tensors::dtype;
use crate::ir::{FloatGraph, Problem};
use crate::op::tensor::Values;
use crate::op::{Op, OpError, Reshape};

/// The model's outputs with their names; problems are noted.
pub(super) fn outputs(
    onnx: &GraphProto,
    values: &Scopes,
    problems: &mut Vec<Problem>,
) -> Vec<(String, Tensor, Option<i32>)> {
    let mut outputs: Vec<(String, Tensor, Option<i32>)> = Vec::new();
    let mut names = BTreeSet::new();
    for info in &onnx.output {
        if let Err(error) = check_dense(info) {
            problems.push(problem(&info.name, "output", error));
            continue;
        }
        let error = match values.find(&info.name) {
            Some(Some(_)) if !names.insert(info.name.as_str()) => {
                OpError::new("a name of its own wanted, none found")
            }
            Some(Some(item)) => match node::tensor(item) {
                Ok(tensor) => {
                    outputs.push((info.name.clone(), tensor, declared_element(info)));
                    continue;
                }
                Err(error) => error,
            },
            Some(None) => continue,
            None => OpError::new("a value of the model wanted, nothing makes it"),
        };
        problems.push(problem(&info.name, "output", error));
    }
    if onnx.output.is_empty() {
        let error = OpError::new("at least one output wanted, none found");
        problems.push(problem(&onnx.name, "model", error));
    }
    outputs
}

/// Makes every output a tensor of its own under its own name, and drops what none depends on.
pub(super) fn finish(
    mut builder: Builder,
    outputs: Vec<(String, Tensor, Option<i32>)>,
) -> Result<FloatGraph, Vec<Problem>> {
    let mut problems = Vec::new();
    let further = std::mem::take(&mut builder.further_outputs);
    let further = further.into_iter().map(|(name, tensor)| (name, tensor, None));
    // Inputs, and what is an output already.
    let mut ends: BTreeSet<Tensor> = builder.graph.inputs.iter().copied().collect();
    for (name, tensor, element) in outputs.into_iter().chain(further) {
        match output(&mut builder, &name, tensor, element, ends.contains(&tensor)) {
            Ok(output) => {
                builder.graph.outputs.push(output);
                ends.insert(output);
            }
            Err(error) => problems.push(problem(&name, "output", error)),
        }
    }
    if problems.is_empty() {
        Ok(sweep(builder.graph))
    } else {
        Err(problems)
    }
}

/// The tensor that stands for an output; `shared` where the value is an input or another output too.
fn output(
    builder: &mut Builder,
    name: &str,
    tensor: Tensor,
    element: Option<i32>,
    shared: bool,
) -> Result<Tensor, OpError> {
    if let Some(element) = element {
        let (declared, computed) = (dtype(element)?, builder.ty(tensor).dtype);
        if declared != computed {
            return Err(OpError::new(format!(
                "the declared type {declared} wanted, {computed} found"
            )));
        }
    }
    let constant = builder.constant_of(tensor).map(|values| Values::clone(values));
    if shared && builder.graph.tensors[tensor].name == name {
        // An input under its own name is both.
        return Ok(tensor);
    }
    Ok(if let Some(values) = constant {
        // A copy of its own: other nodes may read the constant, or another output be the same one.
        if builder.graph.tensors[tensor].name == name {
            let kept = format!("{name}/value");
            builder.rename_fresh(tensor, &kept);
        }
        builder.tensor(name.to_owned(), values.ty(), Some(values))
    } else if shared {
        // An input, or the same value under two names: a copy of its own.
        let shape = builder.shape(tensor).to_vec();
        builder.begin(name, name);
        builder.emit(Op::Reshape(Reshape { shape }), &[tensor], "")?
    } else {
        builder.rename(tensor, name);
        tensor
    })
}

/// The graph without nodes that no output depends on, and without tensors that no node names.
fn sweep(graph: FloatGraph) -> FloatGraph {
    let mut used = vec![false; graph.tensors.len()];
    for tensor in graph.inputs.iter().chain(&graph.outputs) {
        used[tensor.index()] = true;
    }
    let mut nodes = Vec::new();
    for node in graph.nodes.into_iter().rev() {
        if node.outputs.iter().any(|output| used[output.index()]) {
            for tensor in node.inputs.iter().chain(&node.outputs) {
                used[tensor.index()] = true;
            }
            nodes.push(node);
        }
    }
    nodes.reverse();
    let mut kept = FloatGraph::new(graph.name);
    let moved: Vec<Option<Tensor>> = graph
        .tensors
        .iter()
        .map(|(handle, tensor)| used[handle.index()].then(|| kept.tensors.push(tensor.clone())))
        .collect();
    let place = |tensor: &mut Tensor| *tensor = moved[tensor.index()].expect("used tensors are kept");
    let (mut inputs, mut outputs) = (graph.inputs, graph.outputs);
    for node in &mut nodes {
        node.inputs.iter_mut().chain(&mut node.outputs).for_each(place);
    }
    inputs.iter_mut().chain(&mut outputs).for_each(place);
    FloatGraph {
        nodes,
        inputs,
        outputs,
        bodies: graph.bodies,
        notes: graph.notes,
        metadata: graph.metadata,
        ..kept
    }
}
