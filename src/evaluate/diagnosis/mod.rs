//! Why precision is lost, and where: the places that cost most alone, each with the cause that its figures support
//! best and what to do about it.
//!
//! What is looked at: the cost of every place at the model's outputs where it alone is quantized
//! ([`super::isolated`]), the float model's tensors over calibration and evaluation samples ([`statistics`]), and the
//! quantized graph. [`rules`] holds the rules.

mod cause;
mod rules;
mod statistics;

pub use cause::Cause;

use super::isolated::{Part, Place, Trial};
use super::layers::{COLLAPSED_DB, Layer};
use super::{EvaluateError, Subject, spread};
use crate::ir::Samples;
use rules::Evidence;

/// A place with a better ratio than this alone, in decibels at the model's outputs, has nothing to explain.
const LOSES_DB: f64 = 30.0;

/// Ordinary rounding is told as a cause only below this ratio.
const ROUNDED_DB: f64 = 25.0;

/// Places that are explained.
const MOST_PLACES: usize = 8;

/// Samples that statistics are taken over.
const SAMPLES: usize = 64;

/// Why an input or a layer loses precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// The node, or the input.
    pub name: String,
    /// The tensor it gives.
    pub tensor: String,
    /// Whether it is an input of the model.
    pub is_input: bool,
    /// Signal to noise at the worst of the model's outputs where it alone is quantized.
    pub isolated_db: Option<f64>,
    /// Why.
    pub cause: Cause,
}

/// The places that lose, the worst first, but calibration data that do not fit before all else.
///
/// # Errors
/// Where a sample cannot be read or the float model does not run.
pub(super) fn run(
    subject: Subject<'_>,
    samples: &dyn Samples,
    places: &[Place<'_>],
    trial: &Trial<'_>,
    costs: &[Option<f64>],
    layers: &[Layer],
) -> Result<Vec<Diagnosis>, EvaluateError> {
    let gather = |samples: &dyn Samples| {
        statistics::gather(subject.float, places, samples, &spread(SAMPLES, samples.len()))
    };
    let evaluation = gather(samples)?;
    let calibration = match subject.calibration {
        Some(samples) if !samples.is_empty() => Some(gather(samples)?),
        _ => None,
    };
    let calibration_samples = subject.calibration.map_or(0, |samples| samples.len());
    let calibrated = |index: usize| calibration.as_ref().map(|statistics| &statistics[index]);
    let diagnosis = |index: usize, cause| {
        let place = &places[index];
        let tensor = place.tensor.name.clone();
        Diagnosis {
            name: place
                .node
                .map_or_else(|| tensor.clone(), |node| subject.float.nodes[node].name.clone()),
            tensor,
            is_input: place.node.is_none(),
            isolated_db: costs[index],
            cause,
        }
    };
    let mut found: Vec<Diagnosis> = Vec::new();
    for index in (0..places.len()).filter(|&index| places[index].node.is_none()) {
        let cause =
            calibrated(index).and_then(|seen| rules::of_data(seen, calibration_samples, &evaluation[index]));
        found.extend(cause.map(|cause| diagnosis(index, cause)));
    }
    // Small parts of an output beside large ones are lost without a trace in its noise.
    let seen = calibration.as_ref().unwrap_or(&evaluation);
    let concats = rules::of_concats(subject.quant, places, seen);
    found.extend(concats.into_iter().map(|(index, cause)| diagnosis(index, cause)));
    let mut losing: Vec<(f64, usize)> = costs
        .iter()
        .enumerate()
        .filter_map(|(index, cost)| Some(((*cost)?, index)))
        .filter(|&(cost, _)| cost < LOSES_DB)
        .collect();
    losing.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for &(cost, index) in losing.iter().take(MOST_PLACES) {
        let place = &places[index];
        if found.iter().any(|found| found.tensor == place.tensor.name) {
            continue;
        }
        let (constants_db, output_db) = if place.constants.is_empty() {
            (f64::INFINITY, cost)
        } else {
            let alone = |part| Ok::<_, EvaluateError>(trial.cost(place, part)?.unwrap_or(f64::INFINITY));
            (alone(Part::Constants)?, alone(Part::Output)?)
        };
        let evidence = Evidence {
            place,
            constants_db,
            output_db,
            calibration: calibrated(index),
            calibration_samples,
            evaluation: &evaluation[index],
        };
        let cause = rules::explain(subject.float, &evidence);
        let input = (cause == Cause::Accumulated && constants_db < output_db)
            .then(|| input_of(subject, places, place))
            .flatten();
        let of_input = input.and_then(|input| Some((input, rules::of_input(&seen[input])?)));
        let (index, cause) = of_input.unwrap_or((index, cause));
        let is_ordinary = cause == Cause::Accumulated && cost >= ROUNDED_DB;
        let is_known = found
            .iter()
            .any(|found| found.tensor == places[index].tensor.name);
        if !(is_ordinary || is_known) {
            found.push(diagnosis(index, cause));
        }
    }
    // What is wrong with an input's data is seen in every tensor behind it.
    if found
        .iter()
        .any(|found| found.is_input && found.cause.is_of_data())
    {
        found.retain(|found| found.is_input || !found.cause.is_of_data());
    }
    if found.is_empty() {
        found.extend(accumulated(layers));
    }
    Ok(found)
}

/// What a layer with weights reads, among the places.
fn input_of(subject: Subject<'_>, places: &[Place<'_>], layer: &Place<'_>) -> Option<usize> {
    let input = subject.float.nodes[layer.node?].inputs.first()?;
    places.iter().position(|place| place.handle == *input)
}

/// The first layer that collapses, where no place alone costs much.
fn accumulated(layers: &[Layer]) -> Option<Diagnosis> {
    let layer = layers.iter().find(|layer| layer.sqnr_db < COLLAPSED_DB)?;
    Some(Diagnosis {
        name: layer.name.clone(),
        tensor: layer.tensor.clone(),
        is_input: false,
        isolated_db: layer.isolated_db,
        cause: Cause::Accumulated,
    })
}
