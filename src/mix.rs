//! `--precision auto`: int8 where it does, f32 where it is needed.
//!
//! Quantization says which nodes to compute in reals first ([`crate::quantize::Calibration::ladder`]); what a mix truly loses is measured
//! on its blob, in the simulator, against the float graph; and scheduling says whether it fits the target.

use rayon::prelude::*;

use crate::emit::EmitError;
use crate::ir::{FloatGraph, Problem, Progress, Samples};
use crate::op::tensor::Values;
use crate::quantize::{Calibration, QuantizeError, Quantized, Rung};
use crate::reference::Executor;
use crate::schedule::ScheduleError;
use crate::simulate::{Simulator, edge};
use crate::target::Target;
use crate::{Artifact, Error, Options, finish};

/// Multiply-accumulates of the samples that a mix is measured on.
const MACS: u64 = 4_000_000_000;
/// Samples, at least, where there are that many.
const FEWEST: usize = 4;
/// Samples, at most.
const MOST: usize = 256;
/// Below this many samples, ends of the model's outputs are not known: they are not rounded.
const FEW: usize = 4;
/// Samples from which on the share of those whose arg-max differs says something.
const MANY: usize = 100;

/// What is wanted of a mix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// The most that an output may lose, from 0 to 1: one minus the cosine of the angle between it and the float model's,
    /// over all samples; of an output with one row of classes, also the share of samples with another arg-max, if there are
    /// at least 100.
    pub most_lost: f64,
}

impl Default for Wish {
    /// Half a percent.
    fn default() -> Self {
        Self { most_lost: 0.005 }
    }
}

/// Quantizes a float model to the mix of precisions that computes the most in int8 among those that lose no more than is wished.
///
/// Where even the last one that fits loses more, it is that one, and a note says so.
///
/// # Errors
/// See [`Error`]; of a model that does not fit in int8 throughout, that it does not fit.
pub(crate) fn search(
    target: &Target,
    float: FloatGraph,
    samples: &dyn Samples,
    options: &Options,
    wish: Wish,
    progress: Progress<'_>,
) -> Result<Quantized, Error> {
    let original = float.clone();
    let calibration = Calibration::of(float, samples, &options.quantize, progress)?;
    let mut search = Search {
        target,
        options,
        wish,
        judge: Judge::new(&original, samples)?,
        calibration: &calibration,
        samples: samples.len(),
        forced: Vec::new(),
        reasons: Vec::new(),
    };
    let first = search.first()?;
    if search.suffices(&first.lost) {
        return Ok(search.chosen(first, &[]));
    }
    // An angle of a small noise: 1 − cos ≈ noise/2. Half of it is kept for what the estimate leaves out.
    let rungs = calibration.ladder(wish.most_lost, progress)?;
    search.climb(first, &rungs)
}

/// A mix that fits.
struct Mix {
    artifact: Artifact,
    /// What each output loses.
    lost: Vec<f64>,
}

struct Search<'s> {
    target: &'s Target,
    options: &'s Options,
    wish: Wish,
    judge: Judge<'s>,
    calibration: &'s Calibration<'s>,
    /// Samples that calibrate.
    samples: usize,
    /// Nodes that compute in reals whatever is gained, by position.
    forced: Vec<usize>,
    /// Why they do.
    reasons: Vec<String>,
}

