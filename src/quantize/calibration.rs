//! A float graph and all that samples told about it: from here every mix of precisions is near.

use std::collections::BTreeSet;

use super::ladder::{self, Rung};
use super::params::Sources;
use super::precisions::{Precisions, carried};
use super::ranges::Observed;
use super::scheme::Scheme;
use super::subset::Subset;
use super::{
    Calibrator, Options, Precision, QuantizeError, Quantized, Step, Steps, WeightForm, auto, calibrate,
    concats, equalize, finished, loops, noise, sweep, trial, weight_form,
};
use crate::ir::{FloatGraph, FloatTensor, Handle, Progress, Samples};
use crate::op::quant::Range;

/// A float graph that is calibrated.
pub struct Calibration<'s> {
    graph: FloatGraph,
    samples: &'s dyn Samples,
    options: Options,
    /// The precisions that are settled, by node.
    pinned: Vec<Option<Precision>>,
    /// By node.
    forms: Vec<WeightForm>,
    /// For int8 and for int16, by tensor.
    ranges: [Vec<Option<Range>>; 2],
    scheme: Scheme,
}

impl<'s> Calibration<'s> {
    /// Ranges from samples, weights from ranges, both as good as the options' effort makes them: of the steps that are asked for,
    /// those are taken that do best on samples which they were not made from.
    ///
    /// # Errors
    /// See [`QuantizeError`]; a node without an integer form is none yet.
    pub fn of(
        graph: FloatGraph,
        samples: &'s dyn Samples,
        options: &Options,
        progress: Progress<'_>,
    ) -> Result<Self, QuantizeError> {
        options.pins.check(&graph)?;
        let loops = loops(&graph, options.precision);
        if !loops.is_empty() {
            return Err(QuantizeError::Problems(loops));
        }
        let (options, note) = trial::choose(&graph, samples, options, progress)?;
        let mut calibration = Self::with(graph, samples, options, progress)?;
        calibration.graph.notes.extend(note);
        Ok(calibration)
    }

    /// What the model loses on other samples: for each output the squared error in proportion to the output's square.
    pub(super) fn loss(&mut self, others: &Subset<'_>) -> Result<Vec<f64>, QuantizeError> {
        sweep::loss(&self.graph, &mut self.scheme, others)
    }

    /// With all steps that the options have.
    pub(super) fn with(
        mut graph: FloatGraph,
        samples: &'s dyn Samples,
        options: Options,
        progress: Progress<'_>,
    ) -> Result<Self, QuantizeError> {
        let subset = Subset::of(samples, &graph, options.effort.macs());
        let forms = weight_form::taken(&graph, &options.pins.weights(&graph, options.weights));
        let equalized = equalize::run(&mut graph, &forms, &subset, options.steps, progress)?;
        let calibrators: Vec<_> = options.pins.calibrators().chain([options.calibrator]).collect();
        let observed = Observed::of(&graph, samples, &calibrators, progress)?;
        let mut pinned = options.pins.precisions(&graph);
        if options.steps.has(Step::SplitConcats) && options.precision == Precision::Int8 {
            concats::split(&mut graph, &observed.extremes, &mut pinned);
        }
        let precisions = Precisions::of(&graph, options.precision, &pinned);
        graph.notes.extend(precisions.notes(&graph));
        let sources = Sources::of(&graph, &precisions);
        let mut ranges = if options.calibrator == Calibrator::Auto {
            let clips = options.steps.has(Step::ClipTails);
            auto::choose(&graph, &sources, &observed, &subset, clips, progress)?
        } else {
            observed.ranges(options.calibrator)
        };
        observed.pin(&graph, &options.pins, &mut ranges);
        // Cutting tails off gains nothing where there are codes enough.
        let mut extremes = observed.ranges(Calibrator::MinMax);
        observed.pin(&graph, &options.pins, &mut extremes);
        let mut wished = options.pins.weights(&graph, options.weights);
        graph.notes.extend(precisions.settle_weights(&mut wished));
        let forms = weight_form::settle(&mut graph, &wished);
        let params = [
            sources.params(&graph, &ranges),
            sources.wide_params(&graph, &extremes),
        ];
        let mut scheme = Scheme::new(&graph, precisions, params, &forms);
        let mended = sweep::run(&graph, &mut scheme, &subset, options.steps, progress)?;
        if options.steps != Steps::NONE {
            graph.notes.push(format!(
                "channels of {equalized} groups of tensors were equalized, {mended} layers were mended"
            ));
        }
        Ok(Self {
            graph,
            samples,
            options,
            pinned,
            forms,
            ranges: [ranges, extremes],
            scheme,
        })
    }

