//! Channels between two layers, made alike in range: what int8 steps over a whole tensor leave of a channel depends on how
//! much of the tensor's range it takes.
//!
//! Where nothing but layers read what a layer makes, one side can give what the other takes: output channel `c` is divided by
//! `s[c]` and shifted by `−o[c]`, the weights that read it are multiplied by `s[c]`, and their bias takes what the shift left out.
//! In reals nothing changes; the shift alone relies on channels that stay above it, as they did in calibration. After
//! Nagel et al., "Data-free quantization through weight equalization and bias correction"
//! (<https://arxiv.org/abs/1906.04721>), but with ranges that were observed.

use std::sync::Arc;

use rayon::prelude::*;

use super::QuantizeError;
use super::channels::{Channels, observe};
use super::groups::{Group, clamp_of, groups, scale_of};
use super::outliers;
use super::scheme::Constants;
use super::steps::{Step, Steps};
use super::subset::Subset;
use super::weight_form::WeightForm;
use crate::ir::{FloatGraph, FloatTensor, Progress, Samples};
use crate::op::tensor::Values;
use crate::op::{Clamp, Op};

/// How far channels are equalized, in parts: 0 leaves them, 1 gives all the same range.
pub(super) const DEGREES: usize = 10;
/// What the expected error must fall to for a change to be worth it.
const WORTH: f64 = 0.95;
/// Elements of a channel below which its ends say little.
const FEWEST: f64 = 256.0;
/// Samples below which no channel is changed.
const FEWEST_SAMPLES: usize = 4;
/// The least that a channel is taken to reach of the largest: what keeps factors in bounds.
const LEAST_PART: f64 = 1.0 / 256.0;

/// Rewrites the weights and biases of all layers where that makes the expected error smaller. Gives the number of tensors
/// between layers that it changed.
pub(super) fn run(
    graph: &mut FloatGraph,
    forms: &[WeightForm],
    subset: &Subset<'_>,
    steps: Steps,
    progress: Progress<'_>,
) -> Result<usize, QuantizeError> {
    let mut groups = groups(graph);
    groups.retain(|group| {
        steps.has(group.equalizing_step(graph))
            || steps.has(Step::AbsorbBias)
            || steps.has(Step::SplitOutliers)
    });
    if groups.is_empty() || subset.len() < FEWEST_SAMPLES {
        return Ok(0);
    }
    let mut channels = observe(graph, subset, &groups, progress)?;
    let mut changed = 0;
    for (group, channels) in groups.iter().zip(&mut channels) {
        let mut is_changed = false;
        if steps.has(Step::AbsorbBias) {
            is_changed |= group.shift(graph, channels);
        }
        let equalizes = steps.has(group.equalizing_step(graph));
        if steps.has(Step::SplitOutliers) {
            is_changed |= outliers::split(graph, group, channels, equalizes);
        }
        if equalizes {
            is_changed |= group.equalize(graph, forms, channels);
        }
        changed += usize::from(is_changed);
    }
    Ok(changed)
}

impl Group {
    /// Shifts channels toward each other: those behind a ReLU by what they never fell below, others to around zero.
    fn shift(&self, graph: &mut FloatGraph, all: &mut [Channels]) -> bool {
        let [maker] = self.makers[..] else { return false };
        let made = self
            .tensors
            .iter()
            .position(|&tensor| tensor == graph.nodes[maker].outputs[0]);
        let Some(channels) = made
            .map(|made| &all[made])
            .filter(|channels| channels.count >= FEWEST)
        else {
            return false;
        };
        if !self.can_shift {
            return false;
        }
        let clamp = clamp_of(&graph.nodes[maker].op).unwrap_or(Clamp::NONE);
        let offset = |(&min, &max): (&f64, &f64)| {
            let offset = if clamp.min.is_some() {
                min.max(0.0)
            } else {
                (min + max) / 2.0
            };
            f64::from(offset as f32)
        };
        let offsets: Vec<f64> = channels.min.iter().zip(&channels.max).map(offset).collect();
        let shifted = channels.shifted(&offsets);
        if shifted.span() > WORTH * channels.span() {
            return false;
        }
        let biases = self.readers.iter().map(|&(reader, _)| {
            let node = &graph.nodes[reader];
            let constants = Constants::of(graph, node)?;
            let inputs = Inputs::of(&node.op, &constants, offsets.len())?;
            let row = constants.weights.len() / constants.channels().max(1);
            let bias = constants
                .weights
                .chunks_exact(row.max(1))
                .enumerate()
                .map(|(o, weights)| {
                    let products = weights
                        .iter()
                        .enumerate()
                        .map(|(i, &weight)| f64::from(weight) * offsets[inputs.channel(o, i)]);
                    let old = constants.bias.map_or(0.0, |bias| f64::from(bias[o]));
                    (old + products.sum::<f64>()) as f32
                });
            Some(bias.collect::<Vec<f32>>())
        });
        let Some(biases) = biases.collect::<Option<Vec<_>>>() else {
            return false;
        };
        let Some(constants) = Constants::of(graph, &graph.nodes[maker]) else {
            return false;
        };
        let own = offsets.iter().enumerate().map(|(c, offset)| {
            let old = constants.bias.map_or(0.0, |bias| f64::from(bias[c]));
            (old - offset) as f32
        });
        let own: Vec<f32> = own.collect();
        set_constant(graph, maker, 2, Values::f32([own.len()], own));
        for (&(reader, _), bias) in self.readers.iter().zip(biases) {
            set_constant(graph, reader, 2, Values::f32([bias.len()], bias));
        }
        for channels in all {
            *channels = channels.shifted(&offsets);
        }
        true
    }

