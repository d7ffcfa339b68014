//! Tinsmith: an ahead-of-time compiler for the edge.
//!
//! An ONNX model becomes a flashable blob in five stages; each is a verb, and only this file joins them:
//!
//! ```text
//! model.onnx     calibration samples
//!    │ import             protobuf → FloatGraph, static shapes, channels-last inside
//!    │ optimize           folding, fusion, transpose elimination
//!    │ quantize           FloatGraph + samples → QuantGraph, or QDQ nodes taken as they stand
//!    │ schedule(target)   QuantGraph → Program: kernels, packing, order, live ranges, memory plan
//!    │ emit               Program → blob, and from it .bin .hex .elf; QuantGraph → QDQ .onnx
//!    ▼
//! tinsmith-runtime on the device == tinsmith-runtime on the host (the simulator)
//! ```
//!
//! [`mix`] tries several quantizations against a target, where not all of a model suits int8.
//!
//! [`ir`], [`op`] and [`target`] are the vocabularies that the stages share. [`mod@reference`] runs float graphs on the
//! host, [`simulate`] runs blobs, [`evaluate`] holds one against the other on samples that [`data`] reads.
//!
//! Invariants, kept by `tests/tidy.rs`:
//!
//! - A stage never names another stage; they meet in `ir` types, here.
//! - No stage reads files, the clock or the environment: same input, same bytes out, on every host. What a stage
//!   needs of the outside is handed to it ([`ir::Samples`], [`ir::Progress`]).
//! - Protobuf types stop at [`import`] and at the ONNX writer in [`emit`], object-file types at [`emit`].
//! - What a quantized graph means is what the blob computes: every operator's lowering proves it or the compile fails.

pub mod data;
pub mod emit;
pub mod evaluate;
pub mod import;
pub mod ir;
pub mod mix;
pub mod op;
pub mod optimize;
pub mod quantize;
pub mod reference;
pub mod schedule;
pub mod simulate;
pub mod target;

use ir::{FloatGraph, Metadata, Program, Progress, QuantGraph, Samples};
use quantize::Quantized;
use target::Target;

/// What every stage may be told; the defaults are right for most models.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the model leaves open.
    pub import: import::Options,
    /// How far to optimize: for finding a pass that is to blame.
    pub optimize: optimize::Options,
    /// How ranges come from samples.
    pub quantize: quantize::Options,
    /// Whether nodes of a float model that lose much in int8 are computed in f32, and what is wished of that.
    pub mix: Option<mix::Wish>,
    /// Layout at the edge; whether inexact channels are taken.
    pub schedule: schedule::Options,
    /// What the blob carries beside the program.
    pub emit: emit::Options,
}

/// A compiled model, and what it was on the way.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// What the runtime executes, on the device and in the simulator.
    pub blob: Vec<u8>,
    /// The optimized float graph.
    pub float: FloatGraph,
    /// What it was quantized to.
    pub quant: QuantGraph,
    /// What it was scheduled to.
    pub program: Program,
}

/// Why a model was not compiled, and by which stage.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no model that can be taken.
    #[error("import: {0}")]
    Import(#[from] import::ImportError),
    /// A pass broke the graph.
    #[error("optimize: {0}")]
    Optimize(#[from] optimize::OptimizeError),
    /// The graph cannot be quantized with these samples.
    #[error("quantize: {0}")]
    Quantize(#[from] quantize::QuantizeError),
    /// The quantized graph cannot be run on the target.
    #[error("schedule: {0}")]
    Schedule(#[from] schedule::ScheduleError),
    /// A mix of precisions cannot be measured: a bug of ours.
    #[error("simulate: {0}")]
    Simulate(#[from] simulate::SimulateError),
    /// The samples are not what the blob takes: a bug of ours.
    #[error("simulate: {0}")]
    Edge(#[from] simulate::edge::EdgeError),
    /// The program cannot be written down.
    #[error("emit: {0}")]
    Emit(#[from] emit::EmitError),
}

/// Compiles an ONNX model for a target; `samples` calibrate it where it is not quantized already.
///
/// # Errors
/// See [`Error`].
pub fn compile(
    target: &Target,
    onnx: &[u8],
    samples: &dyn Samples,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Artifact, Error> {
    let float = load(onnx, options)?;
    build(target, float, samples, options, progress)
}

/// The first half of [`compile`], which needs no samples: the optimized float graph, all of whose reals are f32.
///
/// # Errors
/// See [`Error`].
pub fn load(onnx: &[u8], options: &Options) -> Result<FloatGraph, Error> {
    let precision = options.quantize.precision;
    let int8 = precision == quantize::Precision::Int8;
    let mut import = options.import.clone();
    // Codes have no loop step.
    import.unroll |= precision != quantize::Precision::F32;
    let graph = import::onnx(onnx, &import)?;
    let optimize = optimize::Options {
        integers: int8,
        ..options.optimize.clone()
    };
    Ok(optimize::run(optimize::widen(graph), &optimize)?)
}

/// The second half of [`compile`]: from the optimized float graph to the blob.
///
/// # Errors
/// See [`Error`].
pub fn build(
    target: &Target,
    float: FloatGraph,
    samples: &dyn Samples,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Artifact, Error> {
    let quantized = quantize_graph(target, float, samples, options, progress)?;
    finish(target, quantized, options)
}

/// The first step of [`build`], which is the one that takes time: it alone looks at the samples. At the target it looks only
/// where a mix of precisions has to fit.
///
/// # Errors
/// See [`Error`].
pub fn quantize_graph(
    target: &Target,
    float: FloatGraph,
    samples: &dyn Samples,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Quantized, Error> {
    if let Some(wish) = options.mix
        && !quantize::is_quantized(&float)
    {
        return mix::search(target, float, samples, options, wish, progress);
    }
    let quantized = quantize::run(float, samples, &options.quantize, progress);
    Ok(quantized.map_err(|error| match options.import.encodings {
        Some(_) => error.of_encodings(),
        None => error,
    })?)
}

/// What is left of [`build`] behind [`quantize_graph`].
///
/// # Errors
/// See [`Error`].
pub fn finish(target: &Target, quantized: Quantized, options: &Options) -> Result<Artifact, Error> {
    let Quantized { float, quant } = quantized;
    let program = schedule::run(target, &quant, &options.schedule)?;
    let blob = emit::blob(target, &program, &remarks(&float.metadata, &options.emit))?;
    Ok(Artifact {
        blob,
        float,
        quant,
        program,
    })
}

/// What the blob carries beside the program: what the options say, else what the model says of itself, of which its
/// version and labels alone where the blob is stripped.
fn remarks(model: &Metadata, options: &emit::Options) -> emit::Options {
    let or = |given: &String, found: &String| if given.is_empty() { found } else { given }.clone();
    let labels = if options.labels.is_empty() {
        &model.labels
    } else {
        &options.labels
    };
    let said = if options.strip {
        &Metadata::default()
    } else {
        model
    };
    let texts = options.preprocessing.iter().chain(&said.texts);
    emit::Options {
        strip: options.strip,
        model_version: or(&options.model_version, &model.version),
        producer: or(&options.producer, &said.producer),
        labels: labels.clone(),
        preprocessing: texts.cloned().collect(),
    }
}
