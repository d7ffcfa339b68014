//! Quantization: a [`FloatGraph`] becomes a [`QuantGraph`] of int8 tensors, or of int16 ones where that is asked for.
//!
//! A model that brings its own `QuantizeLinear` and `DequantizeLinear` nodes is taken as it stands ([`qdq`]), and samples
//! give what it lacks ([`complete`]). Any other is calibrated: ranges come from samples that the reference executor runs
//! ([`ranges`], [`histogram`], [`auto`]), parameters from the ranges ([`params`]), symmetric weights from the
//! model's ([`weights`]) in the form wished for ([`weight_form`]); both are a [`scheme`], by which the graph becomes int8 ([`calibrate`]). Before that, channels
//! may be equalized ([`equalize`]), and after it, layers mended ([`sweep`]). What joins parts of unlike ranges at the
//! graph's end may do so in reals ([`concats`]).
//!
//! With [`Precision::F32`], a float model stays as it is ([`reals`]), and so do the parts of a quantized one that have no
//! int8 form.
//!
//! This stage does not judge whether an operator has an integer kernel; lowering does.

mod auto;
mod calibrate;
mod calibration;
mod channels;
mod complete;
mod concats;
mod equalize;
mod groups;
mod histogram;
mod ladder;
mod mend;
mod moments;
mod noise;
mod outliers;
mod params;
mod patches;
mod pins;
mod precisions;
mod qdq;
mod ranges;
mod reals;
mod scheme;
mod spread;
mod steps;
mod subset;
mod sweep;
mod trial;
mod weight_form;
mod weight_grid;
mod weights;

use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use crate::ir::verify::{VerifyError, verify};
use crate::ir::{FloatGraph, Node, Problem, Progress, QuantGraph, SampleError, Samples};
use crate::op::quant::QuantTensor;
use crate::op::tensor::TensorType;
use crate::op::{Op, Reshape, wide};
use crate::reference::ReferenceError;
pub use calibration::Calibration;
pub use ladder::Rung;
pub use pins::{NodePin, Pattern, Pins, TensorPin};
pub use steps::{Effort, Step, Steps};
pub use weight_form::WeightForm;

/// How the range of a tensor follows from what was observed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Calibrator {
    /// From the least to the greatest value.
    #[default]
    MinMax,
    /// The moving average of the samples' least and greatest values.
    MovingAverage,
    /// The middle of the distribution that holds this percentage of the values, above 0 and up to 100.
    Percentile(f64),
    /// The range that keeps most of the distribution, by the Kullback-Leibler divergence.
    Entropy,
    /// The range with the least mean squared error between values and their quantized selves.
    MeanSquaredError,
    /// For each tensor, the one of the others that costs the nodes that read it least, as measured on samples.
    Auto,
}

impl FromStr for Calibrator {
    type Err = String;

    /// Reads `minmax`, `average`, `percentile`, `percentile=P`, `entropy`, `mse` or `auto`.
    fn from_str(text: &str) -> Result<Self, String> {
        let percent = |text: &str| match text.parse() {
            Ok(percent) if percent > 50.0 && percent <= 100.0 => Ok(Self::Percentile(percent)),
            _ => Err(format!(
                "`{text}` is no percentile; wanted a number above 50, at most 100"
            )),
        };
        match text.split_once('=') {
            None if text == "minmax" => Ok(Self::MinMax),
            None if text == "average" => Ok(Self::MovingAverage),
            None if text == "entropy" => Ok(Self::Entropy),
            None if text == "auto" => Ok(Self::Auto),
            None if text == "mse" => Ok(Self::MeanSquaredError),
            None if text == "percentile" => percent("99.99"),
            Some(("percentile", text)) => percent(text),
            _ => Err(
                "wanted `minmax`, `average`, `percentile`, `percentile=P`, `entropy`, `mse` or `auto`"
                    .to_owned(),
            ),
        }
    }
}

/// What activations and weights are computed in: of a whole model, or of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// int8: what has no such form is refused.
    #[default]
    Int8,
    /// int16 activations and int8 weights: what has no such form computes in f32.
    Int16x8,
    /// f32, but for the parts of a quantized model that have an int8 form.
    F32,
}

