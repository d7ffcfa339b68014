//! Metrics: which there are, and what each needs of labels and samples.

use std::str::FromStr;

use serde::Serialize;

use super::auc::Auc;
use super::detection::MeanPrecision;
use super::explained::Explained;
use super::f1::F1;
use super::hits::{Agreement, Hits};
use super::interval::Estimate;
use super::judge::{Judge, Slots};
use super::labels::Truth;
use super::mcnemar::Change;
use super::means::{MOST_DB, Means, cosine, mean_squared_error, si_sdr};
use super::overlap::MeanOverlap;
use super::{EvaluateError, Labels, Options};
use crate::ir::FloatGraph;

/// A way to judge outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    /// How often the largest output is the labelled class.
    Top1,
    /// How often the labelled class is among the five largest outputs.
    Top5,
    /// How often the largest output is the float model's.
    Agreement,
    /// Mean squared error against the outputs expected or labelled, else against the float model's outputs.
    Mse,
    /// Mean cosine with the outputs expected or labelled, else with the float model's outputs.
    Cosine,
    /// Area under the ROC curve of a score: an autoencoder's mean squared reconstruction error, else the last
    /// output; averaged over groups of samples where groups are given.
    Auc,
    /// F1: of class 1 by a threshold where one is given or the output is one number, else the mean over all classes,
    /// named by the largest output.
    F1,
    /// Mean intersection over union of maps of classes.
    Miou,
    /// Mean average precision of boxes that overlap the labelled ones by half or more.
    Map50,
    /// Mean average precision of boxes, averaged over overlaps from 0.5 to 0.95.
    Map,
    /// Mean scale-invariant signal-to-distortion ratio, in decibels.
    #[serde(rename = "si_sdr")]
    SiSdr,
    /// The share of the expected outputs' variance that the outputs explain: R².
    Csv,
}

/// What a metric's figures are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A share: a drop can be told in percentage points.
    Fraction,
    /// Decibels.
    Decibel,
    /// The outputs' own unit, or its square.
    Own,
}

impl MetricKind {
    /// All there are.
    pub const ALL: [Self; 12] = [
        Self::Top1,
        Self::Top5,
        Self::Agreement,
        Self::Mse,
        Self::Cosine,
        Self::Auc,
        Self::F1,
        Self::Miou,
        Self::Map50,
        Self::Map,
        Self::SiSdr,
        Self::Csv,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Top1 => "top1",
            Self::Agreement => "agreement",
            Self::Mse => "mse",
            Self::Cosine => "cosine",
            Self::Auc => "auc",
            Self::Top5 => "top5",
            Self::F1 => "f1",
            Self::Miou => "miou",
            Self::Map50 => "map50",
            Self::Map => "map",
            Self::SiSdr => "si_sdr",
            Self::Csv => "csv",
        }
    }

    /// What its figures are in.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Mse => Unit::Own,
            Self::SiSdr => Unit::Decibel,
            Self::Top1
            | Self::Top5
            | Self::Agreement
            | Self::Cosine
            | Self::Auc
            | Self::F1
            | Self::Miou
            | Self::Map50
            | Self::Map
            | Self::Csv => Unit::Fraction,
        }
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
    options
        .metrics
        .iter()
        .map(|&kind| judge(kind, float, options, samples))
        .collect()
}

/// A metric: over all outputs where they are boxes, else over the model's first output.
fn judge<'o>(
    kind: MetricKind,
    float: &FloatGraph,
    options: &'o Options,
    samples: usize,
) -> Result<Box<dyn Judge + 'o>, EvaluateError> {
    let labels = options.labels.as_ref();
    let output = &float.tensors[float.outputs[0]].ty;
    let wanted = output.len();
    let rows = match (&options.expected, labels) {
        (Some(array), _) | (None, Some(Labels::Outputs(array))) => Some(array),
        (None, Some(Labels::Classes(_) | Labels::Boxes(_)) | None) => None,
    };
    let given = || match rows {
        Some(array) => Truth::rows(array, wanted, samples),
        None => Err(EvaluateError::NeedsOutputs { metric: kind.name() }),
    };
    let truth = || rows.map_or(Ok(Truth::Float), |_| given());
    let seen = Slots::new(samples);
    let hits = |among: usize| -> Result<_, EvaluateError> {
        Ok(Hits {
            kind,
            among,
            labels: class_each(kind, labels, samples)?,
            hits: Slots::new(samples),
        })
    };
    Ok(match kind {
        MetricKind::Top1 => Box::new(hits(1)?),
        MetricKind::Top5 => Box::new(hits(5)?),
        MetricKind::Agreement => Box::new(Agreement {
            same: Slots::new(samples),
        }),
        MetricKind::Mse => Box::new(Means {
            kind,
            truth: truth()?,
            of: |output, truth| Some(mean_squared_error(output, truth)),
            limits: None,
            is_loss: true,
            seen,
        }),
        MetricKind::Cosine => Box::new(Means {
            kind,
            truth: truth()?,
            of: |output, truth| Some(cosine(output, truth)),
            limits: Some((-1.0, 1.0)),
            is_loss: false,
            seen,
        }),
        MetricKind::Auc => Box::new(Auc::new(
            classes(kind, labels)?,
            options.groups.as_deref(),
            samples,
        )?),
        MetricKind::F1 => Box::new(F1::new(
            class_each(kind, labels, samples)?,
            options.threshold,
            wanted,
        )?),
        MetricKind::Miou => match labels {
            Some(Labels::Outputs(maps)) => Box::new(MeanOverlap::new(maps, output, samples)?),
            Some(Labels::Classes(_) | Labels::Boxes(_)) | None => {
                return Err(EvaluateError::NeedsMaps { metric: kind.name() });
            }
        },
        MetricKind::Map50 | MetricKind::Map => match labels {
            Some(Labels::Boxes(truth)) => Box::new(MeanPrecision::new(
                kind,
                truth,
                options.boxes.as_ref(),
                float,
                samples,
            )?),
            Some(Labels::Classes(_) | Labels::Outputs(_)) | None => {
                return Err(EvaluateError::NeedsBoxes { metric: kind.name() });
            }
        },
        MetricKind::SiSdr => Box::new(Means {
            kind,
            truth: given()?,
            of: si_sdr,
            limits: Some((-MOST_DB, MOST_DB)),
            is_loss: false,
            seen,
        }),
        MetricKind::Csv => Box::new(Explained::new(given()?, wanted, samples)?),
    })
}

/// The labels where they are classes.
fn classes(kind: MetricKind, labels: Option<&Labels>) -> Result<&[i64], EvaluateError> {
    match labels {
        Some(Labels::Classes(classes)) => Ok(classes),
        Some(Labels::Outputs(_) | Labels::Boxes(_)) | None => {
            Err(EvaluateError::NeedsClasses { metric: kind.name() })
        }
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
