//! Ranges of tensors over samples: streaming, so that memory does not grow with the number of samples.
//!
//! Samples run in parallel; what they leave behind is merged by the least, the greatest and sums of whole numbers,
//! none of which depends on the order, so one thread and many give the same ranges.

use rayon::prelude::*;

use super::histogram::Histogram;
use super::pins::Pins;
use super::spread::Spread;
use super::{Calibrator, QuantizeError};
use crate::ir::{FloatGraph, FloatTensor, Handle, Progress, Samples};
use crate::op::quant::Range;
use crate::op::tensor::Values;
use crate::reference::Executor;

/// Samples whose results are held at a time.
const BATCH: usize = 64;

/// How much of a moving average each sample replaces, as ONNX Runtime does it.
const MOMENTUM: f32 = 0.01;

/// The ranges of every f32 tensor that was observed, by tensor.
pub(super) struct Observed {
    /// From the least to the greatest value.
    pub(super) extremes: Vec<Option<Range>>,
    /// The moving average of the samples' extremes.
    pub(super) averages: Vec<Option<Range>>,
    /// What the samples' extremes let expect of a next sample.
    pub(super) expected: Vec<Option<Range>>,
    /// How the values lie between the extremes; empty where no calibrator needs it.
    pub(super) histograms: Vec<Option<Histogram>>,
}

impl Observed {
    /// Runs the samples past every tensor: once, or twice where a calibrator needs the distribution.
    pub(super) fn of(
        graph: &FloatGraph,
        samples: &dyn Samples,
        calibrators: &[Calibrator],
        progress: Progress<'_>,
    ) -> Result<Self, QuantizeError> {
        for &calibrator in calibrators {
            if let Calibrator::Percentile(percent) = calibrator
                && !(percent > 0.0 && percent <= 100.0)
            {
                return Err(QuantizeError::Percentile(percent));
            }
        }
        if samples.is_empty() {
            return Err(QuantizeError::NoSamples);
        }
        let executor = Executor::new(graph)?;
        let once = calibrators
            .iter()
            .all(|calibrator| matches!(calibrator, Calibrator::MinMax | Calibrator::MovingAverage));
        let total = if once { 1 } else { 2 } * samples.len();
        let Extremes {
            ranges: extremes,
            averages,
            expected,
        } = extremes(graph, &executor, samples, &|done| {
            progress("calibrating", done, total)
        })?;
        let mut observed = Self {
            histograms: vec![None; extremes.len()],
            extremes,
            averages,
            expected,
        };
        if !once {
            let report = |done: usize| progress("calibrating", samples.len() + done, total);
            observed.histograms = histograms(graph, &executor, samples, &observed.extremes, &report)?;
        }
        Ok(observed)
    }

    /// The range of every tensor as one calibrator has it. `Auto` has none of its own; the extremes stand for it.
    pub(super) fn ranges(&self, calibrator: Calibrator) -> Vec<Option<Range>> {
        (0..self.extremes.len())
            .into_par_iter()
            .map(|tensor| self.range(tensor, calibrator))
            .collect()
    }

    /// The range of one tensor, by its index, as [`Self::ranges`] has it.
    fn range(&self, tensor: usize, calibrator: Calibrator) -> Option<Range> {
        let histogram = self.histograms[tensor].as_ref();
        match calibrator {
            Calibrator::MinMax | Calibrator::Auto => self.extremes[tensor],
            Calibrator::MovingAverage => self.averages[tensor],
            Calibrator::Percentile(percent) => histogram.map(|histogram| histogram.percentile(percent)),
            Calibrator::Entropy => histogram.map(Histogram::least_divergence),
            Calibrator::MeanSquaredError => histogram.map(Histogram::least_squared_error),
        }
    }

    /// Gives tensors the ranges that are settled by name.
    pub(super) fn pin(&self, graph: &FloatGraph, pins: &Pins, ranges: &mut [Option<Range>]) {
        for (tensor, pin) in pins.of_tensors(graph) {
            let observed = pin
                .calibrator
                .and_then(|calibrator| self.range(tensor.index(), calibrator));
            if let Some(range) = pin.range.or(observed) {
                ranges[tensor.index()] = Some(range);
            }
        }
    }
}

/// Ranges by tensor.
type Ranges = Vec<Option<Range>>;

/// What one pass over the samples tells.
struct Extremes {
    ranges: Ranges,
    averages: Ranges,
    expected: Ranges,
}

/// The least and the greatest value of every tensor, the moving average of those of each sample, and how far they vary.
fn extremes(
    graph: &FloatGraph,
    executor: &Executor<'_>,
    samples: &dyn Samples,
    report: &(dyn Fn(usize) + Sync),
) -> Result<Extremes, QuantizeError> {
    let mut ranges = vec![None; graph.tensors.len()];
    let mut averages: Ranges = vec![None; graph.tensors.len()];
    let mut spreads: Vec<[Spread; 2]> = vec![[Spread::default(); 2]; graph.tensors.len()];
    for first in (0..samples.len()).step_by(BATCH) {
        let last = samples.len().min(first + BATCH);
        let batch: Vec<Result<Ranges, QuantizeError>> = (first..last)
            .into_par_iter()
            .map(|sample| extremes_of(graph, executor, samples, sample))
            .collect();
        // In the order of the samples, so that the first faulty one is named, and averages move alike.
        for found in batch {
            let found = found?;
            for (average, found) in averages.iter_mut().zip(&found) {
                *average = moved(*average, *found);
            }
            for (ends, found) in spreads.iter_mut().zip(&found) {
                if let Some(found) = found {
                    ends[0].add(found.min);
                    ends[1].add(found.max);
                }
            }
            for (range, found) in ranges.iter_mut().zip(found) {
                *range = joined(*range, found);
            }
        }
        report(last);
    }
    let expected = spreads.iter().zip(&ranges).map(|([low, high], range)| {
        range.map(|_| Range {
            min: low.least(),
            max: high.greatest(),
        })
    });
    let expected = expected.collect();
    Ok(Extremes {
        ranges,
        averages,
        expected,
    })
}

