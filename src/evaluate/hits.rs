//! Metrics that count samples: hits of the labelled class, and how often both models name the same class.

use super::interval::{paired_drop, proportion};
use super::judge::{Both, Judge, Seen, Slots};
use super::mcnemar::Change;
use super::{Estimate, EvaluateError, Metric, MetricKind};

/// How often the labelled class is among the largest outputs.
pub(super) struct Hits<'o> {
    pub(super) kind: MetricKind,
    /// How many of the largest outputs count.
    pub(super) among: usize,
    /// One per sample.
    pub(super) labels: &'o [i64],
    pub(super) hits: Slots<Both<bool>>,
}

impl Judge for Hits<'_> {
    fn see(&self, seen: &Seen<'_>) -> Result<(), EvaluateError> {
        let label = usize::try_from(self.labels[seen.sample]).unwrap_or(usize::MAX);
        let hit = seen.first.map(|output| is_among(output, label, self.among));
        self.hits.put(seen.sample, hit);
        Ok(())
    }

    fn figures(&self) -> Result<Metric, EvaluateError> {
        let n = self.hits.len();
        let count = |wanted: fn(&&Both<bool>) -> bool| self.hits.iter().filter(wanted).count();
        let lost = count(|hit| hit.float && !hit.quantized);
        let won = count(|hit| hit.quantized && !hit.float);
        Ok(Metric {
            kind: self.kind,
            float: proportion(count(|hit| hit.float), n),
            quantized: proportion(count(|hit| hit.quantized), n),
            drop: paired_drop(lost, won, n),
            samples: n,
            change: Some(Change::new(lost, won)),
        })
    }
}

/// Whether the output at `label` is one of the `among` largest, of equals the first ones. No output is larger than one
/// that is not a number, and that one is never among them.
fn is_among(output: &[f64], label: usize, among: usize) -> bool {
    let Some(&score) = output.get(label) else {
        return false;
    };
    let before = output
        .iter()
        .enumerate()
        .filter(|&(i, &other)| other > score || other == score && i < label);
    !score.is_nan() && before.count() < among
}

/// How often the largest output is the float model's.
pub(super) struct Agreement {
    pub(super) same: Slots<bool>,
}

impl Judge for Agreement {
    fn see(&self, seen: &Seen<'_>) -> Result<(), EvaluateError> {
        let class = seen.first.map(|output| largest(output));
        self.same.put(seen.sample, class.float == class.quantized);
        Ok(())
    }

    fn figures(&self) -> Result<Metric, EvaluateError> {
        let n = self.same.len();
        let quantized = proportion(self.same.iter().filter(|&&same| same).count(), n);
        Ok(Metric {
            kind: MetricKind::Agreement,
            float: Estimate::exact(1.0),
            quantized,
            drop: quantized.complement(),
            samples: n,
            change: None,
        })
    }
}

/// Index of the largest value, the first of equals; 0 where none is a number.
pub(super) fn largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] || values[best].is_nan() && !value.is_nan() {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equals_the_first_ones_count() {
        let output = [0.1, 0.4, 0.4, 0.0, f64::NAN];
        let among = |label, among| is_among(&output, label, among);
        assert!(among(1, 1) && !among(2, 1) && among(2, 2));
        assert!(among(0, 3) && !among(3, 3) && among(3, 4));
        assert!(!among(4, 5) && !among(5, 5));
        assert_eq!(largest(&output), 1);
        assert_eq!(largest(&[f64::NAN, -1.0, 2.0]), 2);
        assert_eq!(largest(&[f64::NAN]), 0);
    }
}
