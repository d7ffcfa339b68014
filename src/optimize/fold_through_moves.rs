//! The pass `fold-through-moves`.

use super::draft::{Draft, Place};
use super::edit::{Tensor, bypass, reals, shape, sole_producer};
use super::fold_batch_norm::affine;
use super::layer::{open_layer, scaled};
use crate::ir::FloatGraph;
use crate::op::tensor::{broadcast_indices, row_major_strides, strided_indices};
use crate::op::{BinaryKind, Op, PadMode};

/// The most elements of a tensor that is looked at element by element.
const MOST_ELEMENTS: usize = 1 << 20;

/// Folds a `BatchNormalization`, or arithmetic with a constant, into the `Conv2d`, `ConvNd` or `Dense` before it, where
/// reshapes, transposes and pads lie between the two.
///
/// What the node does to each element is carried back through the moves. It folds where all elements of a channel of
/// the layer have one factor and one offset, and where all that a pad adds becomes one value, which the pad then adds
/// instead. Refuses what `fold-batch-norm` and `fold-channel-scale` refuse, arithmetic that clamps, and pads by
/// elements of the tensor. Approximate: every weight, bias and padding value is computed in f64 and rounded to f32 once.
pub(super) fn fold_through_moves(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, fold)
}

fn fold(graph: &mut Draft, position: Place) -> Option<()> {
    let (input, mut map) = Map::of(graph, position)?;
    let mut tensor = input;
    let mut pads = Vec::new();
    let layer = loop {
        let producer = sole_producer(graph, tensor)?;
        let node = &graph.nodes[producer];
        let source = *node.inputs.first()?;
        match &node.op {
            Op::Reshape(_) => {}
            Op::Transpose(op) => map = map.before_transpose(shape(graph, source), &op.perm),
            Op::Pad(op) => {
                let PadMode::Constant(value) = op.mode else {
                    return None;
                };
                let (inside, value) = map.before_pad(shape(graph, source), &op.before, &op.after, value)?;
                map = inside;
                pads.push((producer, value));
            }
            _ => break open_layer(graph, tensor)?,
        }
        tensor = source;
    };
    // Neighbours are for the passes that let the layer take over the node's name.
    if tensor == input {
        return None;
    }
    let channels = *shape(graph, tensor).last()?;
    let (factors, offsets) = map.per_channel(channels)?;
    let merged = scaled(graph, layer, &factors, &offsets)?;
    graph.change(position, |node| node.inputs = vec![input]);
    let gone = bypass(graph, position);
    debug_assert!(gone, "what it reads has a producer and is no output of the graph");
    graph.change(layer, |node| node.inputs = merged.inputs);
    for (pad, value) in pads {
        graph.change(pad, |node| {
            if let Op::Pad(op) = &mut node.op {
                op.mode = PadMode::Constant(value);
            }
        });
    }
    Some(())
}

/// `x · factor + offset` for every element of a tensor, in row-major order.
struct Map(Vec<(f64, f64)>);

impl Map {
    /// What the node at `position` does to its variable input, and that input, which has the shape of the output.
    fn of(graph: &Draft, position: Place) -> Option<(Tensor, Self)> {
        let node = &graph.nodes[position];
        let output = shape(graph, *node.outputs.first()?);
        let len: usize = output.iter().product();
        if len == 0 || len > MOST_ELEMENTS {
            return None;
        }
        if let Some((factors, offsets)) = affine(graph, node) {
            let channels: Vec<(f64, f64)> = factors.into_iter().zip(offsets).collect();
            return Some((
                node.inputs[0],
                Self(channels.into_iter().cycle().take(len).collect()),
            ));
        }
        let Op::Binary(binary) = &node.op else {
            return None;
        };
        if !binary.clamp.is_none() {
            return None;
        }
        let [first, second] = node.inputs[..] else {
            return None;
        };
        let (x, constant, swapped) = match (reals(graph, first), reals(graph, second)) {
            (None, Some(_)) => (first, second, false),
            (Some(_), None) => (second, first, true),
            (None, None) | (Some(_), Some(_)) => return None,
        };
        if shape(graph, x) != output {
            return None;
        }
        let pair: fn(f64) -> (f64, f64) = match (binary.kind, swapped) {
            (BinaryKind::Add, _) => |c| (1.0, c),
            (BinaryKind::Mul, _) => |c| (c, 0.0),
            (BinaryKind::Sub, false) => |c| (1.0, -c),
            (BinaryKind::Sub, true) => |c| (-1.0, c),
            (BinaryKind::Div, false) => |c| (1.0 / c, 0.0),
            _ => return None,
        };
        let values = reals(graph, constant)?;
        let places = broadcast_indices(shape(graph, constant), output);
        Some((
            x,
            Self(places.into_iter().map(|at| pair(f64::from(values[at]))).collect()),
        ))
    }

    /// The same before a transpose of a tensor of this shape.
    fn before_transpose(&self, x: &[usize], perm: &[usize]) -> Self {
        let strides = row_major_strides(x);
        let dims: Vec<usize> = perm.iter().map(|&axis| x[axis]).collect();
        let strides: Vec<usize> = perm.iter().map(|&axis| strides[axis]).collect();
        let mut before = self.0.clone();
        for (&pair, at) in self.0.iter().zip(strided_indices(&dims, &strides, 0)) {
            before[at] = pair;
        }
        Self(before)
    }

    /// The same before a pad of a tensor of this shape, and what stands outside then.
    fn before_pad(&self, x: &[usize], before: &[usize], after: &[usize], value: f32) -> Option<(Self, f32)> {
        let padded: Vec<usize> = (0..x.len())
            .map(|axis| before[axis] + x[axis] + after[axis])
            .collect();
        let strides = row_major_strides(&padded);
        let first = before
            .iter()
            .zip(&strides)
            .map(|(&pad, &stride)| pad * stride)
            .sum();
        let places = strided_indices(x, &strides, first);
        let mut is_outside = vec![true; self.0.len()];
        for &at in &places {
            is_outside[at] = false;
        }
        let mut outside = self.0.iter().zip(&is_outside).filter(|&(_, &outside)| outside);
        let value_of = |&(factor, offset): &(f64, f64)| (f64::from(value) * factor + offset) as f32;
        let value = outside.next().map_or(value, |(pair, _)| value_of(pair));
        let is_one = outside.all(|(pair, _)| value_of(pair) == value);
        let inside = Self(places.into_iter().map(|at| self.0[at]).collect());
        (is_one && value.is_finite()).then_some((inside, value))
    }

    /// Factors and offsets by index of the last axis, if nothing else decides them.
    fn per_channel(&self, channels: usize) -> Option<(Vec<f64>, Vec<f64>)> {
        let row = self.0.get(..channels)?;
        let alike = self.0.chunks_exact(channels.max(1)).all(|other| other == row);
        let finite = row
            .iter()
            .all(|(factor, offset)| factor.is_finite() && offset.is_finite());
        (alike && finite).then(|| row.iter().copied().unzip())
    }
}
