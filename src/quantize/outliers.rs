//! Channels that reach far beyond the others, split into several that carry a part each.
//!
//! Where a tensor's range is that of a few channels, and the weights that read these are as large as the others,
//! equalization can only move the loss from activations to weights. A channel can be computed `k` times instead, each time
//! divided by `k`, and be read `k` times by the same weights: nothing changes in reals, the weights stay as they are, and all
//! other channels get up to `k` times the steps. It costs a channel for each copy. After Zhao et al., "Improving neural network
//! quantization without retraining using outlier channel splitting" (<https://arxiv.org/abs/1901.09504>), but of activations
//! and by expected errors.

use rayon::prelude::*;

use super::channels::Channels;
use super::equalize::{DEGREES, Inputs, factors, parts, set_constant};
use super::groups::Group;
use super::scheme::Constants;
use crate::ir::FloatGraph;
use crate::op::tensor::Values;
use crate::op::{BinaryKind, Op};

/// What the expected error must fall to for more work to be worth it.
const WORTH: f64 = 0.8;
/// What each copy must bring it down to of what it was without that copy.
const WORTH_EACH: f64 = 0.97;
/// One copy for so many channels, at most.
const CHANNELS_PER_COPY: usize = 8;
/// Copies in all, at most.
const MOST_COPIES: usize = 16;

/// Splits channels of a group where that makes the expected error of its readers' results much smaller, if need be after
/// equalization, which comes next; tells whether it did.
pub(super) fn split(graph: &mut FloatGraph, group: &Group, all: &mut Vec<Channels>, equalizes: bool) -> bool {
    let Some(count) = all.first().map(|channels| channels.min.len()) else {
        return false;
    };
    if !can_grow(graph, group) {
        return false;
    }
    let Some(readers) = readers(graph, group, count) else {
        return false;
    };
    let degrees = if equalizes { DEGREES } else { 0 };
    let Some(before) = least_error(&readers, all, &vec![1.0; count], degrees) else {
        return false;
    };
    let mut copies = vec![1.0; count];
    let (mut best, mut least) = (copies.clone(), before);
    for _ in 0..(count / CHANNELS_PER_COPY).clamp(1, MOST_COPIES) {
        let Some(farthest) = farthest(all, &copies) else {
            break;
        };
        copies[farthest] += 1.0;
        let Some(error) = least_error(&readers, all, &copies, degrees) else {
            break;
        };
        // Where several channels reach as far, none brings anything alone.
        let more: f64 = copies.iter().sum::<f64>() - best.iter().sum::<f64>();
        if error < libm::pow(WORTH_EACH, more) * least {
            (best, least) = (copies.clone(), error);
        }
    }
    let is_worth_it = least < WORTH * before;
    if is_worth_it {
        let added = added(&best);
        grow(graph, group, &best, &added);
        for channels in all {
            *channels = channels.divided(&best).grown(&added);
        }
    }
    is_worth_it
}

/// The channels of the copies, one for each.
fn added(copies: &[f64]) -> Vec<usize> {
    let copies = copies.iter().enumerate();
    copies
        .flat_map(|(c, &copies)| std::iter::repeat_n(c, copies as usize - 1))
        .collect()
}

/// The error expected of so many copies at the degree of equalization up to `degrees` that makes it least.
fn least_error(readers: &[Reader<'_>], all: &[Channels], copies: &[f64], degrees: usize) -> Option<f64> {
    let split: Vec<Channels> = all.iter().map(|channels| channels.divided(copies)).collect();
    let parts = parts(&split)?;
    let errors = (0..=degrees)
        .into_par_iter()
        .map(|degree| expected_error(readers, all, copies, &factors(&parts, degree)));
    errors.min_by(f64::total_cmp)
}

/// Whether all nodes of the group can have more channels than they have.
fn can_grow(graph: &FloatGraph, group: &Group) -> bool {
    let is_whole = |position: usize| match &graph.nodes[position].op {
        Op::Conv2d(conv) => conv.groups == 1,
        Op::Dense(_) => true,
        _ => false,
    };
    let makers = group.makers.iter().copied();
    let readers = group.readers.iter().map(|&(reader, _)| reader);
    let between = graph.nodes.iter().enumerate();
    let mut between = between
        .filter(|(position, node)| {
            group.tensors.contains(&node.outputs[0]) && !group.makers.contains(position)
        })
        .map(|(_, node)| &node.op);
    makers.chain(readers).all(is_whole)
        && between.all(|op| {
            matches!(
                op,
                Op::Unary(_) | Op::MaxPool(_) | Op::AveragePool(_) | Op::Reduce(_) | Op::Reshape(_)
            ) || matches!(op, Op::Binary(binary) if binary.kind == BinaryKind::Add)
        })
}

/// A layer that reads the group: its weights, and which tensor of the group it reads.
struct Reader<'g> {
    constants: Constants<'g>,
    inputs: Inputs,
    place: usize,
}

