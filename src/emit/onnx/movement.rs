//! What moves elements: shapes, axes, slices, pads.

use super::elementwise::plain;
use super::message::{count, counts, int, word};
use super::order::{Order, axes_in, axis_in, to_channels_first};
use super::writer::Writer;
use crate::ir::Node;
use crate::op::quant::QuantTensor;
use crate::op::{Concat, Expand, Pad, PadMode, Reshape, Slice, Transpose, Trilu};

/// The same elements. Without another shape there is only a change of parameters, which needs no node.
pub(super) fn reshape(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Reshape) {
    let (input, output) = (node.inputs[0], node.outputs[0]);
    if w.shape(input) == w.shape(output) {
        if w.alias(output, input) {
            return;
        }
        let order = w.order_of(&node.inputs, op.shape.len());
        let x = w.read(input, order);
        w.write(output, order, x);
        return;
    }
    let x = w.read(input, Order::Own);
    let allows_zero = op.shape.contains(&0);
    let shape = w.counts("shape", &op.shape);
    let y = w.own("Reshape", &[&x, &shape], vec![int("allowzero", allows_zero)]);
    w.write(output, Order::Own, y);
}

/// Axes in another order, and that is also what reading channels first takes back.
pub(super) fn transpose(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Transpose) {
    let order = w.order_of(&node.inputs, op.perm.len());
    let x = w.read(node.inputs[0], order);
    let perm: Vec<usize> = match order {
        Order::Own => op.perm.clone(),
        Order::ChannelsFirst => {
            let stored = to_channels_first(op.perm.len());
            let place = |axis: &usize| stored.iter().position(|own| own == axis).unwrap_or(*axis);
            op.perm.iter().map(place).collect()
        }
    };
    let is_identity = perm.iter().copied().eq(0..perm.len());
    let y = if is_identity {
        x
    } else {
        w.own("Transpose", &[&x], vec![counts("perm", &perm)])
    };
    w.write(node.outputs[0], Order::Own, y);
}

pub(super) fn concat(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Concat) {
    let rank = w.shape(node.outputs[0]).len();
    let order = w.order_of(&node.inputs, rank);
    let inputs: Vec<String> = node.inputs.iter().map(|&input| w.read(input, order)).collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let axis = count("axis", axis_in(order, op.axis, rank));
    let y = w.own("Concat", &inputs, vec![axis]);
    w.write(node.outputs[0], order, y);
}

pub(super) fn expand(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Expand) {
    let x = w.read(node.inputs[0], Order::Own);
    let shape = w.counts("shape", &op.shape);
    let y = w.own("Expand", &[&x, &shape], Vec::new());
    w.write(node.outputs[0], Order::Own, y);
}

pub(super) fn pad(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Pad) {
    let order = w.order_of(&node.inputs, op.before.len());
    let x = w.read(node.inputs[0], order);
    let pads = [axes_in(order, &op.before), axes_in(order, &op.after)].concat();
    let pads = w.counts("pads", &pads);
    let y = match op.mode {
        PadMode::Constant(value) => {
            let value = w.number("value", value.into(), w.dtype(node.inputs[0]));
            w.own("Pad", &[&x, &pads, &value], vec![word("mode", "constant")])
        }
        PadMode::Edge => w.own("Pad", &[&x, &pads], vec![word("mode", "edge")]),
        PadMode::Reflect => w.own("Pad", &[&x, &pads], vec![word("mode", "reflect")]),
        PadMode::Wrap => {
            w.need(19);
            w.own("Pad", &[&x, &pads], vec![word("mode", "wrap")])
        }
    };
    w.write(node.outputs[0], order, y);
}

/// Only the axes that are cut.
pub(super) fn slice(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Slice) {
    let order = w.order_of(&node.inputs, op.starts.len());
    let x = w.read(node.inputs[0], order);
    let shape = axes_in(order, w.shape(node.inputs[0]));
    let (starts, steps, outputs) = (
        axes_in(order, &op.starts),
        axes_in(order, &op.steps),
        axes_in(order, &op.shape),
    );
    let cut = |&axis: &usize| starts[axis] != 0 || steps[axis] != 1 || outputs[axis] != shape[axis];
    let axes: Vec<usize> = (0..shape.len()).filter(cut).collect();
    // Behind the last element; in front of the first one, where the steps go back, is what nothing else can mean.
    let end = |axis: usize| {
        let end = starts[axis] as i64 + steps[axis] * outputs[axis] as i64;
        if end < 0 { i64::MIN } else { end }
    };
    let begins = w.ints("starts", axes.iter().map(|&axis| starts[axis] as i64));
    let ends = w.ints("ends", axes.iter().map(|&axis| end(axis)));
    let strides = w.ints("steps", axes.iter().map(|&axis| steps[axis]));
    let axes = w.counts("axes", &axes);
    let y = w.own("Slice", &[&x, &begins, &ends, &axes, &strides], Vec::new());
    w.write(node.outputs[0], order, y);
}

pub(super) fn trilu(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Trilu) {
    let x = w.read(node.inputs[0], Order::Own);
    let diagonal = w.ints("diagonal", [op.diagonal]);
    let diagonal = w.add("Squeeze", &[&diagonal], Vec::new());
    let y = w.own("Trilu", &[&x, &diagonal], vec![int("upper", op.upper)]);
    w.write(node.outputs[0], Order::Own, y);
}

/// A node whose inputs and output are as they are.
pub(super) fn as_it_is(w: &mut Writer<'_>, node: &Node<QuantTensor>, op_type: &str, axis: usize) {
    plain(w, node, op_type, vec![count("axis", axis)]);
}
