//! The pass `merge-reshapes`.

use crate::ir::FloatGraph;
use crate::op::Op;

/// Lets a `Reshape` behind a `Reshape` read the first one's input; the first stays for its other readers, if any.
///
/// A reshape back to the original shape is left for `remove-identities`. Exact.
pub(super) fn merge_reshapes(graph: &mut FloatGraph) -> usize {
    let mut count = 0;
    for position in 0..graph.nodes.len() {
        let node = &graph.nodes[position];
        if let Op::Reshape(_) = node.op
            && let Some(before) = graph.producer(node.inputs[0])
            && let Op::Reshape(_) = graph.nodes[before].op
        {
            graph.nodes[position].inputs[0] = graph.nodes[before].inputs[0];
            count += 1;
        }
    }
    count
}
