//! `demo`: the bundled model through the whole way.

use std::fmt::{Display, Write};

use serde_json::{Value, json};
use tinsmith::data::npy::Array;
use tinsmith::data::{self, Files, Input, IntegerScale};
use tinsmith::evaluate::{self, Labels, MetricKind, Subject};
use tinsmith::ir::Samples;
use tinsmith::simulate::{Simulator, edge};
use tinsmith::simulate::{board, firmware};
use tinsmith::target::Target;
use tinsmith::{Artifact, Options};

use super::answer::{Answer, grouped};
use super::error;
use super::failure::{Exit, Failure};
use super::model::inputs;
use super::progress::Bar;
use super::report::{Proofs, Sizes, memory};

/// Takes a bundled model (handwritten digits) through the whole way, and says how to go on with your own.
#[derive(clap::Args, Debug)]
pub(super) struct Args {}

const MODEL: &[u8] = include_bytes!("../../examples/digits/digits.onnx");
const CALIBRATION: &[u8] = include_bytes!("../../examples/digits/calib_x.npy");
const EVALUATION: &[u8] = include_bytes!("../../examples/digits/eval_x.npy");
const LABELS: &[u8] = include_bytes!("../../examples/digits/eval_y.npy");

/// A Cortex-M4, which QEMU emulates.
const TARGET: &str = "mps2-an386";
/// Samples run on the board.
const ON_BOARD: usize = 4;

const NEXT: &str = "\
Next, with a model and samples of your own:

  tinsmith check MODEL.onnx --target mps2-an386
  tinsmith compile MODEL.onnx --target mps2-an386 --calibration X.npy -o out
";

pub(super) fn run(_: &Args) -> Result<Answer, Failure> {
    let target = Target::named(TARGET).map_err(Failure::usage)?;
    let options = Options::default();
    let bundled = |error: tinsmith::Error| error::of_model("the bundled model".as_ref(), error);
    let graph = tinsmith::load(MODEL, &options).map_err(bundled)?;
    let model_inputs = inputs(&graph);
    let calibration = open(&model_inputs, "calib_x.npy", CALIBRATION)?;
    let samples = open(&model_inputs, "eval_x.npy", EVALUATION)?;
    let bar = Bar::new();
    let progress = |what: &str, done, total| bar.show(what, done, total);
    let artifact = tinsmith::build(&target, graph, &calibration, &options, &progress).map_err(bundled)?;
    let report = evaluate::run(
        Subject {
            float: &artifact.float,
            quant: &artifact.quant,
            program: &artifact.program,
            blob: &artifact.blob,
            calibration: None,
        },
        &samples,
        &evaluate::Options {
            metrics: vec![MetricKind::Top1, MetricKind::Agreement],
            labels: Some(labels(samples.len())?),
            layer_samples: 0,
            ..evaluate::Options::default()
        },
        &progress,
    )
    .map_err(error::of_evaluate)?;
    let (digit, image) = first_digit(&artifact, &samples)?;
    let board = on_board(&target, &artifact, &samples)?;
    drop(bar);

    let program = &artifact.program;
    let instructions: u64 = program.steps.iter().map(|step| step.instructions).sum();
    let (top1, agreement) = (&report.metrics[0], &report.metrics[1]);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "A CNN that reads handwritten digits, from ONNX to a {} board\n",
        target.core
    );
    let _ = writeln!(text, "  flash      {}", Sizes::of(&artifact));
    let _ = write!(text, "  SRAM       {}", memory(&program.plan));
    let _ = writeln!(text, "  proofs     {}", Proofs::of(program));
    let _ = writeln!(
        text,
        "  accuracy   FP32 {:.2} %, INT8 {:.2} % of {} images that training did not see; same digit on {:.2} %",
        top1.float.value * 100.0,
        top1.quantized.value * 100.0,
        top1.samples,
        agreement.quantized.value * 100.0,
    );
    let _ = writeln!(
        text,
        "  time       {} instructions predicted",
        grouped(instructions)
    );
    let _ = writeln!(text, "  board      {}", board.text);
    let _ = writeln!(
        text,
        "\nThe first image, which the simulator reads as a {digit}:\n\n{image}"
    );
    text.push_str(NEXT);
    let json = json!({
        "blob_bytes": artifact.blob.len(),
        "arena_bytes": program.plan.arena_bytes,
        "arena_lower_bound_bytes": program.plan.lower_bound_bytes,
        "float": top1.float.value,
        "quantized": top1.quantized.value,
        "agreement": agreement.quantized.value,
        "samples": top1.samples,
        "predicted": instructions,
        "board": board.json,
    });
    Ok(Answer {
        text,
        json,
        failure: board.failure,
    })
}

