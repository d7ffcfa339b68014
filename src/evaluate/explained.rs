//! The share of what is expected that outputs explain: R², the coefficient of determination.

use super::bootstrap;
use super::judge::{Both, Judge, Seen, Slots};
use super::labels::Truth;
use super::{EvaluateError, Metric, MetricKind};

/// `1 − Σ (expected − output)² / Σ (expected − mean)²` over all numbers of all samples, where each number of an output
/// has a mean of its own, taken over the samples: 1 where every output is as expected, 0 where they are no better than
/// the mean always.
pub(super) struct Explained<'o> {
    truth: Truth<'o>,
    /// The mean of what is expected, per number of an output.
    means: Vec<f64>,
    seen: Slots<Residual>,
}

/// What one sample tells.
#[derive(Clone, Copy)]
struct Residual {
    /// Squared distance to what is expected.
    left: Both<f64>,
    /// Squared distance of what is expected to its mean.
    spread: f64,
}

impl<'o> Explained<'o> {
    /// # Errors
    /// Where what is expected cannot be read.
    pub(super) fn new(truth: Truth<'o>, wanted: usize, samples: usize) -> Result<Self, EvaluateError> {
        let mut means = vec![0.0; wanted];
        for sample in 0..samples {
            let row = truth.of(sample, &means)?;
            let sums: Vec<f64> = means.iter().zip(row.iter()).map(|(sum, x)| sum + x).collect();
            means = sums;
        }
        means.iter_mut().for_each(|sum| *sum /= samples as f64);
        Ok(Self {
            truth,
            means,
            seen: Slots::new(samples),
        })
    }
}

impl Judge for Explained<'_> {
    fn see(&self, seen: &Seen<'_>) -> Result<(), EvaluateError> {
        let expected = self.truth.of(seen.sample, &seen.first.float)?;
        let squared = |a: &[f64]| -> f64 {
            a.iter()
                .zip(expected.iter())
                .map(|(x, y)| (x - y) * (x - y))
                .sum()
        };
        let residual = Residual {
            left: seen.first.map(|output| squared(output)),
            spread: squared(&self.means),
        };
        self.seen.put(seen.sample, residual);
        Ok(())
    }

    fn figures(&self) -> Result<Metric, EvaluateError> {
        let figure = |counts: &[u32]| {
            let sum = |of: fn(&Residual) -> f64| -> f64 {
                let counted = self.seen.iter().zip(counts);
                counted
                    .map(|(residual, &count)| f64::from(count) * of(residual))
                    .sum()
            };
            let spread = sum(|residual| residual.spread);
            (spread > 0.0).then(|| Both {
                float: 1.0 - sum(|residual| residual.left.float) / spread,
                quantized: 1.0 - sum(|residual| residual.left.quantized) / spread,
            })
        };
        let found = bootstrap::paired(self.seen.len(), figure).ok_or(EvaluateError::AllAlike)?;
        Ok(Metric {
            kind: MetricKind::Csv,
            float: found.float,
            quantized: found.quantized,
            drop: found.drop,
            samples: self.seen.len(),
            change: None,
        })
    }
}
