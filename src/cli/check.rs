//! `check`: can a model be compiled, does it fit, and is it what the training framework computed.

use std::fmt::Write;

use serde_json::{Value, json};
use tinsmith::ir::{FloatGraph, Problem, SampleError, Samples};
use tinsmith::op::tensor::{DType, Data, Values};
use tinsmith::target::Target;
use tinsmith::{Artifact, Error, Options, import, quantize, schedule};

use super::answer::{Answer, grouped};
use super::error;
use super::failure::{Exit, Failure};
use super::fidelity::{self, Fidelity};
use super::files;
use super::model::{ModelArgs, inputs, read_target};

/// Checks whether a model can be compiled and, with a target, whether it fits: all problems at once.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The target to fit; a Cortex-M4 board where only the operators matter.
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Samples for the float model, as for `compile --calibration`, to compare its outputs with `--expect`.
    #[arg(long, value_name = "[NAME=]FILE", requires = "expect")]
    input: Vec<String>,
    /// What the training framework gives for them.
    #[arg(long, value_name = "[NAME=]FILE", requires = "input")]
    expect: Vec<String>,
    /// The largest error of an output, relative to the range of what is expected.
    #[arg(long, default_value_t = 1e-5)]
    tolerance: f64,
}

/// Where only the operators matter.
const ANY_TARGET: &str = "mps2-an386";

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let target = read_target(args.target.as_deref().unwrap_or(ANY_TARGET))?;
    let bytes = files::read_model(&args.model.model)?;
    let mut options = args.model.options()?;
    options.schedule.allow_inexact = true;
    let graph = match args.model.decode(&bytes, &options) {
        Ok(graph) => graph,
        Err(Error::Import(import::ImportError::Problems(problems))) => return Ok(refused(&problems, None)),
        Err(error) => return Err(error::of_model(&args.model.model, error)),
    };
    let fidelity = match args.input.as_slice() {
        [] => None,
        input => Some(fidelity::compare(&graph, input, &args.expect)?),
    };
    let is_lossy = |fidelity: &Fidelity| fidelity.is_lossy(args.tolerance);
    let answer = match vast(&graph, &target) {
        // Nothing else matters then, and what it is quantized to least.
        _ if fidelity.as_ref().is_some_and(is_lossy) => {
            Answer::new(heading(&graph), json_of(true, &[], Some(&graph)))
        }
        Some(failure) => too_big(&graph, failure, args.target.is_some()),
        None => build(args, &target, &graph, &Noise::new(&graph), &options)?,
    };
    Ok(match fidelity {
        Some(fidelity) => fidelity.add_to(answer, args.tolerance),
        None => answer,
    })
}

/// Compiles the model from noise.
fn build(
    args: &Args,
    target: &Target,
    graph: &FloatGraph,
    probe: &Noise,
    options: &Options,
) -> Result<Answer, Failure> {
    Ok(
        match tinsmith::build(target, graph.clone(), probe, options, &|_, _, _| ()) {
            Ok(artifact) => fits(args, target, &artifact),
            Err(
                Error::Quantize(quantize::QuantizeError::Problems(problems))
                | Error::Schedule(schedule::ScheduleError::Unsupported(problems)),
            ) => refused(&problems, Some(graph)),
            // Without a target, a model is not too big.
            Err(error) => {
                let failure = error::of_model(&args.model.model, error);
                if failure.exit != Exit::DoesNotFit {
                    return Err(failure);
                }
                too_big(graph, failure, args.target.is_some())
            }
        },
    )
}

fn json_of(ok: bool, problems: &[Problem], graph: Option<&FloatGraph>) -> Value {
    json!({
        "ok": ok,
        "problems": problems,
        "macs": graph.map(tinsmith::ir::Graph::macs),
        "parameters": graph.map(tinsmith::ir::Graph::parameters),
    })
}

fn heading(graph: &FloatGraph) -> String {
    format!(
        "{}: {} operators, {} parameters, {} multiply-accumulates\n",
        graph.name,
        graph.nodes.len(),
        grouped(graph.parameters()),
        grouped(graph.macs())
    )
}

/// The model cannot be compiled.
fn refused(problems: &[Problem], graph: Option<&FloatGraph>) -> Answer {
    let text = graph.map(heading).unwrap_or_default();
    let message = match problems.len() {
        1 => "the model cannot be compiled".to_owned(),
        n => format!("the model cannot be compiled: {n} problems"),
    };
    Answer {
        text,
        json: json_of(false, problems, graph),
        failure: Some(Failure::problems(message, problems)),
    }
}

