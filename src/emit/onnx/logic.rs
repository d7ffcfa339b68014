//! Comparisons and choices.

use super::elementwise::pair;
use super::order::Order;
use super::writer::Writer;
use crate::ir::Node;
use crate::op::quant::QuantTensor;
use crate::op::{Compare, CompareKind};

pub(super) fn compare(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Compare) {
    let ([a, b], order) = pair(w, node);
    let op_type = match op.kind {
        CompareKind::Equal => "Equal",
        CompareKind::Less => "Less",
        CompareKind::LessOrEqual => "LessOrEqual",
    };
    let y = w.own(op_type, &[&a, &b], Vec::new());
    w.write(node.outputs[0], order, y);
}

pub(super) fn select(w: &mut Writer<'_>, node: &Node<QuantTensor>) {
    let rank = w.shape(node.outputs[0]).len();
    let order = w.order_of(&node.inputs, rank);
    let inputs: Vec<String> = node
        .inputs
        .iter()
        .map(|&input| match order {
            Order::Own => w.read(input, order),
            Order::ChannelsFirst => w.read_as(input, order, rank),
        })
        .collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let y = w.own("Where", &inputs, Vec::new());
    w.write(node.outputs[0], order, y);
}
