//! The pass `merge-resamples`.

use super::draft::{Draft, Place};
use crate::ir::FloatGraph;
use crate::op::{Op, Resample};

/// Joins a `Resample` with the one behind it along a neighbouring axis, so that integers are rounded once: what a
/// bilinear Resize means.
///
/// Refuses where something else reads the first one's result. Exact: the sums are the same.
pub(super) fn merge_resamples(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, merge)
}

fn merge(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let Op::Resample(Resample {
        first: last,
        second: None,
    }) = &node.op
    else {
        return None;
    };
    let between = node.inputs[0];
    let before = graph.producer(between)?;
    let Op::Resample(Resample { first, second: None }) = &graph.nodes[before].op else {
        return None;
    };
    if first.axis.abs_diff(last.axis) != 1 || !graph.has_one_reader(between) {
        return None;
    }
    let joined = Resample {
        first: first.clone(),
        second: Some(last.clone()),
    };
    let source = graph.nodes[before].inputs[0];
    graph.change(position, |node| {
        node.op = Op::Resample(joined);
        node.inputs[0] = source;
    });
    graph.remove(before);
    Some(())
}
