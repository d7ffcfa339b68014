//! Layers with weights and a bias: `Conv2d` and `Dense` seen alike. Both have their output channels along the first
//! axis of the weights and along the last axis of the output.

use super::draft::{Draft, Place};
use super::edit::{Tensor, add_constant, reals, shape, sole_producer};
use crate::ir::{FloatTensor, Node};
use crate::op::tensor::Values;
use crate::op::{Clamp, Op};

/// The clamp that an operator can fuse; `None` of operators without one.
pub(super) fn clamp(op: &mut Op) -> Option<&mut Clamp> {
    match op {
        Op::Conv2d(op) => Some(&mut op.clamp),
        Op::ConvNd(op) => Some(&mut op.clamp),
        Op::Dense(op) => Some(&mut op.clamp),
        Op::Binary(op) => Some(&mut op.clamp),
        Op::AveragePool(op) => Some(&mut op.clamp),
        Op::MaxPool(op) => Some(&mut op.clamp),
        Op::BatchNormalization(_)
        | Op::BitCast(_)
        | Op::Cast(_)
        | Op::Compare(_)
        | Op::Concat(_)
        | Op::Cumulate(_)
        | Op::Expand(_)
        | Op::GatherElements(_)
        | Op::GatherNd(_)
        | Op::Lookup(_)
        | Op::Lstm(_)
        | Op::NonMaxSuppression(_)
        | Op::NonZero(_)
        | Op::Scatter(_)
        | Op::TfIdf(_)
        | Op::TopK(_)
        | Op::TreeEnsemble(_)
        | Op::Trilu(_)
        | Op::Unique(_)
        | Op::Delay(_)
        | Op::DequantizeLinear(_)
        | Op::DequantizeTo(_)
        | Op::Gather(_)
        | Op::GridSample(_)
        | Op::Attention(_)
        | Op::LayerNorm(_)
        | Op::MatMul(_)
        | Op::NarrowCast(_)
        | Op::MaxPoolIndices(_)
        | Op::Resample(_)
        | Op::RoiAlign(_)
        | Op::Pad(_)
        | Op::QuantizeLinear(_)
        | Op::Recurrent(_)
        | Op::Repeat(_)
        | Op::Reduce(_)
        | Op::QuantizeTo(_)
        | Op::Reshape(_)
        | Op::Select(_)
        | Op::Slice(_)
        | Op::Softmax(_)
        | Op::Transpose(_)
        | Op::Unary(_) => None,
    }
}

/// The layer that produces `tensor`, if it has no clamp and only one input of one node reads it.
pub(super) fn open_layer(graph: &Draft, tensor: Tensor) -> Option<Place> {
    let position = sole_producer(graph, tensor)?;
    let open = match &graph.nodes[position].op {
        Op::Conv2d(op) => op.clamp.is_none(),
        Op::ConvNd(op) => op.clamp.is_none(),
        Op::Dense(op) => op.clamp.is_none(),
        _ => false,
    };
    open.then_some(position)
}

/// One value per channel of a constant that broadcasts along the last axis of `to`, or the same for all;
/// `None` of anything else.
pub(super) fn per_channel(graph: &Draft, tensor: Tensor, to: &[usize]) -> Option<Vec<f64>> {
    let values = reals(graph, tensor)?;
    let channels = *to.last()?;
    if !broadcasts_along_channels(shape(graph, tensor), to) {
        return None;
    }
    match values {
        [value] => Some(vec![f64::from(*value); channels]),
        values => Some(values.iter().copied().map(f64::from).collect()),
    }
}

/// Whether a constant of shape `from` gives each channel of `to` one value.
pub(super) fn broadcasts_along_channels(from: &[usize], to: &[usize]) -> bool {
    let (Some(&channels), rank) = (to.last(), from.len()) else {
        return false;
    };
    rank <= to.len()
        && from.iter().rev().skip(1).all(|&extent| extent == 1)
        && from.last().is_none_or(|&last| last == 1 || last == channels)
}

/// The layer at `position` with `y · factor + offset` per channel folded into its weights and bias, in f64 with one
/// rounding to f32 each. `None` where weights or bias are no f32 constants or a result is not finite.
pub(super) fn scaled(
    graph: &mut Draft,
    position: Place,
    factors: &[f64],
    offsets: &[f64],
) -> Option<Node<FloatTensor>> {
    let mut node = graph.nodes[position].clone();
    let (weights, bias) = (node.inputs[1], node.inputs.get(2).copied());
    let row = reals(graph, weights)?.len() / factors.len().max(1);
    let new_weights: Vec<f32> = reals(graph, weights)?
        .iter()
        .enumerate()
        .map(|(i, &weight)| (f64::from(weight) * factors[i / row.max(1)]) as f32)
        .collect();
    let old_bias: Vec<f32> = match bias {
        Some(bias) => reals(graph, bias)?.to_vec(),
        None => vec![0.0; factors.len()],
    };
    let new_bias: Vec<f32> = old_bias
        .iter()
        .zip(factors.iter().zip(offsets))
        .map(|(&bias, (&factor, &offset))| (f64::from(bias) * factor + offset) as f32)
        .collect();
    if !new_weights.iter().chain(&new_bias).all(|x| x.is_finite()) {
        return None;
    }
    if factors.iter().any(|&factor| factor != 1.0) {
        let name = graph.tensors[weights].name.clone();
        let values = Values::f32(shape(graph, weights), new_weights);
        node.inputs[1] = add_constant(graph, &name, values);
    }
    if bias.is_some() || new_bias.iter().any(|&bias| bias != 0.0) {
        let base = match bias {
            Some(bias) => graph.tensors[bias].name.clone(),
            None => format!("{}/bias", node.name),
        };
        let values = Values::f32([new_bias.len()], new_bias);
        let bias = add_constant(graph, &base, values);
        node.inputs.truncate(2);
        node.inputs.push(bias);
    }
    Some(node)
}
