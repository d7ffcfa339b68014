//! The pass `fuse-activation`.

use super::edit::{absorb, sole_producer};
use super::layer::clamp;
use crate::ir::FloatGraph;
use crate::op::{Op, UnaryKind};

/// Fuses Relu and Clip into the `Conv2d`, `Dense`, `Binary`, `AveragePool`, `MaxPool` or other clamp before it, which
/// takes over the activation's name and output.
///
/// Refuses where something else reads the value before the activation. Exact.
pub(super) fn fuse_activation(graph: &mut FloatGraph) -> usize {
    let mut count = 0;
    let mut position = 0;
    while position < graph.nodes.len() {
        let node = &graph.nodes[position];
        if let Op::Unary(unary) = &node.op
            && let UnaryKind::Clamp(next) = unary.kind
            && let Some(before) = sole_producer(graph, node.inputs[0])
        {
            let mut merged = graph.nodes[before].clone();
            let fused = match &mut merged.op {
                Op::Unary(first) => match &mut first.kind {
                    UnaryKind::Clamp(first) => Some(first),
                    _ => None,
                },
                op => clamp(op),
            };
            if let Some(fused) = fused {
                *fused = fused.then(next);
                absorb(graph, before, position, merged);
                count += 1;
                // The merged node moved one place forward and may feed a clamp itself.
                continue;
            }
        }
        position += 1;
    }
    count
}
