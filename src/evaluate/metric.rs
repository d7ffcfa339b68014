//! Metrics: what a sample's two outputs tell, and the figures over all samples.

use std::str::FromStr;

use serde::Serialize;

use super::auc;
use super::interval::{Estimate, mean, paired_drop, proportion};
use super::{EvaluateError, Labels};

/// A way to judge outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    /// How often the largest output is the labelled class.
    Top1,
    /// How often the largest output is the float model's.
    Agreement,
    /// Mean squared error against the labels, where they are whole outputs, else against the float model's outputs.
    Mse,
    /// Mean cosine with the labels, where they are whole outputs, else with the float model's outputs.
    Cosine,
    /// Area under the ROC curve of a score: an autoencoder's mean squared reconstruction error, else the last
    /// output; averaged over groups of samples where groups are given.
    Auc,
}

impl MetricKind {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Top1, Self::Agreement, Self::Mse, Self::Cosine, Self::Auc];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Top1 => "top1",
            Self::Agreement => "agreement",
            Self::Mse => "mse",
            Self::Cosine => "cosine",
            Self::Auc => "auc",
        }
    }

    /// Whether it is a fraction, of which a drop can be told in percentage points.
    pub const fn is_fraction(self) -> bool {
        !matches!(self, Self::Mse)
    }
}

impl FromStr for MetricKind {
    type Err = EvaluateError;

    fn from_str(text: &str) -> Result<Self, EvaluateError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| EvaluateError::UnknownMetric {
            name: text.to_owned(),
        })
    }
}

/// A metric's figures. A positive drop means that the quantized model is worse.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Which metric.
    pub kind: MetricKind,
    /// The float model's figure.
    pub float: Estimate,
    /// The quantized model's.
    pub quantized: Estimate,
    /// What quantization costs, judged sample by sample.
    pub drop: Estimate,
    /// Samples (or groups of them) it was measured on.
    pub samples: usize,
}

/// A thing seen of the float and of the quantized model.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Both<T> {
    pub(super) float: T,
    pub(super) quantized: T,
}

impl<T> Both<T> {
    pub(super) fn map<U>(&self, f: impl Fn(&T) -> U) -> Both<U> {
        Both {
            float: f(&self.float),
            quantized: f(&self.quantized),
        }
    }
}

/// What one sample tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Index of the largest output, the first of equals.
    class: Both<usize>,
    /// Mean squared error against the truth.
    squared_error: Both<f64>,
    /// Cosine with the truth.
    cosine: Both<f64>,
    /// Score of the positive class, or the reconstruction error.
    score: Both<f64>,
}

impl Outcome {
    /// From the outputs for one sample; `truth` is a labelled output, `input` the sample itself.
    pub(super) fn new(outputs: &Both<Vec<f64>>, truth: Option<&[f64]>, input: &[f64]) -> Self {
        let truth = truth.unwrap_or(&outputs.float);
        let score = |output: &Vec<f64>| {
            if output.len() == input.len() {
                mean_squared_error(output, input)
            } else {
                output.last().copied().unwrap_or_default()
            }
        };
        Self {
            class: outputs.map(|output| largest(output)),
            squared_error: outputs.map(|output| mean_squared_error(output, truth)),
            cosine: outputs.map(|output| cosine(output, truth)),
            score: outputs.map(score),
        }
    }
}

fn largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}

fn mean_squared_error(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>() / a.len() as f64
}

/// The cosine of the angle between two vectors; 1 where both are zero, 0 where one is.
pub(super) fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
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

