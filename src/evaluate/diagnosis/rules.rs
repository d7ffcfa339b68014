//! The rules by which figures tell causes apart.
//!
//! The noise of a place has three sources: values that are cut off, values that are rounded to steps too coarse for
//! them, and weights. Which one prevails says what is to be explained; every rule then asks one measured ratio.

use super::cause::Cause;
use super::statistics::{Channel, Statistics};
use crate::evaluate::codes::Codes;
use crate::evaluate::isolated::{Constant, Place};
use crate::ir::{FloatGraph, QuantGraph};
use crate::op::Op;
use crate::op::tensor::{Values, View};

/// Fewer samples than this are few.
const FEW: usize = 16;

/// From this ratio on a range is stretched: two bits of eight are lost.
const STRETCHED: f64 = 4.0;

/// From this ratio on the smaller ones have a handful of steps: weights beside an outlier, parts of a concatenation.
const OUTLYING: f64 = 16.0;

/// A part of a concatenation with no more steps than this has too few.
const MOST_STEPS: f64 = 255.0 / OUTLYING;

/// What is known of a place.
pub(super) struct Evidence<'e> {
    pub(super) place: &'e Place<'e>,
    /// What the place's weights alone cost, and its output alone, at the model's outputs in decibels.
    pub(super) constants_db: f64,
    pub(super) output_db: f64,
    /// Over the calibration samples, where they are known.
    pub(super) calibration: Option<&'e Statistics>,
    /// How many there are.
    pub(super) calibration_samples: usize,
    /// Over samples of the evaluation.
    pub(super) evaluation: &'e Statistics,
}

/// What is wrong with the calibration data of an input: a few values that are far larger than all others, and than
/// all of the evaluation; channels in the opposite order; another scale or another mean.
pub(super) fn of_data(calibration: &Statistics, samples: usize, evaluation: &Statistics) -> Option<Cause> {
    let (largest, typical) = (
        calibration.size_exceeded_by(0.0),
        calibration.size_exceeded_by(0.001),
    );
    if largest > 2.0 * STRETCHED * typical && largest > STRETCHED * evaluation.size_exceeded_by(0.0) {
        return Some(Cause::RareOutliers {
            largest,
            typical,
            only_in_calibration: true,
        });
    }
    let (seen, met) = (calibration.whole(), evaluation.whole());
    let spread = met.deviation().max(f64::MIN_POSITIVE);
    let scale = spread / seen.deviation().max(f64::MIN_POSITIVE);
    let distance = |turned: bool| -> f64 {
        let means =
            |statistics: &Statistics| -> Vec<f64> { statistics.channels.iter().map(Channel::mean).collect() };
        let (mut seen, met) = (means(calibration), means(evaluation));
        if turned {
            seen.reverse();
        }
        let squares = seen.iter().zip(&met).map(|(x, y)| (x - y) * (x - y));
        squares.sum::<f64>().sqrt()
    };
    // A quarter of the spread apart is more than chance, and a third of the distance is no chance.
    let is_turned = matches!(calibration.channels.len(), 3 | 4)
        && distance(false) > 0.25 * spread
        && distance(true) < distance(false) / 3.0;
    if is_turned {
        return Some(Cause::WrongChannelOrder);
    }
    let is_shifted = (seen.mean() - met.mean()).abs() > 2.0 * (seen.deviation() + met.deviation());
    // Of few samples, more is chance.
    let most = if samples < FEW {
        STRETCHED * STRETCHED
    } else {
        STRETCHED
    };
    if !(1.0 / most..=most).contains(&scale) || is_shifted {
        return Some(Cause::WrongNormalisation {
            scale,
            offset: met.mean() - scale * seen.mean(),
        });
    }
    None
}