impl Search<'_> {
    /// The mix with the least in reals: what has no integer form, and outputs whose ends are not known.
    fn first(&mut self) -> Result<Mix, Error> {
        if self.samples < FEW {
            self.force_outputs();
        }
        loop {
            let error = match self.mix(&[]) {
                Ok(mix) => return Ok(mix),
                Err(error) => error,
            };
            let known = self.forced.len();
            if let Error::Quantize(QuantizeError::Problems(problems))
            | Error::Schedule(ScheduleError::Unsupported(problems)) = &error
            {
                self.force(problems);
            }
            if self.forced.len() == known {
                return Err(error);
            }
        }
    }

    fn force(&mut self, problems: &[Problem]) {
        let graph = self.calibration.graph();
        for problem in problems {
            let node = graph.nodes.iter().position(|node| node.name == problem.node);
            if let Some(node) = node.filter(|node| !self.forced.contains(node)) {
                self.forced.push(node);
                let reason = format!(
                    "{} `{}` is computed in f32: {}",
                    problem.operator, problem.node, problem.reason
                );
                self.reasons.push(reason);
            }
        }
    }

    fn force_outputs(&mut self) {
        let graph = self.calibration.graph();
        for &output in &graph.outputs {
            for node in self.calibration.makers(output) {
                if self.forced.contains(&node) {
                    continue;
                }
                self.forced.push(node);
                self.reasons.push(format!(
                    "{} `{}` is computed in f32: {} calibration samples do not tell how far the output `{}` reaches",
                    graph.nodes[node].op.name(),
                    graph.nodes[node].name,
                    self.samples,
                    graph.tensors[output].name
                ));
            }
        }
    }

    /// Climbs until little enough is lost, and back down between the last rung that loses too much and the first that does not.
    fn climb(&self, first: Mix, rungs: &[Rung]) -> Result<Quantized, Error> {
        let expected = |rung: &Rung| rung.noise.iter().all(|&noise| noise <= self.wish.most_lost);
        let mut high = rungs
            .iter()
            .position(expected)
            .map_or(rungs.len(), |rung| rung + 1);
        let (mut low, mut best) = (0, (0, first));
        let mut most = rungs.len();
        while low < most {
            high = high.clamp(low + 1, most);
            match self.mix(&rungs[..high]) {
                Ok(mix) if self.suffices(&mix.lost) => {
                    best = (high, mix);
                    break;
                }
                Ok(mix) => {
                    best = (high, mix);
                    low = high;
                    high += (high / 2).max(1);
                }
                Err(error) if does_not_fit(&error) => {
                    most = high - 1;
                    high = low.midpoint(most);
                }
                Err(error) => return Err(error),
            }
        }
        // Two steps back: each halves what may be too much.
        for _ in 0..2 {
            let middle = low.midpoint(best.0);
            if !self.suffices(&best.1.lost) || middle <= low {
                break;
            }
            let mix = self.mix(&rungs[..middle])?;
            if self.suffices(&mix.lost) {
                best = (middle, mix);
            } else {
                low = middle;
            }
        }
        Ok(self.chosen(best.1, &rungs[..best.0]))
    }

    fn suffices(&self, lost: &[f64]) -> bool {
        lost.iter().all(|&lost| lost <= self.wish.most_lost)
    }

    /// Compiles a mix and measures it.
    fn mix(&self, rungs: &[Rung]) -> Result<Mix, Error> {
        let in_reals: Vec<usize> = rungs
            .iter()
            .flat_map(|rung| &rung.nodes)
            .chain(&self.forced)
            .copied()
            .collect();
        let quantized: Quantized = self.calibration.quantize_but(&in_reals)?;
        let artifact = finish(self.target, quantized, self.options)?;
        let lost = self.judge.lost(&artifact.blob)?;
        Ok(Mix { artifact, lost })
    }

    /// Writes down what was chosen, and why.
    fn chosen(&self, mix: Mix, rungs: &[Rung]) -> Quantized {
        let Mix { artifact, lost } = mix;
        let Artifact { float, mut quant, .. } = artifact;
        let graph = self.calibration.graph();
        let notes = &mut quant.notes;
        notes.extend(self.reasons.iter().cloned());
        let nodes: Vec<String> = rungs
            .iter()
            .flat_map(|rung| &rung.nodes)
            .map(|&node| format!("{} `{}`", graph.nodes[node].op.name(), graph.nodes[node].name))
            .collect();
        if !nodes.is_empty() {
            notes.push(format!(
                "computed in f32, because int8 loses most there: {}",
                nodes.join(", ")
            ));
        }
        for (&output, lost) in graph.outputs.iter().zip(&lost) {
            let comment = if *lost <= self.wish.most_lost {
                ""
            } else {
                ", more than was wished"
            };
            notes.push(format!(
                "`{}` loses {:.3} points of agreement with FP32 on {} calibration samples{comment}",
                graph.tensors[output].name,
                100.0 * lost,
                self.judge.inputs.len()
            ));
        }
        Quantized { float, quant }
    }
}

