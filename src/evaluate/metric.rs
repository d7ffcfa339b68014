//! Metrics: which there are, and what each needs of labels and samples.

use std::str::FromStr;

use serde::Serialize;

use super::auc::Auc;
use super::hits::{Agreement, Hits};
use super::interval::Estimate;
use super::judge::{Judge, Slots};
use super::labels::Truth;
use super::mcnemar::Change;
use super::means::{Means, cosine, mean_squared_error};
use super::{EvaluateError, Labels, Options};
use crate::ir::FloatGraph;

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
    /// For metrics that count hits: the samples on which the two differ.
    pub change: Option<Change>,
}

/// The metrics asked for, ready to look at samples.
///
/// # Errors
/// Where labels and groups do not fit the samples or the metrics.
pub(super) fn judges<'o>(
    float: &FloatGraph,
    options: &'o Options,
    samples: usize,
) -> Result<Vec<Box<dyn Judge + 'o>>, EvaluateError> {
    if let Some(groups) = &options.groups
        && groups.len() != samples
    {
        return Err(EvaluateError::GroupCount {
            found: groups.len(),
            wanted: samples,
        });
    }
    let wanted = float.tensors[float.outputs[0]].ty.len();
    options
        .metrics
        .iter()
        .map(|&kind| judge(kind, wanted, options, samples))
        .collect()
}

/// A metric; the model's first output has `wanted` numbers.
fn judge<'o>(
    kind: MetricKind,
    wanted: usize,
    options: &'o Options,
    samples: usize,
) -> Result<Box<dyn Judge + 'o>, EvaluateError> {
    let labels = options.labels.as_ref();
    let truth = || match labels {
        Some(Labels::Outputs(array)) => Truth::rows(array, wanted, samples),
        Some(Labels::Classes(_)) | None => Ok(Truth::Float),
    };
    let seen = Slots::new(samples);
    Ok(match kind {
        MetricKind::Top1 => Box::new(Hits {
            kind,
            among: 1,
            labels: class_each(kind, labels, samples)?,
            hits: Slots::new(samples),
        }),
        MetricKind::Agreement => Box::new(Agreement {
            same: Slots::new(samples),
        }),
        MetricKind::Mse => Box::new(Means {
            kind,
            truth: truth()?,
            of: mean_squared_error,
            limits: None,
            is_loss: true,
            seen,
        }),
        MetricKind::Cosine => Box::new(Means {
            kind,
            truth: truth()?,
            of: cosine,
            limits: Some((-1.0, 1.0)),
            is_loss: false,
            seen,
        }),
        MetricKind::Auc => Box::new(Auc::new(
            classes(kind, labels)?,
            options.groups.as_deref(),
            samples,
        )?),
    })
}

/// The labels where they are classes.
fn classes(kind: MetricKind, labels: Option<&Labels>) -> Result<&[i64], EvaluateError> {
    match labels {
        Some(Labels::Classes(classes)) => Ok(classes),
        Some(Labels::Outputs(_)) | None => Err(EvaluateError::NeedsClasses { metric: kind.name() }),
    }
}

/// The labels where they are a class per sample.
fn class_each(kind: MetricKind, labels: Option<&Labels>, samples: usize) -> Result<&[i64], EvaluateError> {
    let labels = classes(kind, labels)?;
    if labels.len() != samples {
        return Err(EvaluateError::LabelCount {
            found: labels.len(),
            wanted: samples,
            per: "sample",
        });
    }
    Ok(labels)
}
