//! FP32 against INT8 on the same samples: metrics with their intervals, and every layer beside its float twin.
//!
//! The float side is the reference executor on the optimized graph; the quantized side is the blob itself, on the
//! simulator. Samples run in parallel and are added up in their order, so the figures do not depend on the number of
//! threads.

mod auc;
mod interval;
mod layers;
mod metric;

use rayon::prelude::*;

pub use interval::Estimate;
pub use layers::{COLLAPSED_DB, Diagnosis, Layer};
pub use metric::{Metric, MetricKind};

use crate::data::DataError;
use crate::data::npy::Array;
use crate::ir::{FloatGraph, Program, Progress, QuantGraph, SampleError, Samples, TensorInfo};
use crate::op::tensor::Values;
use crate::reference::{Executor, ReferenceError};
use crate::simulate::edge::{self, EdgeError};
use crate::simulate::{SimulateError, Simulator};
use layers::{Probes, Sums};
use metric::{Both, Outcome};

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
}

/// What is known to be right.
#[derive(Debug)]
pub enum Labels {
    /// A class per sample, or per group of samples.
    Classes(Vec<i64>),
    /// A whole output per sample.
    Outputs(Array),
}

impl Labels {
    /// Labels from an array: whole outputs where it has one per sample and more than one number in each, else
    /// classes.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn new(array: Array, samples: usize) -> Result<Self, DataError> {
        if array.len() > samples && array.shape.first() == Some(&samples) {
            return Ok(Self::Outputs(array));
        }
        let classes = array.read_f64()?;
        Ok(Self::Classes(
            classes.into_iter().map(|class| class as i64).collect(),
        ))
    }
}

/// What to measure.
#[derive(Debug, Default)]
pub struct Options {
    /// The metrics.
    pub metrics: Vec<MetricKind>,
    /// What is known to be right.
    pub labels: Option<Labels>,
    /// Per sample, the group it belongs to.
    pub groups: Option<Vec<usize>>,
    /// Samples over which layers are compared, spread evenly.
    pub layer_samples: usize,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// One per metric asked for.
    pub metrics: Vec<Metric>,
    /// One per layer, in the order of the program.
    pub layers: Vec<Layer>,
}

/// Why a model cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// No such metric.
    #[error("no metric is called `{name}`; there are {}", MetricKind::ALL.map(MetricKind::name).join(", "))]
    UnknownMetric {
        /// The name asked for.
        name: String,
    },
    /// The metric compares with classes.
    #[error("metric `{metric}` needs labels that are classes")]
    NeedsClasses {
        /// The metric.
        metric: &'static str,
    },
    /// Labels and samples do not match in number.
    #[error("{found} labels for {wanted} {per}s; one per {per} is wanted")]
    LabelCount {
        /// Labels given.
        found: usize,
        /// Samples or groups.
        wanted: usize,
        /// `sample` or `group`.
        per: &'static str,
    },
    /// Labelled outputs that the model cannot give.
    #[error("the labels have shape {found:?}; the model's output has {wanted} numbers per sample")]
    LabelShape {
        /// The labels' shape.
        found: Vec<usize>,
        /// Numbers of an output.
        wanted: usize,
    },
    /// Groups and samples do not match in number.
    #[error("{found} group numbers for {wanted} samples")]
    GroupCount {
        /// Group numbers given.
        found: usize,
        /// Samples.
        wanted: usize,
    },
    /// A group number that no sample has.
    #[error("no sample belongs to group {group}; groups are numbered from 0 without gaps")]
    EmptyGroup {
        /// The number.
        group: usize,
    },
    /// A label other than 0 and 1 for a metric of two classes.
    #[error("label {label} is neither 0 nor 1, which is what auc tells apart")]
    NotBinary {
        /// The label.
        label: i64,
    },
    /// All labels are the same.
    #[error("every label is {label}; auc needs both classes")]
    OneClass {
        /// The label.
        label: i64,
    },
    /// There is nothing to measure on.
    #[error("there is no sample to evaluate on")]
    NoSamples,
    /// A sample cannot be read.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A label cannot be read.
    #[error(transparent)]
    Label(#[from] DataError),
    /// The float model does not run.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A sample does not pass the blob's edge.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The blob does not run.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
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
    check_options(subject, samples, options)?;
    let outcomes = outcomes(subject, samples, options, progress)?;
    let metrics = options
        .metrics
        .iter()
        .map(|&kind| {
            metric::judge(
                kind,
                &outcomes,
                options.labels.as_ref(),
                options.groups.as_deref(),
            )
        })
        .collect::<Result<_, _>>()?;
    let layers = compare_layers(subject, samples, options.layer_samples, progress)?;
    Ok(Report { metrics, layers })
}

fn check_options(
    subject: Subject<'_>,
    samples: &dyn Samples,
    options: &Options,
) -> Result<(), EvaluateError> {
    if let Some(groups) = &options.groups
        && groups.len() != samples.len()
    {
        return Err(EvaluateError::GroupCount {
            found: groups.len(),
            wanted: samples.len(),
        });
    }
    if let Some(Labels::Outputs(array)) = &options.labels {
        let wanted = subject.float.tensors[subject.float.outputs[0]].ty.len();
        if array.len() != wanted * samples.len() {
            return Err(EvaluateError::LabelShape {
                found: array.shape.clone(),
                wanted,
            });
        }
    }
    Ok(())
}

/// Runs both models on every sample.
fn outcomes(
    subject: Subject<'_>,
    samples: &dyn Samples,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Vec<Outcome>, EvaluateError> {
    let executor = Executor::new(subject.float)?;
    let done = std::sync::atomic::AtomicUsize::new(0);
    (0..samples.len())
        .into_par_iter()
        .map_init(
            || Simulator::new(subject.blob),
            |simulator, i| {
                let simulator = simulator.as_mut().map_err(|error| error.clone())?;
                let inputs = samples.get(i)?;
                let outputs = Both {
                    float: executor.run(&inputs)?[0].to_f64(),
                    quantized: infer(simulator, &inputs, &mut |_, _| ())?[0].to_f64(),
                };
                let truth = match &options.labels {
                    Some(Labels::Outputs(array)) => {
                        let count = outputs.float.len();
                        let data = array.read(i * count, count)?;
                        Some(Values::new([count], data).to_f64())
                    }
                    Some(Labels::Classes(_)) | None => None,
                };
                let outcome = Outcome::new(&outputs, truth.as_deref(), &inputs[0].to_f64());
                let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                progress("evaluating", done, samples.len());
                Ok(outcome)
            },
        )
        .collect()
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

/// Compares every layer over some samples, spread evenly.
fn compare_layers(
    subject: Subject<'_>,
    samples: &dyn Samples,
    wanted: usize,
    progress: Progress<'_>,
) -> Result<Vec<Layer>, EvaluateError> {
    let count = wanted.min(samples.len());
    let probes = Probes::new(subject.quant, subject.program);
    let executor = Executor::new(subject.float)?;
    let done = std::sync::atomic::AtomicUsize::new(0);
    let per_sample: Vec<Vec<Sums>> = (0..count)
        .into_par_iter()
        .map_init(
            || Simulator::new(subject.blob),
            |simulator, i| {
                let simulator = simulator.as_mut().map_err(|error| error.clone())?;
                let inputs = samples.get(i * samples.len() / count)?;
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
                let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                progress("comparing layers", done, count);
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
