//! The pass `deduplicate`.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::draft::{Draft, Place};
use super::edit::Tensor;
use super::limit;
use crate::ir::FloatGraph;
use crate::op::tensor::{Values, View};

/// Merges constants of equal type and elements, and nodes of equal operator and inputs.
///
/// Outputs of the graph stay apart, and so do large constants in files. Elements are compared by their bits. Exact.
pub(super) fn deduplicate(graph: &mut FloatGraph) -> usize {
    Draft::edit(graph, |graph| merge_constants(graph) + merge_nodes(graph))
}

fn merge_constants(graph: &mut Draft) -> usize {
    let mut first: HashMap<u64, Vec<Tensor>> = HashMap::new();
    let mut merged = Vec::new();
    for (handle, tensor) in graph.tensors.iter() {
        let Some(values) = &tensor.data else {
            continue;
        };
        if !limit::allows_comparison(graph, handle) {
            continue;
        }
        let alike = first.entry(hash(values)).or_default();
        let same = |&&other: &&Tensor| {
            let other = graph.tensors[other].data.as_deref();
            other.is_some_and(|other| equal(other, values))
        };
        match alike.iter().find(same) {
            Some(&other) => merged.push((handle, other)),
            None => alike.push(handle),
        }
    }
    let merge = |(old, new)| graph.replace_reads(old, new);
    merged.into_iter().map(merge).sum()
}

fn merge_nodes(graph: &mut Draft) -> usize {
    let mut first: HashMap<(String, Vec<Tensor>), Place> = HashMap::new();
    let mut count = 0;
    for position in graph.places() {
        let node = &graph.nodes[position];
        let fields = serde_json::to_string(&node.op).expect("operators have no map keys but strings");
        let key = (fields, node.inputs.clone());
        let Some(&earlier) = first.get(&key) else {
            first.insert(key, position);
            continue;
        };
        // JSON writes all numbers that are not finite alike, so equal keys are not yet equal operators.
        let same = graph.nodes[earlier].op == node.op;
        if !same || node.outputs.iter().any(|&output| graph.is_output(output)) {
            continue;
        }
        // The later node keeps its place without readers; the driver removes it.
        for i in 0..graph.nodes[position].outputs.len() {
            let (old, new) = (graph.nodes[position].outputs[i], graph.nodes[earlier].outputs[i]);
            graph.replace_reads(old, new);
        }
        count += 1;
    }
    count
}

/// A hash of the type and the first elements: what differs behind them is told apart by [`equal`].
fn hash(values: &Values) -> u64 {
    const ELEMENTS: usize = 64;
    let mut state = DefaultHasher::new();
    values.shape.hash(&mut state);
    values.data.dtype().hash(&mut state);
    let len = values.data.len().min(ELEMENTS);
    values.data.gather(0..len).to_le_bytes().hash(&mut state);
    state.finish()
}

fn equal(a: &Values, b: &Values) -> bool {
    a.shape == b.shape
        && match (a.data.view(), b.data.view()) {
            (View::F32(a), View::F32(b)) => a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())),
            (View::F64(a), View::F64(b)) => a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())),
            (View::F16(a), View::F16(b)) => a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())),
            (View::BF16(a), View::BF16(b)) => a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())),
            (a, b) => a == b,
        }
}
