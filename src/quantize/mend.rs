//! A layer whose weights are rounded so that their errors cancel, and whose biases make up for what is left.
//!
//! What a layer should give is known: its float results. What it is given on the quantized side is known too, with all the
//! errors made before it. Weights are first moved to where they meet the float results best in the least squares, then
//! rounded one after the other, each to the step nearest to what the errors of those before it leave
//! ([`crate::quantize::moments`]). A candidate counts only where it does better on samples that it was not made from.

use std::sync::Arc;

use rayon::prelude::*;

use super::QuantizeError;
use super::auto::linear;
use super::moments::Moments;
use super::patches::patches;
use super::scheme::Constants;
use super::steps::{Step, Steps};
use super::weights::Weights;
use crate::ir::{FloatTensor, Node};
use crate::op::tensor::Values;
use crate::reference::ReferenceError;

/// Samples below which nothing can be judged by what it was not made from.
pub(super) const FEWEST_SAMPLES: usize = 4;
/// What the error must fall to for a change to be worth it.
const WORTH: f64 = 0.98;

/// A layer with what goes into it and what should come out, for every sample.
pub(super) struct Layer<'a> {
    pub(super) node: &'a Node<FloatTensor>,
    pub(super) constants: Constants<'a>,
    /// Real units of one step of the input.
    pub(super) input_scale: f32,
    pub(super) float_in: &'a [Arc<Values>],
    pub(super) quantized_in: &'a [Arc<Values>],
    pub(super) float_out: &'a [Arc<Values>],
}

/// A way to make weights.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// The ones there are.
    Keep,
    /// Rounded so that errors cancel.
    Round,
    /// The same, but moved first toward what makes up for errors of the input.
    MoveAndRound,
}

/// Better weights and biases for a layer; `None` where there are none.
pub(super) fn better(
    layer: &Layer<'_>,
    now: &Weights,
    steps: Steps,
) -> Result<Option<Weights>, QuantizeError> {
    let corrects = steps.has(Step::CorrectBias);
    let mut ways = Vec::new();
    if corrects {
        ways.push(Way::Keep);
    }
    if steps.has(Step::ReconstructWeights) {
        ways.extend([Way::Round, Way::MoveAndRound]);
    }
    if ways.is_empty() {
        return Ok(None);
    }
    let target = layer.linear_float()?;
    let samples: Vec<usize> = (0..layer.float_out.len()).collect();
    // What is made from one half is judged by the other.
    let (fit, judge): (Vec<usize>, Vec<usize>) = samples.iter().partition(|&&sample| sample % 2 == 0);
    let mut best = (layer.error(now, &judge)?, None);
    let moments = layer.moments(&fit, &ways);
    for &way in &ways {
        let Some(candidate) = layer.made(way, now, moments.as_ref(), &target, &fit, corrects)? else {
            continue;
        };
        let error = layer.error(&candidate, &judge)?;
        if error < WORTH * best.0 {
            best = (error, Some(way));
        }
    }
    let Some(way) = best.1 else { return Ok(None) };
    let moments = layer.moments(&samples, &[way]);
    layer.made(way, now, moments.as_ref(), &target, &samples, corrects)
}

