//! Asks every operator for its kernels and gathers what stands in the way, all of it at once.

use super::edges::{self, Edges};
use super::{InexactNode, ScheduleError};
use crate::ir::{Node, Problem, QuantGraph};
use crate::op::quant::QuantTensor;
use crate::op::{Lowered, OpError};
use crate::target::Target;

/// The kernels of every node, in the graph's order. Transposes left to the caller have none.
pub(super) fn nodes(
    target: &Target,
    graph: &QuantGraph,
    edges: &Edges,
    allow_inexact: bool,
) -> Result<Vec<Lowered>, ScheduleError> {
    let mut lowered = Vec::with_capacity(graph.nodes.len());
    let mut problems = Vec::new();
    for (node, &left_out) in graph.nodes.iter().zip(&edges.left_out) {
        if left_out {
            lowered.push(Lowered::default());
            continue;
        }
        let tensors =
            |handles: &[_]| -> Vec<&QuantTensor> { handles.iter().map(|&h| &graph.tensors[h]).collect() };
        match node
            .op
            .lower(target, &tensors(&node.inputs), &tensors(&node.outputs))
        {
            Ok(mut kernels) if graph.body(node).is_some() => {
                match body(target, graph, node, allow_inexact) {
                    Ok(body) => kernels.body = body,
                    Err(ScheduleError::Unsupported(inner)) => problems.extend(inner),
                    Err(other) => return Err(other),
                }
                lowered.push(kernels);
            }
            Ok(kernels) if node.outputs.len() == 1 => lowered.push(kernels),
            Ok(_) => problems.push(problem(
                node,
                OpError::new("a kernel has one output, the node has several"),
            )),
            Err(error) => problems.extend(error.0.into_iter().map(|error| problem(node, error))),
        }
    }
    let made = graph.nodes.iter().flat_map(|node| &node.outputs);
    for &tensor in graph.inputs.iter().chain(made) {
        let tensor = &graph.tensors[tensor];
        if tensor.ty.is_empty() {
            problems.push(Problem {
                node: tensor.name.clone(),
                operator: "tensor".into(),
                reason: format!(
                    "it holds no elements ({}): a device has no place for nothing",
                    tensor.ty
                ),
                help: Some("remove it from the model's inputs and outputs".into()),
            });
        }
    }
    for &output in &edges.outputs {
        let tensor = &graph.tensors[output];
        if tensor.data.is_some() {
            problems.push(Problem {
                node: tensor.name.clone(),
                operator: "output".into(),
                reason: "the output does not depend on any input: it is a constant".into(),
                help: Some("remove it from the model's outputs".into()),
            });
        }
    }
    if !problems.is_empty() {
        return Err(ScheduleError::Unsupported(problems));
    }
    let inexact = inexact_nodes(graph, &lowered);
    if !inexact.is_empty() && !allow_inexact {
        return Err(ScheduleError::Inexact(inexact));
    }
    Ok(lowered)
}

/// The kernels of the nodes of a loop's body. What is carried on is computed where it belongs, never viewed.
fn body(
    target: &Target,
    graph: &QuantGraph,
    node: &Node<QuantTensor>,
    allow_inexact: bool,
) -> Result<Vec<Lowered>, ScheduleError> {
    let Some((repeat, body)) = graph.body(node) else {
        return Ok(Vec::new());
    };
    let edges = edges::of_body(body, repeat);
    let mut lowered = nodes(target, body, &edges, allow_inexact)?;
    let mut problems = Vec::new();
    for (node, kernels) in body.nodes.iter().zip(&mut lowered) {
        if body.outputs.contains(&node.outputs[0]) {
            kernels.view = None;
        }
        if kernels.calls.iter().any(|call| call.state_bytes > 0) {
            let error = OpError::new("keeps a state from run to run, inside a loop");
            problems.push(problem(
                node,
                error.with_help("carry the state through the loop instead"),
            ));
        }
    }
    if problems.is_empty() {
        Ok(lowered)
    } else {
        Err(ScheduleError::Unsupported(problems))
    }
}

fn problem(node: &Node<QuantTensor>, error: OpError) -> Problem {
    Problem {
        node: node.name.clone(),
        operator: node.op.name().into(),
        reason: error.reason,
        help: error.help,
    }
}

fn inexact_nodes(graph: &QuantGraph, lowered: &[Lowered]) -> Vec<InexactNode> {
    let nodes = graph.nodes.iter().zip(lowered);
    nodes
        .filter(|(_, kernels)| !kernels.proof.inexact.is_empty())
        .map(|(node, kernels)| InexactNode {
            node: node.name.clone(),
            channels: kernels
                .proof
                .inexact
                .iter()
                .map(|channel| channel.channel)
                .collect(),
        })
        .collect()
}
