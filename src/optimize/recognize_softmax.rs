//! The pass `recognize-softmax`.

use super::draft::{Draft, Place};
use super::edit::{Tensor, operands};
use crate::ir::FloatGraph;
use crate::op::{BinaryKind, Op, ReduceKind, Softmax, UnaryKind};

/// Makes one `Softmax` of the nodes that exporters write it in: `exp(x − max(x)) / Σ exp(x − max(x))` along one axis, with
/// or without the subtraction.
///
/// Intermediate results may have other readers; they stay for those. Approximate where nothing was subtracted: the
/// softmax does, and so does not overflow.
pub(super) fn recognize_softmax(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, |graph, position| {
        let (x, axis) = softmax(graph, position)?;
        graph.change(position, |node| {
            node.op = Op::Softmax(Softmax::along(axis));
            node.inputs = vec![x];
        });
        Some(())
    })
}

/// What a division is the softmax of, and along which axis.
fn softmax(graph: &Draft, position: Place) -> Option<(Tensor, usize)> {
    let [exponentials, sum] = operands(graph, position, BinaryKind::Div)?;
    let axis = reduced(graph, sum, exponentials, ReduceKind::Sum)?;
    let producer = &graph.nodes[graph.producer(exponentials)?];
    let Op::Unary(unary) = &producer.op else {
        return None;
    };
    if unary.kind != UnaryKind::Exp {
        return None;
    }
    let exponent = producer.inputs[0];
    let difference = graph.producer(exponent).and_then(|difference| {
        let [x, most] = operands(graph, difference, BinaryKind::Sub)?;
        (reduced(graph, most, x, ReduceKind::Max)? == axis).then_some(x)
    });
    Some((difference.unwrap_or(exponent), axis))
}

/// The one axis along which `reduced` reduces `x`.
fn reduced(graph: &Draft, reduced: Tensor, x: Tensor, kind: ReduceKind) -> Option<usize> {
    let node = &graph.nodes[graph.producer(reduced)?];
    let Op::Reduce(reduce) = &node.op else {
        return None;
    };
    match reduce.axes[..] {
        [axis] if reduce.kind == kind && node.inputs[0] == x => Some(axis),
        _ => None,
    }
}