impl Layer<'_> {
    /// What the layer gives before its activation, on the float side.
    fn linear_float(&self) -> Result<Vec<Values>, QuantizeError> {
        let constants = self.constants;
        let weights = Values::f32(constants.shape, constants.weights.to_vec());
        let bias = constants
            .bias
            .map(|bias| Values::f32([bias.len()], bias.to_vec()));
        let all: Vec<usize> = (0..self.float_in.len()).collect();
        self.run(false, self.float_in, &weights, bias.as_ref(), &all)
    }

    /// Runs the layer, with its activation or without.
    fn run(
        &self,
        clamped: bool,
        inputs: &[Arc<Values>],
        weights: &Values,
        bias: Option<&Values>,
        samples: &[usize],
    ) -> Result<Vec<Values>, QuantizeError> {
        let op = if clamped { None } else { linear(&self.node.op) };
        let op = op.as_ref().unwrap_or(&self.node.op);
        let run = |&sample: &usize| {
            let mut operands = vec![&*inputs[sample], weights];
            operands.extend(bias);
            let outputs = op.eval(&operands).map_err(|source| ReferenceError::Node {
                node: self.node.name.clone(),
                operator: op.name(),
                source,
            })?;
            Ok(outputs
                .into_iter()
                .next()
                .unwrap_or_else(|| Values::f32([0], Vec::new())))
        };
        samples.par_iter().map(run).collect()
    }

    /// The squared error of the layer's results on the quantized side, each sample's in proportion to its results.
    fn error(&self, weights: &Weights, samples: &[usize]) -> Result<f64, QuantizeError> {
        let [(_, reals), (_, bias)] = weights.reals(self.constants.shape, self.input_scale);
        let found = self.run(true, self.quantized_in, &reals, Some(&bias), samples)?;
        let errors = found.iter().zip(samples).map(|(found, &sample)| {
            let (found, wanted) = (found.as_f32()?, self.float_out[sample].as_f32()?);
            let (mut error, mut energy) = (0.0, 0.0);
            for (&found, &wanted) in found.iter().zip(wanted) {
                error += f64::from(found - wanted) * f64::from(found - wanted);
                energy += f64::from(wanted) * f64::from(wanted);
            }
            Some(if energy > 0.0 { error / energy } else { error })
        });
        Ok(errors.flatten().sum())
    }

    /// The moments that the ways need; `None` where they need none, or the layer has too many inputs.
    fn moments(&self, samples: &[usize], ways: &[Way]) -> Option<Moments> {
        if ways == [Way::Keep] {
            return None;
        }
        let pick = |all: &[Arc<Values>]| {
            samples
                .iter()
                .map(|&sample| Arc::clone(&all[sample]))
                .collect::<Vec<_>>()
        };
        let (float, quantized) = (pick(self.float_in), pick(self.quantized_in));
        let outputs = self.float_out.first()?;
        let float = patches(&self.node.op, self.constants.shape, &float, &outputs.shape)?;
        let quantized = patches(&self.node.op, self.constants.shape, &quantized, &outputs.shape)?;
        Some(Moments::of(&float, &quantized))
    }

    /// The candidate that one way makes from some samples.
    fn made(
        &self,
        way: Way,
        now: &Weights,
        moments: Option<&Moments>,
        target: &[Values],
        samples: &[usize],
        corrects: bool,
    ) -> Result<Option<Weights>, QuantizeError> {
        let made = match (way, moments) {
            (Way::Keep, _) => now.clone(),
            (Way::Round | Way::MoveAndRound, Some(moments)) => {
                match moments.round(
                    &self.constants,
                    self.input_scale,
                    now.grid.form,
                    way == Way::MoveAndRound,
                ) {
                    Some(made) => made,
                    None => return Ok(None),
                }
            }
            (Way::Round | Way::MoveAndRound, None) => return Ok(None),
        };
        if !corrects {
            return Ok(Some(made));
        }
        let [(_, reals), (_, bias)] = made.reals(self.constants.shape, self.input_scale);
        let found = self.run(false, self.quantized_in, &reals, Some(&bias), samples)?;
        let channels = self.constants.channels();
        let (mut sums, mut count) = (vec![0.0f64; channels], 0usize);
        for (found, &sample) in found.iter().zip(samples) {
            let (Some(found), Some(wanted)) = (found.as_f32(), target[sample].as_f32()) else {
                return Ok(None);
            };
            let rows = found
                .chunks_exact(channels.max(1))
                .zip(wanted.chunks_exact(channels.max(1)));
            for (found, wanted) in rows {
                count += 1;
                for (sum, (found, wanted)) in sums.iter_mut().zip(found.iter().zip(wanted)) {
                    *sum += f64::from(wanted - found);
                }
            }
        }
        let bias = bias.as_f32().unwrap_or(&[]).iter().zip(&sums);
        let corrected: Vec<f64> = bias
            .map(|(&bias, sum)| f64::from(bias) + sum / count.max(1) as f64)
            .collect();
        Ok(made.with_bias(&corrected, self.input_scale))
    }
}
