//! Pools.

use super::message::{count, counts, int, ints};
use super::order::Order;
use super::writer::Writer;
use crate::ir::Node;
use crate::op::quant::QuantTensor;
use crate::op::{AveragePool, MaxPool, MaxPoolIndices, Window};
use tinsmith_proto::AttributeProto;

fn attributes(window: &Window, pads: [usize; 4], ceil_mode: bool) -> Vec<AttributeProto> {
    let mut attributes = vec![
        counts("kernel_shape", &window.kernel),
        counts("strides", &window.strides),
        counts("pads", &pads),
        int("ceil_mode", ceil_mode),
    ];
    // Which averages have had only of late.
    if window.dilations != [1, 1] {
        attributes.push(counts("dilations", &window.dilations));
    }
    attributes
}

pub(super) fn average_pool(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &AveragePool) {
    let x = w.read(node.inputs[0], Order::ChannelsFirst);
    let [top, left, bottom, right] = op.window.pads;
    let [below, beside] = op.ceil_pads;
    let pads = [
        top,
        left,
        bottom.saturating_sub(below),
        right.saturating_sub(beside),
    ];
    let mut attributes = attributes(&op.window, pads, op.ceil_pads != [0, 0]);
    attributes.push(int("count_include_pad", op.count_include_pad));
    if op.window.dilations != [1, 1] {
        w.need(19);
    }
    let dtype = w.dtype(node.outputs[0]);
    let y = w.layer("AveragePool", &[&x], attributes, op.clamp, dtype);
    w.write(node.outputs[0], Order::ChannelsFirst, y);
}

pub(super) fn max_pool(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &MaxPool) {
    let x = w.read(node.inputs[0], Order::ChannelsFirst);
    let (input, output) = (w.shape(node.inputs[0]), w.shape(node.outputs[0]));
    let (window, mut pads) = (&op.window, op.window.pads);
    // Padding as wide as the kernel, which ONNX Runtime refuses, comes of rounding up: then that is written.
    let rounds_up = (0..2).any(|axis| pads[axis + 2] >= window.kernel[axis]);
    if rounds_up {
        for axis in 0..2 {
            let last = output[1 + axis].saturating_sub(2) * window.strides[axis] + window.span()[axis] + 1;
            pads[axis + 2] = last
                .saturating_sub(input[1 + axis] + pads[axis])
                .min(pads[axis + 2]);
        }
    }
    let dtype = w.dtype(node.outputs[0]);
    let y = w.layer(
        "MaxPool",
        &[&x],
        attributes(window, pads, rounds_up),
        op.clamp,
        dtype,
    );
    w.write(node.outputs[0], Order::ChannelsFirst, y);
}

/// The second output of a pool whose first is not read. Its channels stand in front already.
pub(super) fn max_pool_indices(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &MaxPoolIndices) {
    let x = w.read(node.inputs[0], Order::Own);
    let window = &op.window;
    let extents = &w.shape(node.inputs[0])[2..];
    let behind = extents.iter().enumerate().map(|(axis, &extent)| {
        let span = (window.kernel[axis] - 1) * window.dilations[axis] + 1;
        let reach = window.output[axis].saturating_sub(1) * window.strides[axis] + span;
        (reach as i64 - window.pads[axis] - extent as i64).max(0)
    });
    let pads: Vec<i64> = window.pads.iter().copied().chain(behind).collect();
    let attributes = vec![
        counts("kernel_shape", &window.kernel),
        counts("strides", &window.strides),
        counts("dilations", &window.dilations),
        ints("pads", pads),
        count("storage_order", op.column_major.into()),
    ];
    let made = w.add_many("MaxPool", &[&x], attributes, 2);
    w.write(node.outputs[0], Order::Own, made[1].clone());
}