/// What the user chooses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// How ranges follow from samples.
    pub calibrator: Calibrator,
    /// What is computed in.
    pub precision: Precision,
    /// What weights are stored as, where a layer can take it.
    pub weights: WeightForm,
    /// How much time it may take.
    pub effort: Effort,
    /// What is done so that less is lost; nothing by default.
    pub steps: Steps,
    /// What is settled by name.
    pub pins: Pins,
}

/// Why a graph cannot be quantized.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantizeError {
    /// Nodes that have no int8 form here, all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems(Vec<Problem>),
    /// A float model without calibration data.
    #[error(
        "a float model needs calibration data, and there are no samples; give some inputs as the model meets them \
         in use, or a model that is already quantized (QuantizeLinear, DequantizeLinear)"
    )]
    NoSamples,
    /// A sample that cannot be read.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A sample with another number of inputs than the model.
    #[error("sample {sample} has {found} inputs, the model has {wanted}")]
    SampleInputs {
        /// Index of the sample.
        sample: usize,
        /// Inputs of the model.
        wanted: usize,
        /// Inputs of the sample.
        found: usize,
    },
    /// A sample of another shape or element type than the input.
    #[error("sample {sample}, input `{input}`: {wanted} wanted, {found} found")]
    SampleType {
        /// Index of the sample.
        sample: usize,
        /// The model's input.
        input: String,
        /// The input's type.
        wanted: TensorType,
        /// The sample's type.
        found: TensorType,
    },
    /// A value that is NaN or infinite, in a sample or on the way.
    #[error("sample {sample} makes `{tensor}` hold {value}, which no int8 range can take")]
    NotFinite {
        /// Index of the sample.
        sample: usize,
        /// The tensor.
        tensor: String,
        /// The value.
        value: f32,
    },
    /// Entries of the `[quantization]` table that stand for nothing.
    #[error("{}", .0.join("\n"))]
    Pins(Vec<String>),
    /// A percentage outside its range.
    #[error("a percentile above 0 and up to 100 wanted, {0} found")]
    Percentile(f64),
    /// The reference executor stopped.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The quantized graph breaks a rule of graphs: a bug of ours.
    #[error("the quantized graph is invalid: {0}")]
    Invalid(#[from] VerifyError),
}

impl QuantizeError {
    /// The same error of a model that is quantized by encodings: what is not quantized lacks one.
    pub fn of_encodings(self) -> Self {
        let Self::Problems(mut problems) = self else {
            return self;
        };
        let lacks = problems
            .iter_mut()
            .filter(|problem| problem.help.as_deref() == Some(qdq::WAY_OUT));
        lacks.for_each(|problem| {
            problem.help =
                Some("give the tensor an activation encoding of 8 bits, or take `--precision f32`".into());
        });
        Self::Problems(problems)
    }
}

/// A quantized graph, and the float graph that it was made of: the one given, but for what [`Step`]s changed in it that
/// leaves its results as they are.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// In reals.
    pub float: FloatGraph,
    /// In integers.
    pub quant: QuantGraph,
}

