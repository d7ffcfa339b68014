//! Attention, written out: opset 21 has no operator for it.

use super::order::Order;
use super::statistics::attended;
use super::writer::Writer;
use crate::ir::Node;
use crate::op::quant::QuantTensor;
use crate::op::{Attention, Heads, SoftmaxKind};

/// Heads outside, whatever the order is: the way there and back is the same.
fn outside(w: &mut Writer<'_>, x: String, heads: Heads) -> String {
    match heads {
        Heads::Outside => x,
        Heads::Inside => w.permuted(&x, &[0, 2, 1, 3]),
    }
}

/// `softmax(q·kᵀ·scale + mask)·v`. Heads of q that share one of k and v are put together with it by a fifth axis.
pub(super) fn attention(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Attention) {
    let [q, k, v] = [0, 1, 2].map(|index| {
        let x = w.read(node.inputs[index], Order::Own);
        outside(w, x, op.heads[index])
    });
    let sizes = |index: usize| {
        let shape = w.shape(node.inputs[index]);
        match op.heads[index] {
            Heads::Outside => [shape[0], shape[1], shape[2], shape[3]],
            Heads::Inside => [shape[0], shape[2], shape[1], shape[3]],
        }
    };
    let ([batch, heads, queries, depth], [_, kv_heads, keys, _], [.., width]) =
        (sizes(0), sizes(1), sizes(2));
    let shared = heads / kv_heads.max(1);
    let dtype = w.dtype(node.outputs[0]);
    // One matrix of all queries that share keys.
    let rows = shared * queries;
    let q = if shared > 1 {
        w.reshaped(&q, &[batch, kv_heads, rows, depth])
    } else {
        q
    };
    let k = w.permuted(&k, &[0, 1, 3, 2]);
    let scores = w.add("MatMul", &[&q, &k], Vec::new());
    let scale = w.number("scale", op.scale.into(), dtype);
    let mut scores = w.add("Mul", &[&scores, &scale], Vec::new());
    if shared > 1 {
        scores = w.reshaped(&scores, &[batch, heads, queries, keys]);
    }
    if let Some(&mask) = node.inputs.get(3) {
        let mask = w.read(mask, Order::Own);
        scores = w.add("Add", &[&scores, &mask], Vec::new());
    }
    let mut weights = w.add("Softmax", &[&scores], vec![super::message::int("axis", -1)]);
    if op.kind == SoftmaxKind::Attended {
        weights = attended(w, weights, dtype);
    }
    if shared > 1 {
        weights = w.reshaped(&weights, &[batch, kv_heads, rows, keys]);
    }
    let mut y = w.own("MatMul", &[&weights, &v], Vec::new());
    if shared > 1 {
        y = w.reshaped(&y, &[batch, heads, queries, width]);
    }
    let y = outside(w, y, op.heads[3]);
    w.write(node.outputs[0], Order::Own, y);
}
