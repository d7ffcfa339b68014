//! The pass `fold-batch-norm`.

use super::draft::{Draft, Place};
use super::edit::{absorb, reals};
use super::layer::{open_layer, scaled};
use crate::ir::{FloatGraph, FloatTensor, Node};
use crate::op::Op;

/// Folds a `BatchNormalization` into the `Conv2d`, `ConvNd` or `Dense` before it.
///
/// Refuses a layer that clamps or whose result something else reads, and weights or statistics that are no f32
/// constants. Relies on `eliminate-transposes` to make the two neighbours. Approximate: every weight and bias is
/// computed in f64 and rounded to f32 once.
pub(super) fn fold_batch_norm(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, fold)
}

fn fold(graph: &mut Draft, position: Place) -> Option<()> {
    let (factors, offsets) = affine(graph, &graph.nodes[position])?;
    let layer = open_layer(graph, graph.nodes[position].inputs[0])?;
    let merged = scaled(graph, layer, &factors, &offsets)?;
    absorb(graph, layer, position, merged);
    Some(())
}

/// What a `BatchNormalization` with constant parameters does to each channel: the factor, then the offset. `None` of
/// other nodes and of factors that are not finite.
pub(super) fn affine(graph: &Draft, node: &Node<FloatTensor>) -> Option<(Vec<f64>, Vec<f64>)> {
    let Op::BatchNormalization(op) = &node.op else {
        return None;
    };
    let [_, scale, bias, mean, variance] = node.inputs[..] else {
        return None;
    };
    let [scale, bias, mean, variance] = [scale, bias, mean, variance].map(|input| reals(graph, input));
    let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
    let factors: Vec<f64> = scale
        .iter()
        .zip(variance)
        .map(|(&scale, &variance)| f64::from(scale) / (f64::from(variance) + f64::from(op.epsilon)).sqrt())
        .collect();
    let offsets: Vec<f64> = bias
        .iter()
        .zip(mean.iter().zip(&factors))
        .map(|(&bias, (&mean, &factor))| f64::from(bias) - f64::from(mean) * factor)
        .collect();
    let finite = factors.iter().chain(&offsets).all(|x| x.is_finite());
    finite.then_some((factors, offsets))
}
