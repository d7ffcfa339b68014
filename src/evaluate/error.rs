//! Why a model cannot be measured.

use super::{BoxesError, MetricKind};
use crate::data::DataError;
use crate::ir::SampleError;
use crate::op::tensor::TensorType;
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
    /// The metric compares with whole outputs.
    #[error("metric `{metric}` needs whole outputs to compare with, one per sample")]
    NeedsOutputs {
        /// The metric.
        metric: &'static str,
    },
    /// The metric compares with maps of classes.
    #[error("metric `{metric}` needs labels that are maps of classes, one per sample")]
    NeedsMaps {
        /// The metric.
        metric: &'static str,
    },
    /// The metric compares with boxes.
    #[error("metric `{metric}` needs labels that are boxes")]
    NeedsBoxes {
        /// The metric.
        metric: &'static str,
    },
    /// The model's outputs are not read as boxes.
    #[error(transparent)]
    Boxes(#[from] BoxesError),
    /// Nowhere in the images is there anything to find.
    #[error("no box is labelled in the images of the samples, crowds apart")]
    NoBoxes,
    /// Maps of classes that the model's output does not lie over.
    #[error(
        "the labels have shape {found:?} and the model's first output is {output}; wanted a map per sample of the \
         {samples}, and an output that has one score per class at each of its positions, or one score, or the class"
    )]
    MapShape {
        /// The labels' shape.
        found: Vec<usize>,
        /// Samples.
        samples: usize,
        /// The model's first output.
        output: TensorType,
    },
    /// A class that there is not.
    #[error(
        "sample {sample} has class {class} in its map, but there are {classes}; 255 and negative ones are not judged"
    )]
    NoSuchClass {
        /// The sample.
        sample: usize,
        /// The class.
        class: i64,
        /// Classes there are.
        classes: usize,
    },
    /// Nowhere in the maps is there anything to judge.
    #[error("no position of any map is labelled; 255 and negative labels are not judged")]
    NothingLabelled,
    /// What is expected of a sample is nothing but zeros.
    #[error(
        "metric `{metric}` compares with a signal, and that of sample {sample} is silent: nothing but zeros"
    )]
    Silent {
        /// The metric.
        metric: &'static str,
        /// The sample.
        sample: usize,
    },
    /// What is expected is the same for all samples.
    #[error("the same is expected of every sample, so that there is nothing to explain")]
    AllAlike,
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
