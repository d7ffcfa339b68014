//! Which calibrator suits each tensor: measured at the nodes that read it.

use rayon::prelude::*;

use super::params::{Source, Sources, on_grid, params_of};
use super::ranges::{Observed, run_sample};
use super::subset::Subset;
use super::{Calibrator, QuantizeError, tally};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node, Progress, Samples};
use crate::op::quant::{QuantParams, Range};
use crate::op::tensor::Values;
use crate::op::{Clamp, Op};
use crate::reference::Executor;

/// The calibrators to choose among; the first wins a tie.
const CALIBRATORS: [Calibrator; 6] = [
    Calibrator::MinMax,
    Calibrator::MeanSquaredError,
    Calibrator::Percentile(99.99),
    Calibrator::Percentile(99.9),
    Calibrator::Entropy,
    Calibrator::MovingAverage,
];

/// How much of the least is left where functions may not need it. The greatest stays: a softmax may be surer of a sample that is
/// to come.
const TAILS: [f32; 4] = [0.7, 0.5, 0.35, 0.25];

/// Ranges to choose among, for each tensor.
const CANDIDATES: usize = CALIBRATORS.len() + TAILS.len();

/// What the cost must fall to for a narrower range to be worth it.
const WORTH: f64 = 0.75;

/// Chooses the range of every tensor that decides about itself and is read by layers alone: the one whose rounding and
/// clipping change their results least, in proportion to those results. All others keep what the samples let expect, for what
/// is cut off a sum or an output is lost.
///
/// Samples run in parallel; their errors are summed in the samples' order.
pub(super) fn choose(
    graph: &FloatGraph,
    sources: &Sources,
    observed: &Observed,
    subset: &Subset<'_>,
    clips: bool,
    progress: Progress<'_>,
) -> Result<Vec<Option<Range>>, QuantizeError> {
    let mut by_calibrator: Vec<Vec<Option<Range>>> =
        CALIBRATORS.map(|calibrator| observed.ranges(calibrator)).into();
    // Nothing that is to come may be cut off without a reason.
    by_calibrator[0].clone_from(&observed.expected);
    let feeds_function = feeds_function(graph);
    for left in TAILS {
        let cut = |(range, &feeds): (&Option<Range>, &bool)| {
            range.map(|range| Range {
                min: if feeds && clips {
                    range.min * left
                } else {
                    range.min
                },
                ..range
            })
        };
        let ranges = observed.expected.iter().zip(&feeds_function);
        by_calibrator.push(ranges.map(cut).collect());
    }
    let executor = Executor::new(graph)?;
    let judge = Judge::new(graph, sources, &by_calibrator);
    let done = tally(progress, "choosing ranges", subset.len());
    let results: Vec<Result<Errors, QuantizeError>> = (0..subset.len())
        .into_par_iter()
        .map(|sample| judge.errors(&executor, subset, sample).inspect(|_| done()))
        .collect();
    let mut total = judge.none();
    for errors in results {
        total.add(&errors?);
    }
    let mut ranges = observed.expected.clone();
    for tensor in graph.tensors.handles() {
        let candidates = by_calibrator.iter().map(|ranges| ranges[tensor.index()]);
        let costs = judge.costs(&total, tensor);
        let mut best = (f64::INFINITY, ranges[tensor.index()]);
        if !judge.is_seen_through(tensor) {
            continue;
        }
        for (cost, range) in costs.iter().zip(candidates) {
            // What cuts off has to be worth it: other samples have more to cut.
            let cost = if best.0 == f64::INFINITY {
                WORTH * cost
            } else {
                *cost
            };
            if cost < best.0 {
                best = (cost, range);
            }
        }
        ranges[tensor.index()] = best.1;
    }
    Ok(ranges)
}

/// A place where the error of a tensor is measured.
struct Probe {
    /// Who decides about its parameters.
    root: Handle<FloatTensor>,
    /// The layer or function that reads it; `None` for the tensor itself.
    reader: Option<usize>,
}

/// Squared errors by probe and candidate, and the squares of what they are errors of, by probe.
struct Errors {
    errors: Vec<[f64; CANDIDATES]>,
    squares: Vec<f64>,
}

impl Errors {
    fn add(&mut self, other: &Self) {
        for (sum, errors) in self.errors.iter_mut().zip(&other.errors) {
            for (sum, error) in sum.iter_mut().zip(errors) {
                *sum += error;
            }
        }
        for (sum, square) in self.squares.iter_mut().zip(&other.squares) {
            *sum += square;
        }
    }
}

struct Judge<'g> {
    graph: &'g FloatGraph,
    probes: Vec<Probe>,
    /// By tensor, the probes of it.
    of_tensor: Vec<Vec<usize>>,
    /// By tensor, the probes of those whose parameters it decides about.
    of_root: Vec<Vec<usize>>,
    /// By tensor, the parameters it would have under each calibrator.
    candidates: Vec<[QuantParams; CANDIDATES]>,
}

