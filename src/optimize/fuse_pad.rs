//! The pass `fuse-pad`.

use super::edit::{absorb, sole_producer};
use crate::ir::FloatGraph;
use crate::op::{Op, Pad, PadMode, Window};

/// Fuses a `Pad` of rows and columns into the window of the layer behind it: zeros into a `Conv2d` and into an
/// `AveragePool` that counts its padding (or has none yet, and then counts it), minus infinity into a `MaxPool`.
///
/// Refuses other pads, other axes, and a padded tensor that something else reads. Exact.
pub fn fuse_pad(graph: &mut FloatGraph) -> usize {
    let mut count = 0;
    let mut position = 0;
    while position < graph.nodes.len() {
        if fuse(graph, position).is_some() {
            count += 1;
        } else {
            position += 1;
        }
    }
    count
}

fn fuse(graph: &mut FloatGraph, position: usize) -> Option<()> {
    let mut merged = graph.nodes[position].clone();
    let before = sole_producer(graph, *merged.inputs.first()?)?;
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
        Op::MaxPool(op) if value == f32::NEG_INFINITY => widen(&mut op.window, pad)?,
        _ => return None,
    }
    merged.inputs[0] = graph.nodes[before].inputs[0];
    absorb(graph, before, position, merged);
    Some(())
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
