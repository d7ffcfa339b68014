//! The pass `fold-channel-scale`.

use super::draft::{Draft, Place};
use super::edit::{absorb, shape};
use super::layer::{clamp, open_layer, per_channel, scaled};
use crate::ir::FloatGraph;
use crate::op::{BinaryKind, Op};

/// Folds a multiplication, division or subtraction by one constant per channel, or by one for all, into the weights
/// and bias of the `Conv2d` or `Dense` before it; the layer takes over the operation's clamp.
///
/// Additions are `fuse-bias`'s. Refuses a layer that clamps or whose result something else reads, weights that are no
/// f32 constants, and a division by the layer's result. Approximate: every weight and bias is computed in f64 and
/// rounded to f32 once.
pub(super) fn fold_channel_scale(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, fold)
}

fn fold(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let Op::Binary(binary) = &node.op else {
        return None;
    };
    let (kind, next) = (binary.kind, binary.clamp);
    let output = shape(graph, node.outputs[0]);
    let (swapped, constant) = match (
        per_channel(graph, node.inputs[0], output),
        per_channel(graph, node.inputs[1], output),
    ) {
        (None, Some(constant)) => (false, constant),
        (Some(constant), None) => (true, constant),
        (None, None) | (Some(_), Some(_)) => return None,
    };
    let input = node.inputs[usize::from(swapped)];
    if shape(graph, input) != output {
        return None;
    }
    let layer = open_layer(graph, input)?;
    let zeros = vec![0.0; constant.len()];
    let (factors, offsets) = match (kind, swapped) {
        (BinaryKind::Mul, _) => (constant, zeros),
        (BinaryKind::Div, false) => (constant.iter().map(|c| 1.0 / c).collect(), zeros),
        (BinaryKind::Sub, false) => (vec![1.0; constant.len()], constant.iter().map(|c| -c).collect()),
        (BinaryKind::Sub, true) => (vec![-1.0; constant.len()], constant),
        _ => return None,
    };
    let mut merged = scaled(graph, layer, &factors, &offsets)?;
    if let Some(fused) = clamp(&mut merged.op) {
        *fused = next;
    }
    absorb(graph, layer, position, merged);
    Some(())
}
