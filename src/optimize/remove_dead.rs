//! The pass `remove-dead`.

use crate::ir::{Arena, FloatGraph, FloatTensor, Handle};

/// Removes nodes whose outputs nothing reads, and tensors that nothing names.
///
/// Inputs and outputs of the graph stay. Handles change; the driver runs it behind every pass that rewrote something,
/// so that no pass sees dead readers. Exact.
pub(super) fn remove_dead(graph: &mut FloatGraph) -> usize {
    let mut needed = vec![false; graph.tensors.len()];
    for tensor in graph.inputs.iter().chain(&graph.outputs) {
        needed[tensor.index()] = true;
    }
    let mut live = vec![false; graph.nodes.len()];
    for (node, live) in graph.nodes.iter().zip(&mut live).rev() {
        *live = node.outputs.iter().any(|output| needed[output.index()]);
        if *live {
            for tensor in node.inputs.iter().chain(&node.outputs) {
                needed[tensor.index()] = true;
            }
        }
    }
    let before = graph.nodes.len();
    let mut flags = live.into_iter();
    graph.nodes.retain(|_| flags.next().expect("one flag per node"));
    if needed.contains(&false) {
        drop_tensors(graph, &needed);
    }
    before - graph.nodes.len()
}

fn drop_tensors(graph: &mut FloatGraph, needed: &[bool]) {
    let mut kept = Arena::default();
    let moved: Vec<Option<Handle<FloatTensor>>> = std::mem::take(&mut graph.tensors)
        .into_iter()
        .zip(needed)
        .map(|(tensor, &needed)| needed.then(|| kept.push(tensor)))
        .collect();
    graph.tensors = kept;
    let nodes = graph.nodes.iter_mut();
    let named = nodes
        .flat_map(|node| node.inputs.iter_mut().chain(&mut node.outputs))
        .chain(&mut graph.inputs)
        .chain(&mut graph.outputs);
    for tensor in named {
        *tensor = moved[tensor.index()].expect("whatever a node or an end names was marked as needed");
    }
}
