//! The pass `fold-input-scale`.

use super::draft::{Draft, Place};
use super::edit::{add_constant, reals, shape};
use super::layer::per_channel;
use crate::ir::FloatGraph;
use crate::op::tensor::Values;
use crate::op::{BinaryKind, Op};

/// Folds a multiplication or division by one constant per channel, or by one for all, into the weights of the `Conv2d`,
/// `ConvNd` or `Dense` behind it: the preprocessing that exporters put before a network.
///
/// Exact for padding, since zero stays zero. Refuses where something else reads the product, where it is clamped, and
/// weights that are no f32 constants. Approximate: every weight is computed in f64 and rounded to f32 once.
pub(super) fn fold_input_scale(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, |graph, position| {
        fold(graph, position)?;
        // The layer may stand behind another product now.
        while fold(graph, position).is_some() {}
        Some(())
    })
}

fn fold(graph: &mut Draft, position: Place) -> Option<()> {
    let layer = &graph.nodes[position];
    let groups = match &layer.op {
        Op::Conv2d(op) => op.groups,
        Op::ConvNd(op) => op.groups,
        Op::Dense(_) => 1,
        _ => return None,
    };
    let (input, weights) = (layer.inputs[0], layer.inputs[1]);
    let product = super::edit::sole_producer(graph, input)?;
    let Op::Binary(binary) = &graph.nodes[product].op else {
        return None;
    };
    if !binary.clamp.is_none() {
        return None;
    }
    let factors = |tensor| per_channel(graph, tensor, shape(graph, input));
    let [first, second] = graph.nodes[product].inputs[..] else {
        return None;
    };
    let (source, factors) = match (binary.kind, factors(first), factors(second)) {
        (BinaryKind::Mul, None, Some(factors)) => (first, factors),
        (BinaryKind::Mul, Some(factors), None) => (second, factors),
        (BinaryKind::Div, None, Some(divisors)) => (first, divisors.iter().map(|d| 1.0 / d).collect()),
        _ => return None,
    };
    if shape(graph, source) != shape(graph, input) {
        return None;
    }
    let weights_shape = shape(graph, weights).to_vec();
    let (out_channels, in_channels) = (weights_shape[0], *weights_shape.last()?);
    let row: usize = weights_shape[1..].iter().product();
    let scaled: Vec<f32> = reals(graph, weights)?
        .iter()
        .enumerate()
        .map(|(i, &weight)| {
            let group = (i / row) / (out_channels / groups);
            (f64::from(weight) * factors[group * in_channels + i % in_channels]) as f32
        })
        .collect();
    if !scaled.iter().all(|weight| weight.is_finite()) {
        return None;
    }
    let name = graph.tensors[weights].name.clone();
    let scaled = add_constant(graph, &name, Values::f32(weights_shape, scaled));
    graph.change(position, |node| {
        node.inputs[0] = source;
        node.inputs[1] = scaled;
    });
    graph.remove(product);
    Some(())
}
