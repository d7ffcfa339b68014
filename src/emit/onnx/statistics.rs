//! What computes over many elements: reductions, running sums, normalizations, softmax.

use super::message::{count, float, int};
use super::no_form;
use super::order::{Order, axis_in};
use super::writer::Writer;
use crate::ir::Node;
use crate::op::quant::QuantTensor;
use crate::op::tensor::{DType, Values};
use crate::op::{BatchNormalization, Cumulate, LayerNorm, OpError, Reduce, ReduceKind, Softmax, SoftmaxKind};

pub(super) fn reduce(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Reduce) {
    let rank = w.shape(node.inputs[0]).len();
    let order = w.order_of(&node.inputs, rank);
    let x = w.read(node.inputs[0], order);
    let op_type = match op.kind {
        ReduceKind::Sum => "ReduceSum",
        ReduceKind::Mean => "ReduceMean",
        ReduceKind::Max => "ReduceMax",
        ReduceKind::Min => "ReduceMin",
        ReduceKind::Prod => "ReduceProd",
    };
    let mut axes: Vec<usize> = op.axes.iter().map(|&axis| axis_in(order, axis, rank)).collect();
    axes.sort_unstable();
    let is_nothing = int("noop_with_empty_axes", axes.is_empty());
    let axes = w.counts("axes", &axes);
    let y = w.own(op_type, &[&x, &axes], vec![int("keepdims", 1), is_nothing]);
    w.write(node.outputs[0], order, y);
}

pub(super) fn cumulate(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Cumulate) -> Result<(), OpError> {
    if op.product {
        return Err(no_form("a running product"));
    }
    let x = w.read(node.inputs[0], Order::Own);
    let axis = w.number("axis", op.axis as f64, DType::I64);
    let attributes = vec![int("exclusive", op.exclusive), int("reverse", op.reverse)];
    let y = w.own("CumSum", &[&x, &axis], attributes);
    w.write(node.outputs[0], Order::Own, y);
    Ok(())
}

pub(super) fn batch_norm(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &BatchNormalization) {
    let mut inputs = vec![w.read(node.inputs[0], Order::ChannelsFirst)];
    inputs.extend(node.inputs[1..].iter().map(|&input| w.read(input, Order::Own)));
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let y = w.own("BatchNormalization", &inputs, vec![float("epsilon", op.epsilon)]);
    w.write(node.outputs[0], Order::ChannelsFirst, y);
}

pub(super) fn layer_norm(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &LayerNorm) {
    let mut inputs: Vec<String> = node
        .inputs
        .iter()
        .map(|&input| w.read(input, Order::Own))
        .collect();
    if inputs.len() == 1 {
        let ty = &w.tensor(node.inputs[0]).ty;
        let shape = ty.shape[op.axis..].to_vec();
        let ones = Values::f32(shape.clone(), vec![1.0; shape.iter().product()]);
        let ones = Values::new(shape, ones.data.cast(w.dtype(node.inputs[0])));
        inputs.push(w.constant("ones", &ones));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let attributes = vec![count("axis", op.axis), float("epsilon", op.epsilon)];
    let y = w.own("LayerNormalization", &inputs, attributes);
    w.write(node.outputs[0], Order::Own, y);
}

pub(super) fn softmax(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Softmax) {
    let rank = w.shape(node.inputs[0]).len();
    let order = w.order_of(&node.inputs, rank);
    let x = w.read(node.inputs[0], order);
    let op_type = match op.kind {
        SoftmaxKind::Probability | SoftmaxKind::Attended => "Softmax",
        SoftmaxKind::Logarithm => "LogSoftmax",
        SoftmaxKind::Greatest => "Hardmax",
    };
    let mut y = w.own(op_type, &[&x], vec![count("axis", axis_in(order, op.axis, rank))]);
    if op.kind == SoftmaxKind::Attended {
        y = attended(w, y, w.dtype(node.outputs[0]));
    }
    w.write(node.outputs[0], order, y);
}

/// Probabilities with 0 where there is none: a line of nothing but −∞ gives NaN.
pub(super) fn attended(w: &mut Writer<'_>, y: String, dtype: DType) -> String {
    let is_nothing = w.add("IsNaN", &[&y], Vec::new());
    let zero = w.number("zero", 0.0, dtype);
    w.add("Where", &[&is_nothing, &zero, &y], Vec::new())
}

/// A range of an axis.
pub(super) fn part(w: &mut Writer<'_>, x: &str, axis: usize, range: std::ops::Range<usize>) -> String {
    let (starts, ends) = (w.counts("start", &[range.start]), w.counts("end", &[range.end]));
    let axes = w.counts("axis", &[axis]);
    w.add("Slice", &[x, &starts, &ends, &axes], Vec::new())
}

/// Values one after the other.
pub(super) fn joined(w: &mut Writer<'_>, parts: &[&str], axis: usize) -> String {
    w.add("Concat", parts, vec![count("axis", axis)])
}