/// The figures of a metric over all samples, in their order.
pub(super) fn judge(
    kind: MetricKind,
    outcomes: &[Outcome],
    labels: Option<&Labels>,
    groups: Option<&[usize]>,
) -> Result<Metric, EvaluateError> {
    let n = outcomes.len();
    match kind {
        MetricKind::Top1 => top1(outcomes, classes(kind, labels)?),
        MetricKind::Agreement => {
            let same = outcomes
                .iter()
                .filter(|o| o.class.float == o.class.quantized)
                .count();
            let quantized = proportion(same, n);
            Ok(Metric {
                kind,
                float: Estimate::exact(1.0),
                quantized,
                drop: quantized.complement(),
                samples: n,
            })
        }
        MetricKind::Mse => {
            let errors = outcomes.iter().map(|o| o.squared_error);
            Ok(Metric {
                kind,
                float: mean(errors.clone().map(|e| e.float)),
                quantized: mean(errors.clone().map(|e| e.quantized)),
                drop: mean(errors.map(|e| e.quantized - e.float)),
                samples: n,
            })
        }
        MetricKind::Cosine => {
            let cosines = outcomes.iter().map(|o| o.cosine);
            Ok(Metric {
                kind,
                float: mean(cosines.clone().map(|c| c.float)).within(-1.0, 1.0),
                quantized: mean(cosines.clone().map(|c| c.quantized)).within(-1.0, 1.0),
                drop: mean(cosines.map(|c| c.float - c.quantized)),
                samples: n,
            })
        }
        MetricKind::Auc => area(outcomes, classes(kind, labels)?, groups),
    }
}

fn classes(kind: MetricKind, labels: Option<&Labels>) -> Result<&[i64], EvaluateError> {
    match labels {
        Some(Labels::Classes(classes)) => Ok(classes),
        Some(Labels::Outputs(_)) | None => Err(EvaluateError::NeedsClasses { metric: kind.name() }),
    }
}

fn top1(outcomes: &[Outcome], labels: &[i64]) -> Result<Metric, EvaluateError> {
    let n = outcomes.len();
    if labels.len() != n {
        return Err(EvaluateError::LabelCount {
            found: labels.len(),
            wanted: n,
            per: "sample",
        });
    }
    let hits: Vec<Both<bool>> = outcomes
        .iter()
        .zip(labels)
        .map(|(outcome, &label)| outcome.class.map(|&class| class as i64 == label))
        .collect();
    let count = |hit: fn(&Both<bool>) -> bool| hits.iter().filter(|both| hit(both)).count();
    let lost = count(|both| both.float && !both.quantized);
    let won = count(|both| both.quantized && !both.float);
    Ok(Metric {
        kind: MetricKind::Top1,
        float: proportion(count(|both| both.float), n),
        quantized: proportion(count(|both| both.quantized), n),
        drop: paired_drop(lost, won, n),
        samples: n,
    })
}

/// The AUC over groups of samples; every sample is a group of its own where none are given.
fn area(outcomes: &[Outcome], labels: &[i64], groups: Option<&[usize]>) -> Result<Metric, EvaluateError> {
    let n_groups = groups.map_or(outcomes.len(), |groups| {
        groups.iter().max().map_or(0, |max| max + 1)
    });
    if labels.len() != n_groups {
        return Err(EvaluateError::LabelCount {
            found: labels.len(),
            wanted: n_groups,
            per: if groups.is_some() { "group" } else { "sample" },
        });
    }
    let mut sums = vec![(Both::<f64>::default(), 0_usize); n_groups];
    for (i, outcome) in outcomes.iter().enumerate() {
        let (sum, count) = &mut sums[groups.map_or(i, |groups| groups[i])];
        sum.float += outcome.score.float;
        sum.quantized += outcome.score.quantized;
        *count += 1;
    }
    if let Some(group) = sums.iter().position(|&(_, count)| count == 0) {
        return Err(EvaluateError::EmptyGroup { group });
    }
    if let Some(&label) = labels.iter().find(|label| !matches!(label, 0 | 1)) {
        return Err(EvaluateError::NotBinary { label });
    }
    let positive: Vec<bool> = labels.iter().map(|&label| label == 1).collect();
    if !positive.contains(&true) || !positive.contains(&false) {
        return Err(EvaluateError::OneClass { label: labels[0] });
    }
    let average = |of: fn(&Both<f64>) -> f64| -> Vec<f64> {
        sums.iter().map(|(sum, count)| of(sum) / *count as f64).collect()
    };
    let pair = auc::compare(
        &average(|sum| sum.float),
        &average(|sum| sum.quantized),
        &positive,
    );
    Ok(Metric {
        kind: MetricKind::Auc,
        float: pair.before,
        quantized: pair.after,
        drop: pair.drop,
        samples: n_groups,
    })
}