/// Quantizes a graph. Samples are not touched where all of it is quantized already, or stays in f32.
///
/// # Errors
/// See [`QuantizeError`].
pub fn run(
    graph: FloatGraph,
    samples: &dyn Samples,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Quantized, QuantizeError> {
    let stays = options.precision == Precision::F32 && options.pins.is_empty();
    if !(is_quantized(&graph) || stays) {
        return Calibration::of(graph, samples, options, progress)?.quantize();
    }
    options.pins.check(&graph)?;
    let loops = loops(&graph, options.precision);
    if !loops.is_empty() {
        return Err(QuantizeError::Problems(loops));
    }
    let quant = if is_quantized(&graph) {
        complete::absorb(graph.clone(), samples, options, progress)?
    } else {
        reals::keep(&graph)
    };
    finished(graph, Ok(quant))
}

/// The end of every way: a graph that obeys the rules.
fn finished(float: FloatGraph, quant: Result<QuantGraph, Vec<Problem>>) -> Result<Quantized, QuantizeError> {
    let mut quant = quant.map_err(QuantizeError::Problems)?;
    copy_constant_outputs(&mut quant);
    about_functions(&mut quant);
    verify(&quant)?;
    Ok(Quantized { float, quant })
}

/// Tells of one more part of `what` that is done each time it is called, by any thread.
fn tally<'p>(progress: Progress<'p>, what: &'p str, total: usize) -> impl Fn() + Sync + 'p {
    let done = AtomicUsize::new(0);
    move || progress(what, done.fetch_add(1, Ordering::Relaxed) + 1, total)
}

/// The loops that have no int8 form, which is all of them, and those of a quantized model.
fn loops(graph: &FloatGraph, precision: Precision) -> Vec<Problem> {
    if precision == Precision::F32 && !is_quantized(graph) {
        return Vec::new();
    }
    let loops = graph.nodes.iter().filter(|node| graph.body(node).is_some());
    let reason = "a loop step computes in f32, and it or the model around it is quantized";
    let help = "compile the float model with --precision f32, or shorten the loop so that it is unrolled";
    loops.map(|node| problem(node, reason, Some(help))).collect()
}

/// Makes outputs that are constants copies of them: a program's outputs lie in its working memory.
fn copy_constant_outputs(graph: &mut QuantGraph) {
    let mut names: std::collections::HashSet<String> = graph
        .tensors
        .iter()
        .map(|(_, tensor)| tensor.name.clone())
        .collect();
    for position in 0..graph.outputs.len() {
        let constant = graph.outputs[position];
        if graph.tensors[constant].data.is_none() {
            continue;
        }
        let name = graph.tensors[constant].name.clone();
        let output = QuantTensor {
            data: None,
            ..graph.tensors[constant].clone()
        };
        let shape = output.ty.shape.clone();
        graph.tensors[constant].name = fresh_name(&mut names, &name);
        let output = graph.tensors.push(output);
        graph.nodes.push(Node {
            name,
            op: Op::Reshape(Reshape { shape }),
            inputs: vec![constant],
            outputs: vec![output],
        });
        graph.outputs[position] = output;
    }
}

/// Whether a model brings its own quantization, in the bodies of loops too.
pub fn is_quantized(graph: &FloatGraph) -> bool {
    graph
        .nodes
        .iter()
        .any(|node| matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_)))
        || graph.bodies.iter().any(is_quantized)
}

/// What has to be said of an LSTM.
fn about_lstm<T>(node: &Node<T>) -> String {
    format!(
        "{} `{}`: its states have 16 bits and its functions come from a table; codes are next to what reals would give, not \
         proven equal",
        node.op.name(),
        node.name
    )
}

/// Says of the functions on int16 how far they are from what reals would give.
fn about_functions(graph: &mut QuantGraph) {
    let deviation = |node: &Node<QuantTensor>| {
        let Op::Unary(unary) = &node.op else { return None };
        let (x, y) = (
            &graph.tensors[*node.inputs.first()?],
            &graph.tensors[*node.outputs.first()?],
        );
        let most = wide::deviation(unary.kind, x.params()?, y.params().filter(|_| y.is_wide())?)?;
        Some(format!(
            "{} `{}`: its int16 codes come from a table; they are within {most} of what reals would give, not proven equal",
            node.op.name(),
            node.name
        ))
    };
    let notes: Vec<String> = graph.nodes.iter().filter_map(deviation).collect();
    graph.notes.extend(notes);
}

/// A problem of a node.
fn problem<T>(node: &Node<T>, reason: impl Into<String>, help: Option<&str>) -> Problem {
    Problem {
        node: node.name.clone(),
        operator: node.op.name().into(),
        reason: reason.into(),
        help: help.map(Into::into),
    }
}

/// A name that is not taken yet, after `name`; takes it.
fn fresh_name(names: &mut std::collections::HashSet<String>, name: &str) -> String {
    let fresh = (1..)
        .map(|i| format!("{name}#{i}"))
        .find(|candidate| !names.contains(candidate))
        .expect("one of endlessly many names is free");
    names.insert(fresh.clone());
    fresh
}
