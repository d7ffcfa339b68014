//! The pass `merge-reshapes`.

use super::draft::Draft;
use crate::ir::FloatGraph;
use crate::op::Op;

/// Lets a `Reshape` behind a `Reshape` read the first one's input; the first stays for its other readers, if any.
///
/// A reshape back to the original shape is left for `remove-identities`. Exact.
pub(super) fn merge_reshapes(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, |graph, position| {
        let node = &graph.nodes[position];
        let Op::Reshape(_) = node.op else {
            return None;
        };
        let before = &graph.nodes[graph.producer(node.inputs[0])?];
        let Op::Reshape(_) = before.op else {
            return None;
        };
        let source = before.inputs[0];
        graph.change(position, |node| node.inputs[0] = source);
        Some(())
    })
}