/// A moving average after one more range.
fn moved(average: Option<Range>, next: Option<Range>) -> Option<Range> {
    match (average, next) {
        (Some(average), Some(next)) => Some(Range {
            min: average.min + MOMENTUM * (next.min - average.min),
            max: average.max + MOMENTUM * (next.max - average.max),
        }),
        (a, b) => a.or(b),
    }
}

/// The extremes of one sample.
fn extremes_of(
    graph: &FloatGraph,
    executor: &Executor<'_>,
    samples: &dyn Samples,
    sample: usize,
) -> Result<Vec<Option<Range>>, QuantizeError> {
    let mut ranges = vec![None; graph.tensors.len()];
    let mut odd = None;
    run_sample(graph, executor, samples, sample, &mut |tensor, values| {
        let Some(values) = values.as_f32() else { return };
        match extremes_in(values) {
            Ok(found) => ranges[tensor.index()] = joined(ranges[tensor.index()], found),
            Err(value) => odd = odd.or(Some((tensor, value))),
        }
    })?;
    match odd {
        None => Ok(ranges),
        Some((tensor, value)) => Err(QuantizeError::NotFinite {
            sample,
            tensor: graph.tensors[tensor].name.clone(),
            value,
        }),
    }
}

/// The least and the greatest of some values, or one that is not finite.
fn extremes_in(values: &[f32]) -> Result<Option<Range>, f32> {
    let Some(&first) = values.first() else {
        return Ok(None);
    };
    let (mut min, mut max, mut finite) = (first, first, true);
    for &value in values {
        min = if value < min { value } else { min };
        max = if value > max { value } else { max };
        finite &= value.is_finite();
    }
    if finite {
        Ok(Some(Range { min, max }))
    } else {
        Err(values
            .iter()
            .copied()
            .find(|value| !value.is_finite())
            .unwrap_or(f32::NAN))
    }
}

/// The union.
fn joined(a: Option<Range>, b: Option<Range>) -> Option<Range> {
    match (a, b) {
        (Some(a), Some(b)) => Some(Range {
            min: a.min.min(b.min),
            max: a.max.max(b.max),
        }),
        (a, b) => a.or(b),
    }
}

/// How the values of every tensor lie between its extremes.
fn histograms(
    graph: &FloatGraph,
    executor: &Executor<'_>,
    samples: &dyn Samples,
    extremes: &[Option<Range>],
    report: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Option<Histogram>>, QuantizeError> {
    let empty =
        || -> Vec<Option<Histogram>> { extremes.iter().map(|range| range.map(Histogram::new)).collect() };
    let mut total = empty();
    for first in (0..samples.len()).step_by(BATCH) {
        let last = samples.len().min(first + BATCH);
        // One set of histograms per worker; counts are whole numbers, so their sum has no order.
        let batch = (first..last)
            .into_par_iter()
            .with_min_len(BATCH / 8)
            .try_fold(empty, |mut histograms, sample| {
                run_sample(graph, executor, samples, sample, &mut |tensor, values| {
                    if let (Some(histogram), Some(values)) =
                        (&mut histograms[tensor.index()], values.as_f32())
                    {
                        histogram.count(values);
                    }
                })?;
                Ok::<_, QuantizeError>(histograms)
            })
            .try_reduce(empty, |mut a, b| {
                merge(&mut a, &b);
                Ok(a)
            })?;
        merge(&mut total, &batch);
        report(last);
    }
    Ok(total)
}

fn merge(into: &mut [Option<Histogram>], from: &[Option<Histogram>]) {
    for (into, from) in into.iter_mut().zip(from) {
        if let (Some(into), Some(from)) = (into, from) {
            into.merge(from);
        }
    }
}

/// Runs one sample past an observer.
pub(super) fn run_sample(
    graph: &FloatGraph,
    executor: &Executor<'_>,
    samples: &dyn Samples,
    sample: usize,
    observer: &mut dyn FnMut(Handle<FloatTensor>, &Values),
) -> Result<(), QuantizeError> {
    let inputs = samples.get(sample)?;
    if inputs.len() != graph.inputs.len() {
        return Err(QuantizeError::SampleInputs {
            sample,
            wanted: graph.inputs.len(),
            found: inputs.len(),
        });
    }
    for (&input, values) in graph.inputs.iter().zip(&inputs) {
        let tensor = &graph.tensors[input];
        if values.ty() != tensor.ty {
            return Err(QuantizeError::SampleType {
                sample,
                input: tensor.name.clone(),
                wanted: tensor.ty.clone(),
                found: values.ty(),
            });
        }
    }
    executor.observe(&inputs, observer)?;
    Ok(())
}