fn does_not_fit(error: &Error) -> bool {
    matches!(
        error,
        Error::Schedule(
            ScheduleError::ArenaTooSmall(_) | ScheduleError::FlashTooSmall(_) | ScheduleError::TooSlow { .. }
        ) | Error::Emit(EmitError::FlashTooSmall(_))
    )
}

/// What the float graph makes of some of the samples.
struct Judge<'g> {
    graph: &'g FloatGraph,
    inputs: Vec<Vec<Values>>,
    outputs: Vec<Vec<Values>>,
}

impl<'g> Judge<'g> {
    fn new(graph: &'g FloatGraph, samples: &dyn Samples) -> Result<Self, Error> {
        let affordable = usize::try_from(MACS / graph.macs().max(1)).unwrap_or(usize::MAX);
        let count = samples.len().min(affordable.clamp(FEWEST, MOST));
        let inputs = (0..count).map(|i| samples.get(i * samples.len() / count.max(1)));
        let inputs: Vec<Vec<Values>> = inputs.collect::<Result<_, _>>().map_err(QuantizeError::from)?;
        let executor = Executor::new(graph).map_err(QuantizeError::from)?;
        let outputs = inputs.par_iter().map(|inputs| executor.run(inputs));
        let outputs = outputs.collect::<Result<_, _>>().map_err(QuantizeError::from)?;
        Ok(Self {
            graph,
            inputs,
            outputs,
        })
    }

    /// What each output loses; see [`Wish::most_lost`].
    fn lost(&self, blob: &[u8]) -> Result<Vec<f64>, Error> {
        let found: Result<Vec<Vec<Values>>, Error> = self
            .inputs
            .par_iter()
            .map(|inputs| {
                // A new one: no sample sees the state that another one left.
                let mut simulator = Simulator::new(blob)?;
                let bytes = edge::store_all(simulator.blob(), inputs)?;
                let outputs = simulator.run(&bytes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
                Ok(edge::load_all(simulator.blob(), &outputs)?)
            })
            .collect();
        let found = found?;
        let outputs = 0..self.graph.outputs.len();
        Ok(outputs.map(|output| self.lost_of(output, &found)).collect())
    }

    fn lost_of(&self, output: usize, found: &[Vec<Values>]) -> f64 {
        let (mut products, mut ours, mut theirs) = (0.0, 0.0, 0.0);
        let mut moved = 0;
        for (found, wanted) in found.iter().zip(&self.outputs) {
            let (found, wanted) = (found[output].to_f64(), wanted[output].to_f64());
            for (x, y) in found.iter().zip(&wanted) {
                products += x * y;
                ours += x * x;
                theirs += y * y;
            }
            moved += usize::from(arg_max(&found) != arg_max(&wanted));
        }
        let length = (ours * theirs).sqrt();
        let angle = if length > 0.0 {
            1.0 - products / length
        } else {
            // Two that are zero agree; one that is, and the other not, do not.
            f64::from(u8::from(ours != theirs))
        };
        let shape = &self.graph.tensors[self.graph.outputs[output]].ty.shape;
        let is_choice = shape.len() == 2 && shape[0] == 1 && shape[1] > 1 && self.inputs.len() >= MANY;
        let share = if is_choice {
            moved as f64 / self.inputs.len() as f64
        } else {
            0.0
        };
        angle.max(share)
    }
}

/// The place of the greatest; the first of several.
fn arg_max(values: &[f64]) -> usize {
    let better = |best: usize, place: usize| if values[place] > values[best] { place } else { best };
    (1..values.len()).fold(0, better)
}
