//! The area under the ROC curve, exact with ties, and its interval by DeLong's structural components.

use super::interval::{Estimate, variance};
use super::judge::{Both, Judge, Seen, Slots};
use super::means::mean_squared_error;
use super::{EvaluateError, Metric, MetricKind};

/// The AUC over groups of samples; every sample is a group of its own where none are given.
pub(super) struct Auc<'o> {
    /// One per group, each 0 or 1, both there.
    positive: Vec<bool>,
    groups: Option<&'o [usize]>,
    scores: Slots<Both<f64>>,
}

impl<'o> Auc<'o> {
    /// # Errors
    /// Where labels and groups do not match, or are not of two classes.
    pub(super) fn new(
        labels: &[i64],
        groups: Option<&'o [usize]>,
        samples: usize,
    ) -> Result<Self, EvaluateError> {
        let n_groups = groups.map_or(samples, |groups| {
            groups.iter().max().map_or(0, |max| max.saturating_add(1))
        });
        if labels.len() != n_groups {
            return Err(EvaluateError::LabelCount {
                found: labels.len(),
                wanted: n_groups,
                per: if groups.is_some() { "group" } else { "sample" },
            });
        }
        if let Some(groups) = groups {
            let mut met = vec![false; n_groups];
            groups.iter().for_each(|&group| met[group] = true);
            if let Some(group) = met.iter().position(|&met| !met) {
                return Err(EvaluateError::EmptyGroup { group });
            }
        }
        Ok(Self {
            positive: two_classes(MetricKind::Auc, labels)?,
            groups,
            scores: Slots::new(samples),
        })
    }
}

/// Which labels are 1, where the others are 0.
///
/// # Errors
/// Where a label is neither, or all are the same.
pub(super) fn two_classes(kind: MetricKind, labels: &[i64]) -> Result<Vec<bool>, EvaluateError> {
    let metric = kind.name();
    if let Some(&label) = labels.iter().find(|label| !matches!(label, 0 | 1)) {
        return Err(EvaluateError::NotBinary { metric, label });
    }
    let positive: Vec<bool> = labels.iter().map(|&label| label == 1).collect();
    if positive.contains(&true) && positive.contains(&false) {
        Ok(positive)
    } else {
        let label = labels.first().copied().unwrap_or_default();
        Err(EvaluateError::OneClass { metric, label })
    }
}

impl Judge for Auc<'_> {
    fn see(&self, seen: &Seen<'_>) -> Result<(), EvaluateError> {
        let input = seen
            .inputs
            .first()
            .map(|input| input.to_f64())
            .unwrap_or_default();
        let score = seen.first.map(|output| {
            if output.len() == input.len() {
                mean_squared_error(output, &input)
            } else {
                output.last().copied().unwrap_or_default()
            }
        });
        self.scores.put(seen.sample, score);
        Ok(())
    }

    fn figures(&self) -> Result<Metric, EvaluateError> {
        let mut sums = vec![(Both::<f64>::default(), 0_usize); self.positive.len()];
        for (i, score) in self.scores.iter().enumerate() {
            let (sum, count) = &mut sums[self.groups.map_or(i, |groups| groups[i])];
            sum.float += score.float;
            sum.quantized += score.quantized;
            *count += 1;
        }
        let average = |of: fn(&Both<f64>) -> f64| -> Vec<f64> {
            sums.iter().map(|(sum, count)| of(sum) / *count as f64).collect()
        };
        let pair = compare(
            &average(|sum| sum.float),
            &average(|sum| sum.quantized),
            &self.positive,
        );
        Ok(Metric {
            kind: MetricKind::Auc,
            float: pair.before,
            quantized: pair.after,
            drop: pair.drop,
            samples: self.positive.len(),
            change: None,
        })
    }
}

/// The AUC of two scorings of the same things, and how much the second lost.
struct Pair {
    /// Of the first scoring.
    before: Estimate,
    /// Of the second.
    after: Estimate,
    /// First less second.
    drop: Estimate,
}

/// Compares two scorings; both classes must be there.
fn compare(before: &[f64], after: &[f64], positive: &[bool]) -> Pair {
    let before = Components::new(before, positive);
    let after = Components::new(after, positive);
    let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x - y).collect();
    let drop = Components {
        area: before.area - after.area,
        positives: difference(&before.positives, &after.positives),
        negatives: difference(&before.negatives, &after.negatives),
    };
    Pair {
        before: before.estimate().within(0.0, 1.0),
        after: after.estimate().within(0.0, 1.0),
        drop: drop.estimate().within(-1.0, 1.0),
    }
}

/// An area and what each thing contributes to it: for a positive, the share of negatives that score lower (a tie
/// counts half); for a negative, the share of positives that score higher.
struct Components {
    area: f64,
    positives: Vec<f64>,
    negatives: Vec<f64>,
}

impl Components {
    fn new(scores: &[f64], positive: &[bool]) -> Self {
        let of = |class: bool| -> Vec<f64> {
            let wanted = scores.iter().zip(positive).filter(|&(_, &is)| is == class);
            wanted.map(|(&score, _)| score).collect()
        };
        let (high, low) = (of(true), of(false));
        let (mut high_sorted, mut low_sorted) = (high.clone(), low.clone());
        high_sorted.sort_by(f64::total_cmp);
        low_sorted.sort_by(f64::total_cmp);
        // Counted in halves, so that the area is one exact division.
        let halves_below = |sorted: &[f64], score: f64| {
            let less = sorted.partition_point(|&other| other < score);
            let not_more = sorted.partition_point(|&other| other <= score);
            (less + not_more) as u64
        };
        let wins: Vec<u64> = high
            .iter()
            .map(|&score| halves_below(&low_sorted, score))
            .collect();
        let losses = low
            .iter()
            .map(|&score| 2 * high.len() as u64 - halves_below(&high_sorted, score));
        Self {
            area: wins.iter().sum::<u64>() as f64 / (2.0 * high.len() as f64 * low.len() as f64),
            positives: wins
                .iter()
                .map(|&halves| halves as f64 / (2.0 * low.len() as f64))
                .collect(),
            negatives: losses
                .map(|halves| halves as f64 / (2.0 * high.len() as f64))
                .collect(),
        }
    }

    fn estimate(&self) -> Estimate {
        let share = |values: &[f64]| {
            let n = values.len() as f64;
            variance(values.iter().copied(), values.iter().sum::<f64>() / n) / n
        };
        Estimate::normal(self.area, share(&self.positives) + share(&self.negatives))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_half() {
        let scores = [1.0, 2.0, 2.0, 3.0];
        let pair = compare(&scores, &scores, &[false, false, true, true]);
        // Of four pairs, three are won and one is tied.
        assert_eq!(pair.before.value, 3.5 / 4.0);
        assert_eq!(pair.drop, Estimate::exact(0.0));
    }

    #[test]
    fn delong_meets_the_definition() {
        let scores = [0.1, 0.4, 0.35, 0.8, 0.7];
        let positive = [false, false, true, true, true];
        let pair = compare(&scores, &scores, &positive);
        let v10 = [0.5, 1.0, 1.0];
        let v01 = [1.0, 2.0 / 3.0];
        let wanted = variance(v10.into_iter(), 2.5 / 3.0) / 3.0 + variance(v01.into_iter(), 2.5 / 3.0) / 2.0;
        assert!((pair.after.value - 2.5 / 3.0).abs() < 1e-12);
        let margin = pair.after.value - pair.after.low;
        assert!((margin - 1.959_963_984_540_054 * wanted.sqrt()).abs() < 1e-12);
    }
}