    /// Divides channels by what makes the expected error of the readers' results least.
    fn equalize(&self, graph: &mut FloatGraph, forms: &[WeightForm], all: &mut [Channels]) -> bool {
        let Some(count) = all.first().map(|channels| channels.min.len()) else {
            return false;
        };
        let Some(parts) = parts(all) else { return false };
        let readers = self.readers.iter().map(|&(reader, place)| {
            let node = &graph.nodes[reader];
            let constants = Constants::of(graph, node)?;
            let inputs = Inputs::of(&node.op, &constants, count)?;
            Some((constants, inputs, place, forms[reader]))
        });
        let Some(readers) = readers.collect::<Option<Vec<_>>>() else {
            return false;
        };
        let error = |factors: &[f64]| -> f64 {
            // What is rounded on the way to a reader is passed on to it.
            let steps = all
                .iter()
                .map(|channels| channels.divided(factors).span() / 255.0);
            let step = steps.map(|step| step * step).sum::<f64>().sqrt();
            let errors = readers.iter().map(|(constants, inputs, place, form)| {
                expected_error(constants, inputs, *form, &all[*place], factors, step)
            });
            errors.sum()
        };
        let costs: Vec<f64> = (0..=DEGREES)
            .into_par_iter()
            .map(|degree| error(&factors(&parts, degree)))
            .collect();
        let Some(best) = (0..=DEGREES).min_by(|&a, &b| costs[a].total_cmp(&costs[b])) else {
            return false;
        };
        let is_worth_it = costs[best] < WORTH * costs[0];
        if !is_worth_it {
            return false;
        }
        let factors = factors(&parts, best);
        let scaled = readers.iter().map(|(constants, inputs, ..)| {
            let row = constants.weights.len() / constants.channels().max(1);
            let weights = constants.weights.iter().enumerate();
            let weights = weights
                .map(|(i, &weight)| (f64::from(weight) * factors[inputs.channel(i / row, i % row)]) as f32);
            Values::f32(constants.shape, weights.collect())
        });
        let scaled: Vec<Values> = scaled.collect();
        // A layer may read a group and make another tensor of it: each change starts from what the last one left.
        for (&(reader, _), weights) in self.readers.iter().zip(scaled) {
            set_constant(graph, reader, 1, weights);
        }
        for &maker in &self.makers {
            let of_norm = scale_of(graph, &graph.nodes[maker]).unwrap_or_default();
            let divided = of_norm.into_iter().map(|(index, values)| {
                let values = values.iter().zip(&factors);
                let values: Vec<f32> = values
                    .map(|(&x, factor)| (f64::from(x) / factor) as f32)
                    .collect();
                (index, Values::f32([values.len()], values))
            });
            for (index, values) in divided.collect::<Vec<_>>() {
                set_constant(graph, maker, index, values);
            }
            let Some(constants) = Constants::of(graph, &graph.nodes[maker]) else {
                continue;
            };
            let row = constants.weights.len() / constants.channels().max(1);
            let weights = constants.weights.iter().enumerate();
            let weights = weights.map(|(i, &weight)| (f64::from(weight) / factors[i / row]) as f32);
            let weights = Values::f32(constants.shape, weights.collect());
            let bias = constants.bias.map(|bias| {
                let bias = bias.iter().zip(&factors);
                let bias = bias.map(|(&bias, factor)| (f64::from(bias) / factor) as f32);
                Values::f32([factors.len()], bias.collect())
            });
            set_constant(graph, maker, 1, weights);
            if let Some(bias) = bias {
                set_constant(graph, maker, 2, bias);
            }
        }
        for channels in all {
            *channels = channels.divided(&factors);
        }
        true
    }
}

