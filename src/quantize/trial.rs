//! Which of the steps that are asked for help: tried on some of the samples, judged on others.
//!
//! What is made from few samples may fit those alone. A third of them is held back to see.

use super::calibration::Calibration;
use super::subset::Subset;
use super::{Options, QuantizeError, Step, Steps};
use crate::ir::{FloatGraph, Progress, Samples};

/// One in this many samples judges; the others calibrate.
const JUDGES: usize = 3;
/// Samples that a trial needs to calibrate with.
const FEWEST: usize = 4;
/// What the loss must fall to for leaving steps out to be worth it.
const WORTH: f64 = 0.9;

/// Steps that change channels in the graph.
const CHANNELS: [Step; 4] = [
    Step::AbsorbBias,
    Step::EqualizeChannels,
    Step::SmoothActivations,
    Step::SplitOutliers,
];
/// Steps that change weights and biases for the samples' sake.
const MENDS: [Step; 2] = [Step::ReconstructWeights, Step::CorrectBias];

/// The steps to take: all that are asked for, or those without some that do worse on samples which calibration did not see.
/// With what has to be said of that.
pub(super) fn choose(
    graph: &FloatGraph,
    samples: &dyn Samples,
    options: &Options,
    progress: Progress<'_>,
) -> Result<(Steps, Option<String>), QuantizeError> {
    let asked = options.steps;
    let mut candidates = vec![asked];
    let without = |left_out: &[Step]| {
        left_out
            .iter()
            .fold(asked, |steps, &step| steps.with(step, false))
    };
    for left_out in [&CHANNELS[..], &MENDS[..], &[&CHANNELS[..], &MENDS[..]].concat()] {
        let steps = without(left_out);
        if !candidates.contains(&steps) {
            candidates.push(steps);
        }
    }
    let subset = Subset::of(samples, graph, options.effort.macs());
    let (calibrating, judging) = subset.divided(JUDGES);
    if candidates.len() < 2 || calibrating.len() < FEWEST {
        return Ok((asked, None));
    }
    let quiet: Progress<'_> = &|_, _, _| ();
    let mut best = (asked, f64::INFINITY);
    for (done, &steps) in candidates.iter().enumerate() {
        let options = Options {
            steps,
            ..options.clone()
        };
        let loss = Calibration::with(graph.clone(), &calibrating, options, quiet)?.loss(&judging)?;
        // In proportion for each output: no output outweighs another.
        let loss = loss
            .iter()
            .map(|loss| libm::log(loss.max(f64::MIN_POSITIVE)))
            .sum::<f64>();
        let worth = if done == 0 {
            0.0
        } else {
            -libm::log(WORTH) * graph.outputs.len() as f64
        };
        if loss + worth < best.1 {
            best = (steps, loss);
        }
        progress("trying steps on samples held back", done + 1, candidates.len());
    }
    let left_out = CHANNELS.into_iter().chain(MENDS);
    let left_out = left_out.filter(|&step| asked.has(step) && !best.0.has(step));
    let left_out: Vec<&str> = left_out.map(Step::name).collect();
    let note = format!(
        "left out, because other samples lose more by it: {}",
        left_out.join(", ")
    );
    Ok((best.0, (!left_out.is_empty()).then_some(note)))
}