/// The model can be compiled, but not for this target.
fn too_big(graph: &FloatGraph, failure: Failure, is_wanted: bool) -> Answer {
    let mut json = json_of(!is_wanted, &[], Some(graph));
    json["does_not_fit"] = failure.message.clone().into();
    Answer {
        text: heading(graph),
        json,
        failure: is_wanted.then_some(failure),
    }
}

/// The model can be compiled and fits.
fn fits(args: &Args, target: &Target, artifact: &Artifact) -> Answer {
    let program = &artifact.program;
    let instructions = program.instructions();
    let mut text = heading(&artifact.float);
    for note in &artifact.quant.notes {
        let _ = writeln!(text, "  note   {note}");
    }
    let mut json = json_of(true, &[], Some(&artifact.float));
    if args.target.is_some() {
        let milliseconds = instructions as f64 * 1e3 / target.clock_hz as f64;
        let _ = writeln!(
            text,
            "  fits {} ({}), with sizes as compiled from noise:",
            target.name, target.core
        );
        let _ = writeln!(text, "  flash  {} bytes", grouped(artifact.blob.len() as u64));
        let _ = writeln!(text, "  SRAM   {} bytes", grouped(program.plan.arena_bytes));
        let _ = writeln!(
            text,
            "  time   {} instructions predicted: {milliseconds:.1} ms at one a cycle",
            grouped(instructions)
        );
        json["target"] = target.name.clone().into();
        json["blob_bytes"] = artifact.blob.len().into();
        json["arena_bytes"] = program.plan.arena_bytes.into();
        json["instructions"] = instructions.into();
    } else {
        let _ = writeln!(text, "  can be compiled; give a target to see whether it fits");
    }
    Answer::new(text, json)
}

/// One sample of seeded noise: enough to see which kernels and how much memory a model takes, which do not depend on
/// the data.
struct Noise {
    values: Vec<Values>,
}

impl Noise {
    fn new(graph: &FloatGraph) -> Self {
        let mut state = 1_u64;
        let mut next = || {
            // Knuth's MMIX generator; the upper bits as a real between 0 and 1.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        let values = inputs(graph).into_iter().map(|input| {
            let count = input.ty.len();
            let reals: Vec<f32> = (0..count).map(|_| next()).collect();
            let data = match input.ty.dtype {
                DType::I8 => Data::I8(reals.iter().map(|x| (x * 127.0) as i8).collect()),
                DType::U8 => Data::U8(reals.iter().map(|x| (x * 255.0) as u8).collect()),
                dtype if dtype.is_float() => Data::F32(reals).cast(dtype),
                // Indices and masks: whatever they choose, zero is a choice.
                dtype => Data::I8(vec![0; count]).cast(dtype),
            };
            Values::new(input.ty.shape, data)
        });
        Self {
            values: values.collect(),
        }
    }
}

impl Samples for Noise {
    fn len(&self) -> usize {
        1
    }

    fn get(&self, _: usize) -> Result<Vec<Values>, SampleError> {
        Ok(self.values.clone())
    }
}

/// Beyond this many elements, tensors are not even computed to see that they do not fit.
const MANY: u64 = 1 << 26;

/// Why a model comes nowhere near the target: its weights or one of its tensors, at one byte for each element.
pub(super) fn vast(graph: &FloatGraph, target: &Target) -> Option<Failure> {
    let flash = target.flash().bytes;
    let parameters = graph.parameters();
    if parameters > MANY.max(flash) {
        let message = format!(
            "{} bytes of flash wanted for {} parameters at one byte each, {} found",
            grouped(parameters),
            grouped(parameters),
            grouped(flash)
        );
        return Some(Failure::new(Exit::DoesNotFit, message));
    }
    let memory: u64 = target.memory.iter().map(|memory| memory.bytes).sum();
    let outputs = graph.nodes.iter().flat_map(|node| &node.outputs);
    let ends = outputs.chain(&graph.inputs).map(|&tensor| &graph.tensors[tensor]);
    let vast = ends.max_by_key(|tensor| tensor.ty.len())?;
    let elements = vast.ty.len() as u64;
    (elements > MANY.max(memory)).then(|| {
        let message = format!(
            "`{}` is {}: at one byte for each element, it fits no memory of {}",
            vast.name, vast.ty, target.name
        );
        Failure::new(Exit::DoesNotFit, message)
    })
}
