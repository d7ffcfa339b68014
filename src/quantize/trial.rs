//! Which of the steps and calibrators that are asked for help: tried on some of the samples, judged on others.
//!
//! What is made from few samples may fit those alone. A third of them is held back to see.

use super::calibration::Calibration;
use super::subset::Subset;
use super::{Calibrator, Options, QuantizeError, Step, Steps};
use crate::ir::{FloatGraph, Progress, Samples};

/// One in this many samples judges; the others calibrate.
const JUDGES: usize = 3;
/// Samples that a trial needs to calibrate with.
const FEWEST: usize = 4;
/// What the loss must fall to for another choice to be worth it.
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

/// The options that do best on samples which calibration did not see: those given, or the same without some steps, or with one
/// calibrator for all tensors instead of [`Calibrator::Auto`]. With what has to be said of that.
pub(super) fn choose(
    graph: &FloatGraph,
    samples: &dyn Samples,
    options: &Options,
    progress: Progress<'_>,
) -> Result<(Options, Option<String>), QuantizeError> {
    let subset = Subset::of(samples, graph, options.effort.macs());
    let (calibrating, judging) = subset.divided(JUDGES);
    let steps = fewer_steps(options.steps);
    if steps.is_empty() || calibrating.len() < FEWEST {
        return Ok((options.clone(), None));
    }
    let calibrators: &[Calibrator] = if options.calibrator == Calibrator::Auto {
        &[Calibrator::MinMax, Calibrator::Percentile(99.99)]
    } else {
        &[]
    };
    let total = 1 + steps.len() + calibrators.len();
    let mut done = 0;
    let mut loss = |options: &Options| -> Result<f64, QuantizeError> {
        let quiet: Progress<'_> = &|_, _, _| ();
        let mut calibration = Calibration::with(graph.clone(), &calibrating, options.clone(), quiet)?;
        let loss = calibration.loss(&judging)?;
        done += 1;
        progress("trying steps on samples held back", done, total);
        // In proportion for each output: none outweighs another.
        let shares = loss.iter().map(|loss| libm::log(loss.max(f64::MIN_POSITIVE)));
        Ok(shares.sum())
    };
    let worth = libm::log(WORTH) * graph.outputs.len() as f64;
    let mut best = (loss(options)?, options.clone());
    for steps in steps {
        let other = Options {
            steps,
            ..options.clone()
        };
        let lost = loss(&other)?;
        if lost < best.0 + worth {
            best = (lost, other);
        }
    }
    for &calibrator in calibrators {
        let other = Options {
            calibrator,
            ..best.1.clone()
        };
        let lost = loss(&other)?;
        if lost < best.0 + worth {
            best = (lost, other);
        }
    }
    let note = note(options, &best.1);
    Ok((best.1, note))
}

/// Sets of steps that are less than those asked for.
fn fewer_steps(asked: Steps) -> Vec<Steps> {
    let mut fewer = Vec::new();
    for left_out in [&CHANNELS[..], &MENDS[..], &[&CHANNELS[..], &MENDS[..]].concat()] {
        let steps = left_out
            .iter()
            .fold(asked, |steps, &step| steps.with(step, false));
        if steps != asked && !fewer.contains(&steps) {
            fewer.push(steps);
        }
    }
    fewer
}

/// What was changed, and why.
fn note(asked: &Options, chosen: &Options) -> Option<String> {
    let left_out = CHANNELS.into_iter().chain(MENDS);
    let left_out = left_out.filter(|&step| asked.steps.has(step) && !chosen.steps.has(step));
    let left_out: Vec<&str> = left_out.map(Step::name).collect();
    let mut changes = Vec::new();
    if !left_out.is_empty() {
        changes.push(format!("{} are left out", left_out.join(", ")));
    }
    if asked.calibrator != chosen.calibrator {
        changes.push(format!("all ranges come from {:?}", chosen.calibrator));
    }
    (!changes.is_empty()).then(|| format!("{}: samples held back lose less so", changes.join(", and ")))
}
