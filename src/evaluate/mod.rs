//! FP32 against INT8 on the same samples: metrics with their intervals, and every layer beside its float twin.
//!
//! The float side is the reference executor on the optimized graph; the quantized side is the blob itself, on the
//! simulator. Samples run in parallel and are added up in their order, so the figures do not depend on the number of
//! threads.

mod auc;
mod bootstrap;
mod codes;
mod detection;
mod diagnosis;
mod error;
mod explained;
mod f1;
mod guard;
mod hits;
mod interval;
mod isolated;
mod judge;
mod labels;
mod layers;
mod mcnemar;
mod means;
mod metric;
mod overlap;

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

pub use detection::{BoxesError, Settings as BoxSettings};
pub use diagnosis::{Cause, Diagnosis};
pub use error::EvaluateError;
pub use guard::Outside;
pub use interval::Estimate;
pub use labels::Labels;
pub use layers::{COLLAPSED_DB, Layer};
pub use mcnemar::Change;
pub use metric::{Metric, MetricKind, Unit};

use crate::data::npy::Array;
use crate::ir::{FloatGraph, Program, Progress, QuantGraph, Samples, TensorInfo};
use crate::op::tensor::Values;
use crate::reference::Executor;
use crate::simulate::{Simulator, edge};
use guard::Guard;
use isolated::{Part, Trial};
use judge::{Both, Judge, Seen};
use layers::{Probes, Sums};

/// Samples over which places are measured alone for a diagnosis.
const DIAGNOSED_SAMPLES: usize = 8;

/// A compiled model in all its forms.
#[derive(Clone, Copy)]
pub struct Subject<'s> {
    /// The optimized float graph.
    pub float: &'s FloatGraph,
    /// What it became.
    pub quant: &'s QuantGraph,
    /// What it was scheduled to.
    pub program: &'s Program,
    /// What runs.
    pub blob: &'s [u8],
    /// What it was calibrated with, where that is known.
    pub calibration: Option<&'s dyn Samples>,
}

/// What to measure.
#[derive(Debug, Default)]
pub struct Options {
    /// The metrics.
    pub metrics: Vec<MetricKind>,
    /// What is known to be right.
    pub labels: Option<Labels>,
    /// Outputs that are expected, a row of numbers per sample. Metrics that compare outputs take these before
    /// labelled ones.
    pub expected: Option<Array>,
    /// The score from which on class 1 is named, for metrics that tell two classes apart.
    pub threshold: Option<f64>,
    /// How outputs stand for boxes; without it, they are boxes and scores already.
    pub boxes: Option<BoxSettings>,
    /// Per sample, the group it belongs to.
    pub groups: Option<Vec<usize>>,
    /// Samples over which layers are compared, spread evenly.
    pub layer_samples: usize,
    /// Whether each layer with parameters is measured by itself too, which takes one more run of the float model per
    /// layer and sample.
    pub isolated: bool,
    /// Whether causes of loss are looked for even where no layer collapses.
    pub diagnose: bool,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// One per metric asked for.
    pub metrics: Vec<Metric>,
    /// One per layer, in the order of the program.
    pub layers: Vec<Layer>,
    /// Why precision is lost, the worst first; empty where nothing calls for it.
    pub diagnoses: Vec<Diagnosis>,
    /// The tensors of which something lies outside the calibrated range, inputs first.
    pub outside: Vec<Outside>,
}

