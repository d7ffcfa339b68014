//! Metrics that are a mean over samples of one number per sample, against right outputs.

use super::interval::mean;
use super::judge::{Both, Judge, Seen, Slots};
use super::labels::Truth;
use super::{EvaluateError, Metric, MetricKind};

/// The mean over samples of how an output stands to the right one.
pub(super) struct Means<'o> {
    pub(super) kind: MetricKind,
    pub(super) truth: Truth<'o>,
    /// The number of a sample, from an output and the right one; an error names what is wrong with the right one.
    pub(super) of: fn(&[f64], &[f64]) -> f64,
    /// The least and the greatest number there can be.
    pub(super) limits: Option<(f64, f64)>,
    /// Whether more is worse.
    pub(super) is_loss: bool,
    pub(super) seen: Slots<Both<f64>>,
}

impl Judge for Means<'_> {
    fn see(&self, seen: &Seen<'_>) -> Result<(), EvaluateError> {
        let truth = self.truth.of(seen.sample, &seen.first.float)?;
        let numbers = seen.first.map(|output| (self.of)(output, &truth));
        self.seen.put(seen.sample, numbers);
        Ok(())
    }

    fn figures(&self) -> Result<Metric, EvaluateError> {
        let numbers = self.seen.iter();
        let within = |estimate: super::Estimate| match self.limits {
            Some((low, high)) => estimate.within(low, high),
            None => estimate,
        };
        let sign = if self.is_loss { 1.0 } else { -1.0 };
        Ok(Metric {
            kind: self.kind,
            float: within(mean(numbers.clone().map(|both| both.float))),
            quantized: within(mean(numbers.clone().map(|both| both.quantized))),
            drop: mean(numbers.map(|both| sign * (both.quantized - both.float))),
            samples: self.seen.len(),
            change: None,
        })
    }
}

/// The mean of the squared differences.
pub(super) fn mean_squared_error(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>() / a.len() as f64
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The cosine of the angle between two vectors; 1 where both are zero, 0 where one is.
pub(super) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    cosine_of(dot(a, b), dot(a, a), dot(b, b))
}

/// The same from the three products.
pub(super) fn cosine_of(ab: f64, aa: f64, bb: f64) -> f64 {
    if aa == 0.0 && bb == 0.0 {
        1.0
    } else if aa == 0.0 || bb == 0.0 {
        0.0
    } else {
        (ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0)
    }
}
