//! The pass `fuse-activation`.

use super::draft::{Draft, Place};
use super::edit::{absorb, sole_producer};
use super::layer::clamp;
use crate::ir::FloatGraph;
use crate::op::{Op, UnaryKind};

/// Fuses Relu and Clip into the `Conv2d`, `Dense`, `Binary`, `AveragePool`, `MaxPool` or other clamp before it, which
/// takes over the activation's name and output.
///
/// Refuses where something else reads the value before the activation. Exact.
pub(super) fn fuse_activation(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, fuse)
}

fn fuse(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let Op::Unary(unary) = &node.op else {
        return None;
    };
    let next = unary.kind.clamp()?;
    let before = sole_producer(graph, node.inputs[0])?;
    let mut merged = graph.nodes[before].clone();
    let fused = match &mut merged.op {
        Op::Unary(first) => match &mut first.kind {
            UnaryKind::Clamp(first) => Some(first),
            _ => None,
        },
        op => clamp(op),
    }?;
    *fused = fused.then(next);
    absorb(graph, before, position, merged);
    Some(())
}