impl<'g> Judge<'g> {
    fn new(graph: &'g FloatGraph, sources: &Sources, by_calibrator: &[Vec<Option<Range>>]) -> Self {
        let mut probes = Vec::new();
        let mut of_tensor = vec![Vec::new(); graph.tensors.len()];
        let mut of_root = of_tensor.clone();
        let mut probe = |tensor: Handle<FloatTensor>, reader: Option<usize>| {
            if let Source::RangeOf(root) = sources.source(tensor)
                && graph.tensors[tensor].data.is_none()
            {
                of_tensor[tensor.index()].push(probes.len());
                of_root[root.index()].push(probes.len());
                probes.push(Probe { root, reader });
            }
        };
        for (position, node) in graph.nodes.iter().enumerate() {
            let is_layer = linear(&node.op).is_some()
                && (node.inputs[1..].iter()).all(|&input| graph.tensors[input].data.is_some());
            for (index, &input) in node.inputs.iter().enumerate() {
                let is_seen_through = is_layer || is_function(&node.op);
                probe(input, (is_seen_through && index == 0).then_some(position));
            }
        }
        for &output in &graph.outputs {
            probe(output, None);
        }
        let params: Vec<_> = by_calibrator
            .iter()
            .map(|ranges| sources.params(graph, ranges))
            .collect();
        let any = |params: &Vec<Option<QuantParams>>, tensor: Handle<FloatTensor>| {
            params[tensor.index()].unwrap_or_else(|| params_of(None))
        };
        let candidates = graph.tensors.handles();
        let candidates = candidates
            .map(|tensor| std::array::from_fn(|i| any(&params[i], tensor)))
            .collect();
        Self {
            graph,
            probes,
            of_tensor,
            of_root,
            candidates,
        }
    }

    /// Whether all that reads a tensor, or shares its parameters, is a layer or a function.
    fn is_seen_through(&self, root: Handle<FloatTensor>) -> bool {
        self.of_root[root.index()]
            .iter()
            .all(|&probe| self.probes[probe].reader.is_some())
    }

    fn none(&self) -> Errors {
        Errors {
            errors: vec![[0.0; CANDIDATES]; self.probes.len()],
            squares: vec![0.0; self.probes.len()],
        }
    }

    /// The errors that one sample shows.
    fn errors(
        &self,
        executor: &Executor<'_>,
        subset: &Subset<'_>,
        sample: usize,
    ) -> Result<Errors, QuantizeError> {
        let mut found = self.none();
        run_sample(self.graph, executor, subset, sample, &mut |tensor, values| {
            for &probe in &self.of_tensor[tensor.index()] {
                self.measure(probe, values, &mut found);
            }
        })?;
        Ok(found)
    }

    fn measure(&self, index: usize, values: &Values, found: &mut Errors) {
        let probe = &self.probes[index];
        let Some(x) = values.as_f32() else { return };
        let reader = probe.reader.map(|position| &self.graph.nodes[position]);
        let (is_linear, plain) = match reader {
            Some(node) => (linear(&node.op).is_some(), self.through(node, x, values)),
            None => (true, x.to_vec()),
        };
        found.squares[index] = squares(&plain);
        let candidates = &self.candidates[probe.root.index()];
        for (i, &params) in candidates.iter().enumerate() {
            if let Some(same) = candidates[..i].iter().position(|&other| other == params) {
                found.errors[index][i] = found.errors[index][same];
                continue;
            }
            let mut rounded = on_grid(x, params);
            if is_linear {
                rounded.iter_mut().zip(x).for_each(|(rounded, x)| *rounded -= x);
            }
            let mut error = match reader {
                Some(node) => self.through(node, &rounded, values),
                None => rounded,
            };
            if !is_linear {
                error
                    .iter_mut()
                    .zip(&plain)
                    .for_each(|(error, plain)| *error -= plain);
            }
            found.errors[index][i] = squares(&error);
        }
    }

    /// What a function, or the linear part of a layer, makes of `x`, which has the shape of `values`.
    fn through(&self, node: &Node<FloatTensor>, x: &[f32], values: &Values) -> Vec<f32> {
        let x = Values::f32(values.shape.clone(), x.to_vec());
        let mut operands = vec![&x];
        if linear(&node.op).is_some() {
            operands.extend(self.graph.tensors[node.inputs[1]].data.as_deref());
        }
        let outputs = linear(&node.op)
            .unwrap_or_else(|| node.op.clone())
            .eval(&operands);
        // The float run refuses the same, and says why.
        let outputs = outputs.unwrap_or_default();
        outputs
            .iter()
            .filter_map(Values::as_f32)
            .flatten()
            .copied()
            .collect()
    }

    /// What each candidate of a tensor costs all who read it or share its parameters, in proportion to what they read.
    fn costs(&self, total: &Errors, root: Handle<FloatTensor>) -> [f64; CANDIDATES] {
        let mut costs = [0.0; CANDIDATES];
        for &i in &self.of_root[root.index()] {
            if total.squares[i] > 0.0 {
                for (cost, error) in costs.iter_mut().zip(total.errors[i]) {
                    *cost += error / total.squares[i];
                }
            }
        }
        costs
    }
}

/// Whether an operator acts on one tensor, and not in proportion to it.
fn is_function(op: &Op) -> bool {
    matches!(op, Op::Softmax(_) | Op::Unary(_))
}

/// Whether nothing but functions reads a tensor, by tensor.
fn feeds_function(graph: &FloatGraph) -> Vec<bool> {
    let mut feeds = vec![true; graph.tensors.len()];
    for node in graph.nodes.iter().filter(|node| !is_function(&node.op)) {
        for input in &node.inputs {
            feeds[input.index()] = false;
        }
    }
    for output in &graph.outputs {
        feeds[output.index()] = false;
    }
    feeds
}

/// A layer without what is not linear in its input; `None` of all else.
pub(super) fn linear(op: &Op) -> Option<Op> {
    let mut op = op.clone();
    #[allow(clippy::wildcard_enum_match_arm, reason = "three operators have weights")]
    match &mut op {
        Op::Conv2d(layer) => layer.clamp = Clamp::NONE,
        Op::ConvNd(layer) => layer.clamp = Clamp::NONE,
        Op::Dense(layer) => layer.clamp = Clamp::NONE,
        _ => return None,
    }
    Some(op)
}

fn squares(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}