    /// The graph that was calibrated: the one given, but for what steps changed in it that leaves its results as they are.
    pub fn graph(&self) -> &FloatGraph {
        &self.graph
    }

    /// The nodes that compute an output of the graph, before what only moves it, by position.
    pub fn makers(&self, output: Handle<FloatTensor>) -> Vec<usize> {
        let neighbours = self.graph.neighbours();
        let (mut makers, mut seen, mut open) = (Vec::new(), BTreeSet::new(), vec![output]);
        while let Some(tensor) = open.pop() {
            let Some(position) = neighbours[tensor.index()]
                .producer
                .filter(|_| seen.insert(tensor))
            else {
                continue;
            };
            let moved = carried(&self.graph, &self.graph.nodes[position]);
            if moved.is_empty() {
                makers.push(position);
            }
            open.extend(moved);
        }
        makers
    }

    /// The quantized graph.
    ///
    /// # Errors
    /// All nodes that have no integer form.
    pub fn quantize(self) -> Result<Quantized, QuantizeError> {
        finished(self.graph.clone(), calibrate::quantize(&self.graph, &self.scheme))
    }

    /// The quantized graph in which these nodes compute in reals too, by position.
    ///
    /// # Errors
    /// All nodes that have no integer form.
    pub fn quantize_but(&self, in_reals: &[usize]) -> Result<Quantized, QuantizeError> {
        let mut pinned = self.pinned.clone();
        for &node in in_reals {
            pinned[node] = Some(Precision::F32);
        }
        let precisions = Precisions::of(&self.graph, self.options.precision, &pinned);
        let sources = Sources::of(&self.graph, &precisions);
        let [ranges, extremes] = &self.ranges;
        let params = [
            sources.params(&self.graph, ranges),
            sources.wide_params(&self.graph, extremes),
        ];
        let mut scheme = Scheme::new(&self.graph, precisions, params, &self.forms);
        // What was mended stays so where it reads the same codes.
        for (position, node) in self.graph.nodes.iter().enumerate() {
            let [old, new] = [&self.scheme, &scheme].map(|scheme| {
                let precision = scheme.precisions.node(position);
                let input = node
                    .inputs
                    .first()
                    .and_then(|&input| scheme.params_in(precision, input));
                scheme.layers[position].as_ref().and(input)
            });
            if old.is_some() && old == new {
                scheme.layers[position].clone_from(&self.scheme.layers[position]);
            }
        }
        finished(self.graph.clone(), calibrate::quantize(&self.graph, &scheme))
    }

    /// The nodes to compute in reals one after the other, so that each output's squared error comes down to this share of its
    /// square.
    ///
    /// # Errors
    /// Where a sample cannot be read or run.
    pub fn ladder(&self, allowed: f64, progress: Progress<'_>) -> Result<Vec<Rung>, QuantizeError> {
        let macs = self.options.effort.macs();
        let subset = Subset::of(self.samples, &self.graph, macs);
        let noise = noise::measure(&self.graph, &self.scheme, &subset, 4 * macs, progress)?;
        Ok(ladder::rungs(
            &self.graph,
            &self.scheme.precisions,
            &noise,
            allowed,
        ))
    }
}
