//! Bodies of loops, made ready to be scheduled: what a body carries on ends where it began, so that it can run again.
//!
//! A carried value has one place, which the body reads and, in the end, writes. Most bodies compute the next value while
//! the old one is still read, so it is computed apart and moved at the end. An accumulator that gains a row each time is
//! written in place.

use std::collections::HashSet;

use crate::ir::{Handle, Node, QuantGraph};
use crate::op::quant::QuantTensor;
use crate::op::{Concat, Op, Repeat, Reshape};

type Tensor = Handle<QuantTensor>;

/// The graph with every body ready; each loop has one of its own. Nodes of the graph itself keep their positions.
///
/// What the scheduler's stages take: [`super::with_kernels`], [`super::check::program`].
pub fn ready(graph: &QuantGraph) -> QuantGraph {
    let mut out = graph.clone();
    out.bodies.clear();
    for node in &mut out.nodes {
        let Op::Repeat(repeat) = &mut node.op else {
            continue;
        };
        let mut body = ready(&graph.bodies[repeat.body]);
        repeat.body = out.bodies.len();
        take_constants(&graph.tensors, node, &mut body);
        if let Op::Repeat(repeat) = &node.op {
            carry(repeat, &mut body);
        }
        out.bodies.push(body);
    }
    out
}

/// Makes what is the same every time, and known, constants of the body; what is given twice is given once.
fn take_constants(
    tensors: &crate::ir::Arena<QuantTensor>,
    node: &mut Node<QuantTensor>,
    body: &mut QuantGraph,
) {
    let Op::Repeat(repeat) = &node.op else {
        return;
    };
    let mut at = repeat.carried;
    while let Some(&input) = node.inputs.get(at) {
        let inner = body.inputs[1 + at];
        let earlier = node.inputs[repeat.carried..at]
            .iter()
            .position(|&other| other == input);
        if let Some(data) = &tensors[input].data {
            body.tensors[inner].data = Some(data.clone());
        } else if let Some(earlier) = earlier {
            let same = body.inputs[1 + repeat.carried + earlier];
            let read = body.nodes.iter_mut().flat_map(|node| &mut node.inputs);
            read.chain(&mut body.outputs)
                .filter(|tensor| **tensor == inner)
                .for_each(|tensor| *tensor = same);
        } else {
            at += 1;
            continue;
        }
        node.inputs.remove(at);
        body.inputs.remove(1 + at);
    }
}

/// Makes every output of a body either the input that it goes on as, or a tensor of its own that may be written in that
/// input's place: nothing reads the input behind it.
fn carry(repeat: &Repeat, body: &mut QuantGraph) {
    let mut names: HashSet<String> = body.tensors.iter().map(|(_, t)| t.name.clone()).collect();
    let inputs = body.inputs[1..=repeat.carried].to_vec();
    // A body without a step cannot run.
    let nothing_to_do = body.nodes.is_empty();
    let kept: Vec<bool> = inputs
        .iter()
        .enumerate()
        .map(|(at, &input)| {
            let unchanged = body.outputs[at] == input && !(nothing_to_do && at == 0);
            unchanged || is_written_in_place(body, at, input)
        })
        .collect();
    // First aside what lies in a place that is about to be written.
    for (at, _) in kept.iter().enumerate().filter(|(_, kept)| !**kept) {
        if inputs.contains(&origin(body, body.outputs[at])) {
            body.outputs[at] = aside(body, body.outputs[at], &mut names);
        }
    }
    for (at, _) in kept.iter().enumerate().filter(|(_, kept)| !**kept) {
        let shape = body.tensors[body.outputs[at]].ty.shape.clone();
        body.outputs[at] = add(body, Op::Reshape(Reshape { shape }), body.outputs[at], &mut names);
    }
}

/// The tensor whose place a tensor may lie in: what views are views of.
fn origin(body: &QuantGraph, mut tensor: Tensor) -> Tensor {
    while let Some(position) = body.producer(tensor)
        && may_view(&body.nodes[position].op)
    {
        tensor = body.nodes[position].inputs[0];
    }
    tensor
}

/// Whether an output of the operator may lie within its first input.
fn may_view(op: &Op) -> bool {
    matches!(
        op,
        Op::Reshape(_)
            | Op::Slice(_)
            | Op::Transpose(_)
            | Op::Expand(_)
            | Op::Gather(_)
            | Op::GatherElements(_)
            | Op::GatherNd(_)
            | Op::Cast(_)
    )
}

/// Whether the output at `at` is the input that it goes on as with some rows replaced, which nothing else reads behind
/// that.
fn is_written_in_place(body: &QuantGraph, at: usize, input: Tensor) -> bool {
    let output = body.outputs[at];
    let Some(position) = body.producer(output) else {
        return false;
    };
    let node = &body.nodes[position];
    let reads_input = |&tensor: &Tensor| origin(body, tensor) == input;
    matches!(node.op, Op::Scatter(_))
        && node.inputs[0] == input
        && body.tensors[input].quantization == body.tensors[output].quantization
        && !node.inputs[1..].iter().any(reads_input)
        && body.outputs.iter().filter(|&&other| other == output).count() == 1
        && !body.outputs.iter().any(reads_input)
        && !body.nodes[position + 1..]
            .iter()
            .flat_map(|node| &node.inputs)
            .any(reads_input)
}

/// A copy in a place of its own.
fn aside(body: &mut QuantGraph, tensor: Tensor, names: &mut HashSet<String>) -> Tensor {
    let ty = body.tensors[tensor].ty.clone();
    let flat = Op::Reshape(Reshape {
        shape: vec![ty.len()],
    });
    let flat = add(body, flat, tensor, names);
    let copy = add(body, Op::Concat(Concat { axis: 0 }), flat, names);
    add(body, Op::Reshape(Reshape { shape: ty.shape }), copy, names)
}

/// Appends a node of one input that keeps the elements.
fn add(body: &mut QuantGraph, op: Op, input: Tensor, names: &mut HashSet<String>) -> Tensor {
    let from = body.tensors[input].clone();
    let mut ty = from.ty.clone();
    if let Op::Reshape(reshape) = &op {
        ty.shape.clone_from(&reshape.shape);
    }
    let name = (1..)
        .map(|number| format!("{}#{number}", from.name))
        .find(|name| names.insert(name.clone()))
        .expect("one of endlessly many names is free");
    let output = body.tensors.push(QuantTensor {
        name: name.clone(),
        ty,
        data: None,
        ..from
    });
    body.nodes.push(Node {
        name,
        op,
        inputs: vec![input],
        outputs: vec![output],
    });
    output
}
