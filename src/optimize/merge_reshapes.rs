//! The pass `merge-reshapes`.

use super::draft::{Draft, Place};
use crate::ir::FloatGraph;
use crate::op::Op;

/// Lets a `Reshape` behind a `Reshape` read the first one's input; the first stays for its other readers, if any.
///
/// A reshape back to the original shape is left for `remove-identities`. Exact.
pub(super) fn merge_reshapes(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, merge)
}

/// Lets the `Reshape` at `position` read what the one before it reads.
pub(super) fn merge(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let Op::Reshape(_) = node.op else {
        return None;
    };
    let first = graph.producer(node.inputs[0])?;
    let Op::Reshape(_) = graph.nodes[first].op else {
        return None;
    };
    let source = graph.nodes[first].inputs[0];
    graph.change(position, |node| node.inputs[0] = source);
    if graph.is_dead(first) {
        graph.remove(first);
    }
    Some(())
}
