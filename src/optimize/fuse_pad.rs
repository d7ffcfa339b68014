//! The pass `fuse-pad`.

use super::draft::{Draft, Place};
use super::edit::{absorb, is_per_tensor, shape, sole_producer};
use crate::ir::FloatGraph;
use crate::op::{Op, Pad, PadMode, Window};

/// Fuses a `Pad` of rows and columns into the window of the layer behind it: zeros into a `Conv2d` and into an
/// `AveragePool` that counts its padding (or has none yet, and then counts it), minus infinity into a `MaxPool`.
///
/// Between a pad of zeros and its layer there may be a `QuantizeLinear` and the `DequantizeLinear` of the same
/// parameters, as in QDQ models: zero comes through the two as zero.
///
/// Refuses other pads, other axes, and a padded tensor that something else reads. Exact.
pub(super) fn fuse_pad(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, fuse)
}

fn fuse(graph: &mut Draft, position: Place) -> Option<()> {
    let mut merged = graph.nodes[position].clone();
    let nearest = sole_producer(graph, *merged.inputs.first()?)?;
    let quantize = quantize_before(graph, nearest);
    let before = match quantize {
        Some(quantize) => sole_producer(graph, graph.nodes[quantize].inputs[0])?,
        None => nearest,
    };
    let Op::Pad(pad) = &graph.nodes[before].op else {
        return None;
    };
    let PadMode::Constant(value) = pad.mode else {
        return None;
    };
    match &mut merged.op {
        Op::Conv2d(op) if value == 0.0 => widen(&mut op.window, pad)?,
        Op::AveragePool(op) if value == 0.0 && (op.count_include_pad || op.window.pads == [0; 4]) => {
            widen(&mut op.window, pad)?;
            op.count_include_pad = true;
        }
        // Infinity does not come through a quantization.
        Op::MaxPool(op) if value == f32::NEG_INFINITY && quantize.is_none() => widen(&mut op.window, pad)?,
        _ => return None,
    }
    let source = graph.nodes[before].inputs[0];
    let Some(quantize) = quantize else {
        merged.inputs[0] = source;
        absorb(graph, before, position, merged);
        return Some(());
    };
    let unpadded = shape(graph, source).to_vec();
    for node in [quantize, nearest] {
        let output = graph.nodes[node].outputs[0];
        graph.tensors[output].ty.shape = unpadded.clone();
    }
    graph.change(quantize, |node| node.inputs[0] = source);
    graph.change(position, |node| *node = merged);
    graph.remove(before);
    Some(())
}

/// The `QuantizeLinear` that alone feeds the `DequantizeLinear` at `position`, with the same parameters for all
/// elements.
fn quantize_before(graph: &Draft, position: Place) -> Option<Place> {
    let node = &graph.nodes[position];
    let Op::DequantizeLinear(_) = node.op else {
        return None;
    };
    let before = sole_producer(graph, node.inputs[0])?;
    let Op::QuantizeLinear(_) = graph.nodes[before].op else {
        return None;
    };
    let same = graph.nodes[before].inputs[1..] == node.inputs[1..] && is_per_tensor(graph, node);
    same.then_some(before)
}

/// Adds the pads of rows and columns to the window's; `None` where other axes are padded.
fn widen(window: &mut Window, pad: &Pad) -> Option<()> {
    let (&[0, top, left, 0], &[0, bottom, right, 0]) = (&pad.before[..], &pad.after[..]) else {
        return None;
    };
    for (pads, more) in window.pads.iter_mut().zip([top, left, bottom, right]) {
        *pads += more;
    }
    Some(())
}
