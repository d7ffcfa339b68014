//! Metrics that are a mean over samples of one number per sample, against right outputs.

use super::interval::mean;
use super::judge::{Both, Judge, Seen, Slots};
use super::labels::Truth;
use super::{EvaluateError, Metric, MetricKind};

/// The mean over samples of how an output stands to the right one.
pub(super) struct Means<'o> {
    pub(super) kind: MetricKind,
    pub(super) truth: Truth<'o>,
    /// The number of a sample, from an output and the right one; `None` where the right one is nothing but zeros, and
    /// there is no such number.
    pub(super) of: fn(&[f64], &[f64]) -> Option<f64>,
    /// The least and the greatest number there can be.
    pub(super) limits: Option<(f64, f64)>,
    /// Whether more is worse.
    pub(super) is_loss: bool,
    pub(super) seen: Slots<Both<f64>>,
}

impl Judge for Means<'_> {
    fn see(&self, seen: &Seen<'_>) -> Result<(), EvaluateError> {
        let truth = self.truth.of(seen.sample, &seen.first.float)?;
        let silent = || EvaluateError::Silent {
            metric: self.kind.name(),
            sample: seen.sample,
        };
        let number = |output: &Vec<f64>| (self.of)(output, &truth).ok_or_else(silent);
        let numbers = seen.first.try_map(number)?;
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

/// The greatest scale-invariant signal-to-distortion ratio that is told, in decibels; the least is as far below zero.
pub(super) const MOST_DB: f64 = 200.0;

/// The scale-invariant signal-to-distortion ratio in decibels: the energy of the part of `output` that is a multiple
/// of `truth`, over that of the rest. Means are left in. `None` where `truth` is silent.
///
/// Le Roux et al. 2019, "SDR – half-baked or well done?", equation 4.
pub(super) fn si_sdr(output: &[f64], truth: &[f64]) -> Option<f64> {
    let energy = dot(truth, truth);
    if energy == 0.0 {
        return None;
    }
    let scale = dot(output, truth) / energy;
    let rest: f64 = output
        .iter()
        .zip(truth)
        .map(|(x, y)| (x - scale * y) * (x - scale * y))
        .sum();
    let target = scale * scale * energy;
    let ratio = 10.0 * libm::log10(target / rest);
    // Nothing over nothing is a silent output.
    Some(if ratio.is_nan() {
        -MOST_DB
    } else {
        ratio.clamp(-MOST_DB, MOST_DB)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn si_sdr_does_not_see_the_scale() {
        // torchmetrics.functional.scale_invariant_signal_distortion_ratio on the same numbers: 18.4030.
        let (output, truth) = ([2.5, 0.0, 2.0, 8.0], [3.0, -0.5, 2.0, 7.0]);
        let found = si_sdr(&output, &truth).unwrap();
        assert!((found - 18.4030).abs() < 1e-4, "{found}");
        let louder = output.map(|x| x * 3.0);
        assert!((si_sdr(&louder, &truth).unwrap() - found).abs() < 1e-9);
        assert_eq!(si_sdr(&truth, &truth), Some(MOST_DB));
        assert_eq!(si_sdr(&[0.0; 4], &truth), Some(-MOST_DB));
        assert_eq!(si_sdr(&output, &[0.0; 4]), None);
    }
}