/// The parts of concatenations that have too few steps left in the shared scale, as `places` of them, and why; `seen`
/// has the statistics of each place.
pub(super) fn of_concats(
    quant: &QuantGraph,
    places: &[Place<'_>],
    seen: &[Statistics],
) -> Vec<(usize, Cause)> {
    let mut found: Vec<(usize, Cause)> = Vec::new();
    for node in quant.nodes.iter().filter(|node| matches!(node.op, Op::Concat(_))) {
        let Some(codes) = Codes::of(&quant.tensors[node.outputs[0]]) else {
            continue;
        };
        let (low, high) = codes.range();
        let (step, span) = (f64::from(codes.scale()), high - low);
        for &part in &node.inputs {
            let name = &quant.tensors[part].name;
            let Some(index) = places.iter().position(|place| place.tensor.name == *name) else {
                continue;
            };
            let own = seen[index].whole();
            let own = own.max.max(0.0) - own.min.min(0.0);
            let times = span / own;
            if own > 0.0 && own <= MOST_STEPS * step && !found.iter().any(|&(met, _)| met == index) {
                let concat = node.name.clone();
                found.push((index, Cause::SharedScale { concat, times }));
            }
        }
    }
    found
}

/// What the figures of a place support best.
pub(super) fn explain(float: &FloatGraph, evidence: &Evidence<'_>) -> Cause {
    if evidence.constants_db < evidence.output_db {
        return of_weights(float, evidence.place);
    }
    let scale = f64::from(evidence.place.codes.scale());
    let rounded = evidence.evaluation.count() as f64 * scale * scale / 12.0;
    if evidence.evaluation.clipped > rounded {
        of_clipping(evidence)
    } else {
        of_rounding(evidence)
    }
}

fn of_clipping(evidence: &Evidence<'_>) -> Cause {
    let evaluation = evidence.evaluation;
    let share = evaluation.outside as f64 / evaluation.count().max(1) as f64;
    let clipped = |statistics: &Statistics| statistics.clipped / statistics.energy().max(f64::MIN_POSITIVE);
    let Some(calibration) = evidence.calibration else {
        return Cause::Saturation { share };
    };
    if clipped(calibration) > clipped(evaluation) / 4.0 {
        Cause::Saturation { share }
    } else if evidence.calibration_samples < FEW {
        Cause::TooFewSamples {
            samples: evidence.calibration_samples,
            share,
        }
    } else {
        let (seen, met) = (calibration.whole(), evaluation.whole());
        Cause::RangeNeverSeen {
            calibrated: [seen.min, seen.max],
            met: [met.min, met.max],
            share,
        }
    }
}

/// The step is too coarse: which ratio of the range to what needs it is the largest.
fn of_rounding(evidence: &Evidence<'_>) -> Cause {
    let evaluation = evidence.evaluation;
    let seen = evidence.calibration.unwrap_or(evaluation);
    let mut causes = Vec::new();
    causes.extend(large_channel(seen));
    let (largest, typical) = (seen.size_exceeded_by(0.0), seen.size_exceeded_by(0.001));
    if typical > 0.0 {
        let cause = Cause::RareOutliers {
            largest,
            typical,
            only_in_calibration: largest > STRETCHED * evaluation.size_exceeded_by(0.0),
        };
        causes.push((largest / typical, cause));
    }
    let times = seen.whole().rms() / evaluation.whole().rms().max(f64::MIN_POSITIVE);
    causes.push((times, Cause::RangeTooWide { times }));
    let stretched = causes.into_iter().filter(|(times, _)| *times >= STRETCHED);
    let worst = stretched.max_by(|(a, _), (b, _)| a.total_cmp(b));
    worst.map_or(Cause::Accumulated, |(_, cause)| cause)
}

/// What the input of a layer does to weights that have no flaw of their own: where one of its channels is far larger
/// than the others, an error of its weights counts so many times.
pub(super) fn of_input(input: &Statistics) -> Option<Cause> {
    let (times, cause) = large_channel(input)?;
    (times >= STRETCHED).then_some(cause)
}

/// The largest channel beside the median of those that are not always zero.
fn large_channel(seen: &Statistics) -> Option<(f64, Cause)> {
    let mut sizes: Vec<(f64, usize)> = seen
        .channels
        .iter()
        .enumerate()
        .map(|(index, channel)| (channel.rms(), index))
        .filter(|&(rms, _)| rms > 0.0)
        .collect();
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let &(largest, channel) = sizes.last().filter(|_| sizes.len() > 1)?;
    let times = largest / sizes[(sizes.len() - 1) / 2].0;
    let found = &seen.channels[channel];
    let cause = if found.deviation() < 0.01 * found.rms() {
        Cause::DeadChannel {
            channel,
            value: found.mean(),
        }
    } else {
        Cause::OutlierChannel { channel, times }
    };
    Some((times, cause))
}

fn of_weights(float: &FloatGraph, place: &Place<'_>) -> Cause {
    let mut worst: Option<(f64, usize)> = None;
    for Constant { position, tensor, .. } in &place.constants {
        let scales = tensor.quantization.channel_scales().unwrap_or(&[]);
        let twin = place.node.map(|node| float.nodes[node].inputs[*position]);
        let reals = twin.and_then(|twin| float.tensors[twin].data.as_deref()?.as_f32());
        let is_bias = matches!(
            tensor.data.as_deref().map(|codes| codes.data.view()),
            Some(View::I32(_))
        );
        let Some(reals) = reals.filter(|_| !is_bias) else {
            continue;
        };
        let rows = scales.len().max(1);
        let row_len = reals.len().div_ceil(rows).max(1);
        // Each row has a scale of its own, or all have one.
        let is_shared = scales.windows(2).all(|pair| pair[0] == pair[1]);
        let sharing = if is_shared { rows } else { 1 };
        for (group, alike) in reals.chunks(row_len * sharing).enumerate() {
            let mut sizes: Vec<(f32, usize)> = alike.iter().map(|x| x.abs()).zip(0..).collect();
            // What is pruned has no size.
            sizes.retain(|&(size, _)| size > 0.0);
            sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
            if let Some(&(largest, at)) = sizes.last() {
                let times = f64::from(largest / sizes[(sizes.len() - 1) / 2].0);
                let channel = group * sharing + at / row_len;
                worst = worst
                    .filter(|&(most, _)| most >= times)
                    .or(Some((times, channel)));
            }
        }
    }
    match (bound_by_bias(place), worst) {
        (channels, _) if channels > 0 => Cause::BiasOverflow { channels },
        (_, Some((times, channel))) if times >= OUTLYING => Cause::WeightOutlier { channel, times },
        _ => Cause::Accumulated,
    }
}

/// Output channels whose weights have a scale as fine as their bias lets them have: half of it would take the sum of both
/// out of int32, for the bias's sake.
fn bound_by_bias(place: &Place<'_>) -> usize {
    let constant = |position: usize| {
        let constant = place
            .constants
            .iter()
            .find(|constant| constant.position == position);
        constant.and_then(|constant| constant.tensor.data.as_deref())
    };
    let (Some(codes), Some(View::I32(bias))) = (
        constant(1).and_then(Values::as_i8),
        constant(2).map(|values| values.data.view()),
    ) else {
        return 0;
    };
    let row_len = (codes.len() / bias.len().max(1)).max(1);
    let is_bound = |(row, bias): &(&[i8], &i32)| {
        let taken: u64 = row.iter().map(|code| u64::from(code.unsigned_abs())).sum();
        let (bias, weights) = (u64::from(bias.unsigned_abs()), 256 * taken);
        bias > weights && 2 * (bias + weights) > i32::MAX as u64
    };
    codes.chunks(row_len).zip(bias).filter(is_bound).count()
}
