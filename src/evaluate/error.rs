//! Why a model cannot be measured.

use super::MetricKind;
use crate::data::DataError;
use crate::ir::SampleError;
use crate::reference::ReferenceError;
use crate::simulate::SimulateError;
use crate::simulate::edge::EdgeError;

/// Why a model cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// No such metric.
    #[error("no metric is called `{name}`; there are {}", MetricKind::ALL.map(MetricKind::name).join(", "))]
    UnknownMetric {
        /// The name asked for.
        name: String,
    },
    /// The metric compares with classes.
    #[error("metric `{metric}` needs labels that are classes")]
    NeedsClasses {
        /// The metric.
        metric: &'static str,
    },
    /// Labels and samples do not match in number.
    #[error("{found} labels for {wanted} {per}s; one per {per} is wanted")]
    LabelCount {
        /// Labels given.
        found: usize,
        /// Samples or groups.
        wanted: usize,
        /// `sample` or `group`.
        per: &'static str,
    },
    /// Labelled outputs that the model cannot give.
    #[error("the labels have shape {found:?}; the model's output has {wanted} numbers per sample")]
    LabelShape {
        /// The labels' shape.
        found: Vec<usize>,
        /// Numbers of an output.
        wanted: usize,
    },
    /// Groups and samples do not match in number.
    #[error("{found} group numbers for {wanted} samples")]
    GroupCount {
        /// Group numbers given.
        found: usize,
        /// Samples.
        wanted: usize,
    },
    /// A group number that no sample has.
    #[error("no sample belongs to group {group}; groups are numbered from 0 without gaps")]
    EmptyGroup {
        /// The number.
        group: usize,
    },
    /// A label other than 0 and 1 for a metric of two classes.
    #[error("label {label} is neither 0 nor 1, which is what {metric} tells apart")]
    NotBinary {
        /// The metric.
        metric: &'static str,
        /// The label.
        label: i64,
    },
    /// All labels are the same.
    #[error("every label is {label}; {metric} needs both classes")]
    OneClass {
        /// The metric.
        metric: &'static str,
        /// The label.
        label: i64,
    },
    /// There is nothing to measure on.
    #[error("there is no sample to evaluate on")]
    NoSamples,
    /// A sample cannot be read.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A label cannot be read.
    #[error(transparent)]
    Label(#[from] DataError),
    /// The float model does not run.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A sample does not pass the blob's edge.
    #[error(transparent)]
    Edge(#[from] EdgeError),
    /// The blob does not run.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
}