/// How much of its tensor's range each channel takes, where it takes most; `None` where that is no number.
pub(super) fn parts(all: &[Channels]) -> Option<Vec<f64>> {
    let mut parts = vec![0.0f64; all.first()?.min.len()];
    for channels in all {
        let ends = channels.min.iter().zip(&channels.max);
        let reach = ends.map(|(min, max)| max.max(-min).max(0.0));
        let largest = reach.clone().fold(0.0, f64::max);
        if !largest.is_finite() {
            return None;
        }
        for (part, reach) in parts.iter_mut().zip(reach) {
            *part = part.max(if largest > 0.0 { reach / largest } else { 0.0 });
        }
    }
    Some(parts)
}

/// What channels that take these parts are divided by, so that they are equalized to a degree of [`DEGREES`].
pub(super) fn factors(parts: &[f64], degree: usize) -> Vec<f64> {
    let power = degree as f64 / DEGREES as f64;
    let of = |&part: &f64| {
        let factor = if part > 0.0 {
            libm::pow(part.max(LEAST_PART), power)
        } else {
            1.0
        };
        f64::from(factor as f32)
    };
    parts.iter().map(of).collect()
}

/// The squared error that rounding the input and the weights adds to a layer's results, each rounding alike within its step:
/// `step²/12` for every weight's square, the weights' own `step²/12` for every input's square.
fn expected_error(
    constants: &Constants<'_>,
    inputs: &Inputs,
    form: WeightForm,
    channels: &Channels,
    factors: &[f64],
    step: f64,
) -> f64 {
    let row = constants.weights.len() / constants.channels().max(1);
    let mean_square = |c: usize| channels.squares[c] / channels.count.max(1.0);
    let (mut error, mut energy) = (0.0, 0.0);
    // How far the weights of all channels reach, and the part that each of them has in the results' error.
    let (mut reach, mut seen_by_all) = (0.0f64, 0.0);
    let block = form.block().unwrap_or(row).max(1);
    for (o, weights) in constants.weights.chunks_exact(row.max(1)).enumerate() {
        for (start, weights) in (0..row).step_by(block).zip(weights.chunks(block)) {
            let (mut squares, mut most, mut seen) = (0.0, 0.0f64, 0.0);
            for (i, &weight) in weights.iter().enumerate() {
                let c = inputs.channel(o, start + i);
                let scaled = f64::from(weight) * factors[c];
                squares += scaled * scaled;
                most = most.max(scaled.abs());
                seen += mean_square(c) / (factors[c] * factors[c]);
                energy += f64::from(weight) * f64::from(weight) * mean_square(c);
            }
            reach = reach.max(most);
            seen_by_all += seen;
            let weight_step = match form {
                WeightForm::Int8PerTensor => 0.0,
                _ => most / f64::from(form.codes().1),
            };
            error += (step * step * squares + weight_step * weight_step * seen) / 12.0;
        }
    }
    if form == WeightForm::Int8PerTensor {
        let weight_step = reach / f64::from(form.codes().1);
        error += weight_step * weight_step * seen_by_all / 12.0;
    }
    if energy > 0.0 { error / energy } else { 0.0 }
}

/// Which channel of its input a weight reads.
pub(super) struct Inputs {
    /// Input channels of one group.
    size: usize,
    /// Output channels of one group.
    outputs: usize,
}

impl Inputs {
    /// Of a layer that reads `channels` channels; `None` where its weights are of another shape.
    pub(super) fn of(op: &Op, constants: &Constants<'_>, channels: usize) -> Option<Self> {
        let groups = match op {
            Op::Conv2d(conv) => conv.groups,
            _ => 1,
        };
        let size = *constants.shape.last()?;
        (size * groups == channels && size > 0).then_some(Self {
            size,
            outputs: (constants.channels() / groups).max(1),
        })
    }

    /// The channel that weight `i` of output channel `o` reads.
    pub(super) fn channel(&self, o: usize, i: usize) -> usize {
        o / self.outputs * self.size + i % self.size
    }
}

/// Gives a node another constant at an input, perhaps one more than it had. Other nodes keep theirs.
pub(super) fn set_constant(graph: &mut FloatGraph, position: usize, index: usize, values: Values) {
    let base = match graph.nodes[position].inputs.get(index) {
        Some(&old) => graph.tensors[old].name.clone(),
        None => format!("{}/bias", graph.nodes[position].name),
    };
    let is_taken = |name: &str| graph.tensors.iter().any(|(_, tensor)| tensor.name == name);
    let mut names = (1..).map(|i| format!("{base}#{i}"));
    let name = names.find(|name| !is_taken(name)).unwrap_or(base);
    let tensor = graph.tensors.push(FloatTensor {
        name,
        ty: values.ty(),
        data: Some(Arc::new(values)),
    });
    let inputs = &mut graph.nodes[position].inputs;
    if inputs.len() > index {
        inputs[index] = tensor;
    } else {
        inputs.push(tensor);
    }
}
