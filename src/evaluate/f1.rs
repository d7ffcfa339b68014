//! F1: the harmonic mean of precision and recall, of one class or averaged over all.

use std::collections::BTreeMap;

use super::auc::two_classes;
use super::bootstrap;
use super::hits::largest;
use super::judge::{Both, Judge, Seen, Slots};
use super::{EvaluateError, Metric, MetricKind};

/// The F1 of a class told from another by a threshold, or the mean F1 of all classes.
pub(super) struct F1<'o> {
    rule: Rule,
    labels: &'o [i64],
    predicted: Slots<Both<i64>>,
}

/// How outputs name a class.
#[derive(Clone, Copy)]
enum Rule {
    /// Class 1 where the last output is at least this, else class 0. The figure is that of class 1.
    Threshold(f64),
    /// The place of the largest output. The figure is the mean over all classes that are labelled or named.
    Largest,
}

impl<'o> F1<'o> {
    /// The F1 by `threshold`, or by 0.5 where the model's output is one number; else that of all classes. `labels` has
    /// one class per sample.
    ///
    /// # Errors
    /// Where a threshold tells two classes apart, and the labels are not 0 and 1.
    pub(super) fn new(
        labels: &'o [i64],
        threshold: Option<f64>,
        output_len: usize,
    ) -> Result<Self, EvaluateError> {
        let threshold = threshold.or((output_len == 1).then_some(0.5));
        if threshold.is_some() {
            two_classes(MetricKind::F1, labels)?;
        }
        Ok(Self {
            rule: threshold.map_or(Rule::Largest, Rule::Threshold),
            labels,
            predicted: Slots::new(labels.len()),
        })
    }
}

impl Judge for F1<'_> {
    fn see(&self, seen: &Seen<'_>) -> Result<(), EvaluateError> {
        let predicted = seen.first.map(|output| match self.rule {
            Rule::Threshold(threshold) => i64::from(output.last().is_some_and(|&score| score >= threshold)),
            Rule::Largest => largest(output) as i64,
        });
        self.predicted.put(seen.sample, predicted);
        Ok(())
    }

    fn figures(&self) -> Result<Metric, EvaluateError> {
        let mut classes = BTreeMap::new();
        let named = self
            .predicted
            .iter()
            .flat_map(|both| [both.float, both.quantized]);
        for class in self.labels.iter().copied().chain(named) {
            classes.insert(class, 0);
        }
        for (place, (_, index)) in classes.iter_mut().enumerate() {
            *index = place;
        }
        let labels: Vec<usize> = self.labels.iter().map(|label| classes[label]).collect();
        let predicted: Vec<Both<usize>> = self
            .predicted
            .iter()
            .map(|both| both.map(|class| classes[class]))
            .collect();
        let figure = |counts: &[u32]| {
            let of = |named: fn(&Both<usize>) -> usize| {
                let pairs = labels.iter().copied().zip(predicted.iter().map(named));
                let scores = scores(pairs, counts, classes.len());
                match self.rule {
                    Rule::Threshold(_) => scores[classes[&1]],
                    Rule::Largest => {
                        let met: Vec<f64> = scores.into_iter().flatten().collect();
                        (!met.is_empty()).then(|| met.iter().sum::<f64>() / met.len() as f64)
                    }
                }
            };
            Some(Both {
                float: of(|both| both.float)?,
                quantized: of(|both| both.quantized)?,
            })
        };
        let found = bootstrap::paired(labels.len(), figure).ok_or(EvaluateError::NoSamples)?;
        Ok(Metric {
            kind: MetricKind::F1,
            float: found.float,
            quantized: found.quantized,
            drop: found.drop,
            samples: labels.len(),
            change: None,
        })
    }
}

/// The F1 of every class, `2·tp / (2·tp + fp + fn)`; `None` of a class that is neither labelled nor named.
fn scores(pairs: impl Iterator<Item = (usize, usize)>, counts: &[u32], classes: usize) -> Vec<Option<f64>> {
    // Per class: hits, and how often it is labelled or named, which is 2·tp + fp + fn.
    let mut sums = vec![(0_u64, 0_u64); classes];
    for ((label, named), &count) in pairs.zip(counts) {
        let count = u64::from(count);
        sums[label].1 += count;
        sums[named].1 += count;
        if label == named {
            sums[label].0 += count;
        }
    }
    let score = |(hits, met): (u64, u64)| (met > 0).then(|| 2.0 * hits as f64 / met as f64);
    sums.into_iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_confusion_matrix() {
        // By sklearn.metrics.f1_score(labels, named, average=None); class 3 is neither labelled nor named.
        let labels = [0, 0, 1, 2, 2, 0];
        let named = [0, 1, 2, 2, 2, 0];
        let found = scores(labels.into_iter().zip(named), &[1; 6], 4);
        assert_eq!(found, [Some(0.8), Some(0.0), Some(0.8), None]);
    }
}