fn open(inputs: &[Input], name: &str, bytes: &'static [u8]) -> Result<Files, Failure> {
    let array = Array::in_memory(name, bytes).map_err(error::of_data)?;
    data::from_arrays(inputs, vec![(None, array)], IntegerScale::default()).map_err(error::of_data)
}

fn labels(samples: usize) -> Result<Labels, Failure> {
    let array = Array::in_memory("eval_y.npy", LABELS).map_err(error::of_data)?;
    Labels::new(array, samples).map_err(error::of_data)
}

/// What the simulator makes of the first sample, and the sample as a drawing.
fn first_digit(artifact: &Artifact, samples: &Files) -> Result<(usize, String), Failure> {
    let mut simulator = Simulator::new(&artifact.blob).map_err(error::of_simulate)?;
    let values = samples.get(0).map_err(Failure::usage)?;
    let stored = edge::store_all(simulator.blob(), &values).map_err(Failure::usage)?;
    let stored: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
    let outputs = simulator.run(&stored).map_err(error::of_simulate)?;
    let scores = outputs[0].iter().map(|&byte| byte as i8).enumerate();
    // The first of equals, as everywhere.
    let digit = scores
        .rev()
        .max_by_key(|&(_, score)| score)
        .map_or(0, |(digit, _)| digit);
    let pixels = values[0].to_f64();
    let drawing = pixels.chunks(8).map(|row| {
        let row: String = row
            .iter()
            .map(|&grey| [' ', '.', ':', 'o', '@'][(grey / 3.3) as usize % 5])
            .collect();
        format!("    {row}\n")
    });
    Ok((digit, drawing.collect()))
}

/// What came of the board.
struct OnBoard {
    text: String,
    json: Value,
    failure: Option<Failure>,
}

/// Runs a few samples on the emulated board; without QEMU or firmware the demo goes on and says what is missing.
fn on_board(target: &Target, artifact: &Artifact, samples: &Files) -> Result<OnBoard, Failure> {
    let simulator = Simulator::new(&artifact.blob).map_err(error::of_simulate)?;
    let inputs: Vec<Vec<Vec<u8>>> = (0..ON_BOARD.min(samples.len()))
        .map(|i| {
            let values = samples.get(i).map_err(Failure::usage)?;
            edge::store_all(simulator.blob(), &values).map_err(Failure::usage)
        })
        .collect::<Result<_, Failure>>()?;
    let left_out = |reason: &dyn Display| OnBoard {
        text: format!("not run: {reason}"),
        json: Value::Null,
        failure: None,
    };
    // Building firmware takes a minute and a toolchain: the demo only uses what is there.
    if !firmware::is_built(target) {
        return Ok(left_out(
            &"its firmware is not built yet; `cargo xtask setup` builds it and gets QEMU",
        ));
    }
    let run = match board::run(target, &artifact.blob, &inputs) {
        Ok(run) => run,
        Err(error) => return Ok(left_out(&error)),
    };
    let difference = board::compare(&artifact.blob, &inputs, &run).map_err(error::of_simulate)?;
    Ok(match difference {
        None => OnBoard {
            text: format!(
                "{} instructions in QEMU ({:.1} ms at {} MHz and one a cycle); all bytes of all {} layers equal the \
                 simulator's",
                grouped(run.total_instructions),
                run.total_instructions as f64 * 1e3 / target.clock_hz as f64,
                target.clock_hz / 1_000_000,
                artifact.program.steps.len(),
            ),
            json: json!({ "instructions": run.total_instructions, "equal": true }),
            failure: None,
        },
        Some(difference) => OnBoard {
            text: difference.to_string(),
            json: json!({ "equal": false }),
            failure: Some(Failure::new(Exit::Differs, difference)),
        },
    })
}