fn readers<'g>(graph: &'g FloatGraph, group: &Group, count: usize) -> Option<Vec<Reader<'g>>> {
    let readers = group.readers.iter().map(|&(reader, place)| {
        let node = &graph.nodes[reader];
        let constants = Constants::of(graph, node)?;
        let inputs = Inputs::of(&node.op, &constants, count)?;
        Some(Reader {
            constants,
            inputs,
            place,
        })
    });
    readers.collect()
}

/// The squared error that rounding adds to the readers' results, in proportion to these, where channels are divided by
/// factors too. Copies of a channel are rounded alike, so that their errors add up before they are squared.
fn expected_error(readers: &[Reader<'_>], all: &[Channels], copies: &[f64], factors: &[f64]) -> f64 {
    let divisors: Vec<f64> = copies
        .iter()
        .zip(factors)
        .map(|(copies, factor)| copies * factor)
        .collect();
    let steps = all
        .iter()
        .map(|channels| channels.divided(&divisors).span() / 255.0);
    let step = steps.map(|step| step * step).sum::<f64>();
    let errors = readers.iter().map(|reader| {
        let seen = &all[reader.place];
        let mean_square = |c: usize| seen.squares[c] / seen.count.max(1.0);
        let row = reader.constants.weights.len() / reader.constants.channels().max(1);
        let (mut error, mut energy) = (0.0, 0.0);
        for (o, weights) in reader.constants.weights.chunks_exact(row.max(1)).enumerate() {
            let (mut squares, mut most, mut all_seen) = (0.0, 0.0f64, 0.0);
            for (i, &weight) in weights.iter().enumerate() {
                let c = reader.inputs.channel(o, i);
                let weight = f64::from(weight);
                squares += weight * weight * divisors[c] * divisors[c];
                most = most.max(weight.abs() * factors[c]);
                all_seen += mean_square(c) / (factors[c] * factors[c]);
                energy += weight * weight * mean_square(c);
            }
            let weight_step = most / 127.0;
            error += (step * squares + weight_step * weight_step * all_seen) / 12.0;
        }
        if energy > 0.0 { error / energy } else { 0.0 }
    });
    errors.sum()
}

/// The channel whose copies reach farthest, in proportion to the range of the tensor where that is largest.
fn farthest(all: &[Channels], copies: &[f64]) -> Option<usize> {
    let reach = |c: usize| -> f64 {
        let of = |channels: &Channels| {
            let largest = channels.divided(copies).span();
            let reach = channels.max[c].max(-channels.min[c]).max(0.0) / copies[c];
            if largest > 0.0 { reach / largest } else { 0.0 }
        };
        all.iter().map(of).fold(0.0, f64::max)
    };
    (0..copies.len()).max_by(|&a, &b| reach(a).total_cmp(&reach(b)))
}

/// Gives the group's tensors a channel more for each copy, behind all others.
fn grow(graph: &mut FloatGraph, group: &Group, copies: &[f64], added: &[usize]) {
    let count = copies.len() + added.len();
    for &maker in &group.makers {
        let Some(constants) = Constants::of(graph, &graph.nodes[maker]) else {
            continue;
        };
        let row = constants.weights.len() / copies.len();
        let part = |values: &[f32], width: usize| -> Vec<f32> {
            let of = |c: usize| {
                let values = &values[c * width..(c + 1) * width];
                values.iter().map(move |&x| (f64::from(x) / copies[c]) as f32)
            };
            (0..copies.len())
                .chain(added.iter().copied())
                .flat_map(of)
                .collect()
        };
        let mut shape = constants.shape.to_vec();
        shape[0] = count;
        let weights = Values::f32(shape, part(constants.weights, row));
        let bias = constants.bias.map(|bias| Values::f32([count], part(bias, 1)));
        set_constant(graph, maker, 1, weights);
        if let Some(bias) = bias {
            set_constant(graph, maker, 2, bias);
        }
    }
    for &(reader, _) in &group.readers {
        let Some(constants) = Constants::of(graph, &graph.nodes[reader]) else {
            continue;
        };
        let rows = constants.weights.chunks_exact(copies.len());
        let weights = rows.flat_map(|row| row.iter().copied().chain(added.iter().map(|&c| row[c])));
        let mut shape = constants.shape.to_vec();
        let weights: Vec<f32> = weights.collect();
        if let Some(last) = shape.last_mut() {
            *last = count;
        }
        set_constant(graph, reader, 1, Values::f32(shape, weights));
    }
    for &tensor in &group.tensors {
        if let Some(channels) = graph.tensors[tensor].ty.shape.last_mut() {
            *channels = count;
        }
    }
    for node in &mut graph.nodes {
        if let Op::Reshape(reshape) = &mut node.op
            && group.tensors.contains(&node.outputs[0])
            && let Some(channels) = reshape.shape.last_mut()
        {
            *channels = count;
        }
    }
}