/// Measures a compiled model on samples. Metrics judge the model's first output.
///
/// # Errors
/// Where a sample cannot be read, or labels and groups do not fit the samples or the metrics.
pub fn run(
    subject: Subject<'_>,
    samples: &dyn Samples,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Report, EvaluateError> {
    if samples.is_empty() {
        return Err(EvaluateError::NoSamples);
    }
    let judges = metric::judges(subject.float, options, samples.len())?;
    let guard = Guard::new(subject.float, subject.quant, samples.len());
    show(subject, samples, &judges, &guard, progress)?;
    let metrics = judges
        .iter()
        .map(|judge| judge.figures())
        .collect::<Result<_, _>>()?;
    let mut layers = compare_layers(subject, samples, options.layer_samples, progress)?;
    let diagnoses = isolate(subject, samples, options, &mut layers, progress)?;
    Ok(Report {
        metrics,
        layers,
        diagnoses,
        outside: guard.report(),
    })
}

/// Runs both models on every sample, shows the judges what they give, and the guard what comes about.
fn show(
    subject: Subject<'_>,
    samples: &dyn Samples,
    judges: &[Box<dyn Judge + '_>],
    guard: &Guard<'_>,
    progress: Progress<'_>,
) -> Result<(), EvaluateError> {
    let executor = Executor::new(subject.float)?;
    let done = AtomicUsize::new(0);
    // All results, so that of several faulty samples the first is named.
    let shown: Vec<Result<(), EvaluateError>> = (0..samples.len())
        .into_par_iter()
        .map_init(
            || Simulator::new(subject.blob),
            |simulator, sample| {
                let simulator = simulator.as_mut().map_err(|error| error.clone())?;
                let inputs = samples.get(sample)?;
                let mut outside = Vec::new();
                let mut look = |tensor, values: &Values| guard.look(&mut outside, tensor, values);
                let outputs = Both {
                    float: executor.observe(&inputs, &mut look)?,
                    quantized: infer(simulator, &inputs, &mut |_, _| ())?,
                };
                let seen = Seen {
                    sample,
                    inputs: &inputs,
                    first: outputs.map(|outputs| outputs[0].to_f64()),
                    outputs: outputs.map(|outputs| outputs.as_slice()),
                };
                for judge in judges {
                    judge.see(&seen)?;
                }
                guard.put(sample, outside);
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                progress("evaluating", done, samples.len());
                Ok(())
            },
        )
        .collect();
    shown.into_iter().collect()
}

/// One inference of the blob on a sample, from a fresh state; `trace` sees each step's output.
fn infer(
    simulator: &mut Simulator<'_>,
    inputs: &[Values],
    trace: &mut dyn FnMut(usize, &[u8]),
) -> Result<Vec<Values>, EvaluateError> {
    simulator.reset()?;
    let stored = edge::store_all(simulator.blob(), inputs)?;
    let stored: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
    let outputs = simulator.run_traced(&stored, trace)?;
    Ok(edge::load_all(simulator.blob(), &outputs)?)
}

/// Measures layers alone where that is asked for, and looks for causes where that is asked for or a layer collapses.
fn isolate(
    subject: Subject<'_>,
    samples: &dyn Samples,
    options: &Options,
    layers: &mut [Layer],
    progress: Progress<'_>,
) -> Result<Vec<Diagnosis>, EvaluateError> {
    let collapses = layers.iter().any(|layer| layer.sqnr_db < COLLAPSED_DB);
    let diagnose = (options.diagnose || collapses) && options.layer_samples > 0;
    if !(options.isolated || diagnose) {
        return Ok(Vec::new());
    }
    let mut places = isolated::places(subject);
    if !diagnose {
        places.retain(|place| !place.constants.is_empty());
    }
    let wanted = match options.layer_samples {
        wanted if options.isolated => wanted,
        wanted => wanted.min(DIAGNOSED_SAMPLES),
    };
    let trial = Trial::new(subject.float, samples, spread(wanted, samples.len()))?;
    let done = AtomicUsize::new(0);
    let costs: Vec<Option<f64>> = places
        .par_iter()
        .map(|place| {
            let cost = trial.cost(place, Part::All)?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            progress("isolating layers", done, places.len());
            Ok(cost)
        })
        .collect::<Result<_, EvaluateError>>()?;
    for (place, cost) in places.iter().zip(&costs) {
        let layer = layers.iter_mut().find(|layer| layer.tensor == place.tensor.name);
        if let Some(layer) = layer.filter(|_| !place.constants.is_empty()) {
            layer.isolated_db = *cost;
        }
    }
    if diagnose {
        diagnosis::run(subject, samples, &places, &trial, &costs, layers)
    } else {
        Ok(Vec::new())
    }
}

/// At most `wanted` of `count` samples, spread evenly.
fn spread(wanted: usize, count: usize) -> Vec<usize> {
    let wanted = wanted.min(count);
    (0..wanted).map(|i| i * count / wanted).collect()
}

/// A ratio of energies in decibels; infinite where there is no noise at all.
fn decibel(signal: f64, noise: f64) -> f64 {
    if noise == 0.0 {
        f64::INFINITY
    } else {
        // A signal of nothing but zeros, disturbed, is as bad as can be told in a finite number.
        10.0 * libm::log10((signal / noise).max(1e-20))
    }
}

/// Compares every layer over some samples, spread evenly.
fn compare_layers(
    subject: Subject<'_>,
    samples: &dyn Samples,
    wanted: usize,
    progress: Progress<'_>,
) -> Result<Vec<Layer>, EvaluateError> {
    let positions = spread(wanted, samples.len());
    let probes = Probes::new(subject.quant, subject.program);
    let executor = Executor::new(subject.float)?;
    let done = AtomicUsize::new(0);
    let per_sample: Vec<Vec<Sums>> = positions
        .par_iter()
        .map_init(
            || Simulator::new(subject.blob),
            |simulator, &sample| {
                let simulator = simulator.as_mut().map_err(|error| error.clone())?;
                let inputs = samples.get(sample)?;
                let mut buffers = probes.buffers();
                infer(simulator, &inputs, &mut |step, output| {
                    probes.record(&mut buffers, step, output)
                })?;
                let mut sums = vec![Sums::default(); buffers.len()];
                executor.observe(&inputs, &mut |handle, values| {
                    if let Some(&probe) = probes.by_name.get(subject.float.tensors[handle].name()) {
                        sums[probe] = probes.compare(probe, &buffers[probe], values);
                    }
                })?;
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                progress("comparing layers", done, positions.len());
                Ok(sums)
            },
        )
        .collect::<Result<_, EvaluateError>>()?;
    let mut total = vec![Sums::default(); probes.probes.len()];
    for sums in &per_sample {
        total
            .iter_mut()
            .zip(sums)
            .for_each(|(total, sums)| total.add(sums));
    }
    Ok(probes.report(&total))
}
