//! `run`: an artifact on the simulator, or on an emulated board beside the simulator.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use tinsmith::data::npy;
use tinsmith::ir::Samples;
use tinsmith::op::tensor::{Data, Values};
use tinsmith::simulate::board::{self, BoardRun};
use tinsmith::simulate::{Simulator, edge};
use tinsmith_runtime::blob::Blob;

use super::answer::{Answer, Table, elided, grouped};
use super::artifact::{Cost, costs, ports};
use super::error;
use super::failure::{Exit, Failure};
use super::files::{self, Outputs};
use super::model::{IntegerArgs, open_samples, read_target};
use super::progress::Bar;

/// Runs an artifact.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The artifact (`.tin`).
    artifact: PathBuf,
    /// Samples to run it on, in the ONNX model's own layout and element type: `X.npy` or `X.npz`; for several inputs
    /// in their order, or as `NAME=X.npy`.
    #[arg(long, value_name = "[NAME=]FILE", required = true)]
    input: Vec<String>,
    /// Where to write results, one per sample: `Y.npy`; for several outputs in their order, or as `NAME=Y.npy`.
    #[arg(long, value_name = "[NAME=]FILE.npy")]
    output: Vec<String>,
    /// Boots this target's emulated board too, and compares every layer's bytes with the simulator's.
    #[arg(long, value_name = "TARGET")]
    board: Option<String>,
    #[command(flatten)]
    integers: IntegerArgs,
}

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let bytes = files::read(&args.artifact)?;
    let blob = Blob::check(&bytes).map_err(|error| error::of_blob(&args.artifact, &error))?;
    let target = args.board.as_deref().map(read_target).transpose()?;
    let destinations = destinations(&blob, &args.output)?;
    let samples = open_samples(&ports(blob.inputs()), &args.input, args.integers.scale())?;
    let results = simulate(&blob, &samples)?;
    let on_board = match &target {
        Some(target) => {
            let inputs: Vec<Vec<Vec<u8>>> = (0..samples.len())
                .map(|i| stored(&blob, &samples, i))
                .collect::<Result<_, _>>()?;
            let run = board::run(target, &bytes, &inputs).map_err(error::of_board)?;
            if let Some(difference) = board::compare(&bytes, &inputs, &run).map_err(error::of_simulate)? {
                let layer = blob.step_name(difference.step).unwrap_or("without a name");
                let message = format!("layer `{layer}`: {difference}");
                return Err(Failure::new(Exit::Differs, message));
            }
            Some(run)
        }
        None => None,
    };
    let mut outputs = Outputs::default();
    for (index, path) in destinations {
        let (shape, data) = joined(&results, index);
        outputs.add(path, npy::encode(&shape, &data));
    }
    let files = outputs.commit()?;
    let costs = costs(&blob, target.as_ref());
    Ok(answer(&blob, args, &results, &costs, on_board.as_ref(), &files))
}

/// The output and the file of each `--output`.
fn destinations(blob: &Blob<'_>, texts: &[String]) -> Result<Vec<(usize, PathBuf)>, Failure> {
    let names: Vec<&str> = blob.outputs().map(|port| port.name).collect();
    let mut found: Vec<(usize, PathBuf)> = Vec::new();
    for text in texts {
        let named = text.rsplit_once('=').filter(|(name, _)| names.contains(name));
        let next = (0..names.len()).find(|index| found.iter().all(|(taken, _)| taken != index));
        let (index, path) = match named {
            Some((name, path)) => (names.iter().position(|&other| other == name), path),
            None => (next, text.as_str()),
        };
        match index {
            Some(index) if found.iter().all(|&(taken, _)| taken != index) => found.push((index, path.into())),
            _ => {
                let message = format!(
                    "--output {text}: the model's outputs are {}, each written once",
                    names.join(", ")
                );
                return Err(Failure::usage(message));
            }
        }
    }
    Ok(found)
}

/// The bytes that the blob stores for a sample.
fn stored(blob: &Blob<'_>, samples: &dyn Samples, index: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let values = samples.get(index).map_err(Failure::usage)?;
    let stored = blob
        .inputs()
        .zip(&values)
        .map(|(port, values)| edge::store(&port, values));
    stored.collect::<Result<_, _>>().map_err(Failure::usage)
}

/// The outputs for every sample.
fn simulate(blob: &Blob<'_>, samples: &dyn Samples) -> Result<Vec<Vec<Values>>, Failure> {
    let mut simulator = Simulator::new(blob.bytes()).map_err(error::of_simulate)?;
    let bar = Bar::new();
    (0..samples.len())
        .map(|i| {
            let inputs = stored(blob, samples, i)?;
            let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            let outputs = simulator.run(&inputs).map_err(error::of_simulate)?;
            bar.show("running", i + 1, samples.len());
            edge::load_all(blob, &outputs).map_err(Failure::usage)
        })
        .collect()
}

/// The results of all samples in one array: of the output's own shape for one sample; else `[n, …rest]` where the
/// output's first axis is a batch of 1, or `[n, …shape]`.
fn joined(results: &[Vec<Values>], index: usize) -> (Vec<usize>, Data) {
    let first = &results[0][index];
    let n = results.len();
    let shape = match first.shape.as_slice() {
        shape if n == 1 => shape.to_vec(),
        [1, rest @ ..] => [&[n], rest].concat(),
        shape => [&[n], shape].concat(),
    };
    let mut data = first.data.clone();
    for result in &results[1..] {
        data.append(&result[index].data);
    }
    (shape, data)
}

fn answer(
    blob: &Blob<'_>,
    args: &Args,
    results: &[Vec<Values>],
    costs: &[Cost],
    board: Option<&BoardRun>,
    files: &[PathBuf],
) -> Answer {
    let counted = |step: usize| board.map(|run| run.instructions[0][step]);
    let mut table = Table::new(&["layer", "kernel", ">MACs", ">predicted", ">counted"]);
    let or_dash = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), grouped);
    let mut layers = Vec::new();
    for (step, cost) in costs.iter().enumerate() {
        table.row([
            elided(&cost.name),
            cost.kernel.to_owned(),
            grouped(cost.macs),
            or_dash(cost.predicted),
            or_dash(counted(step)),
        ]);
        layers.push(json!({
            "name": cost.name,
            "kernel": cost.kernel,
            "macs": cost.macs,
            "predicted": cost.predicted,
            "counted": counted(step),
        }));
    }
    let mut text = format!(
        "{} on {} samples\n\n{}",
        blob.model(),
        results.len(),
        table.render()
    );
    if let (Some(run), Some(name)) = (board, &args.board) {
        let _ = writeln!(
            text,
            "\n{name}: every layer's bytes equal the simulator's; {} instructions from call to return",
            grouped(run.total_instructions)
        );
    }
    text.push('\n');
    for (index, port) in blob.outputs().enumerate() {
        let _ = writeln!(
            text,
            "`{}`, first sample: {}",
            port.name,
            preview(&results[0][index])
        );
    }
    for file in files {
        let _ = writeln!(text, "file {}", file.display());
    }
    let outputs: Vec<Value> = files
        .iter()
        .map(|path| path.display().to_string().into())
        .collect();
    let json = json!({
        "outputs": outputs,
        "instructions": board.map(|run| run.total_instructions),
        "layers": layers,
        "samples": results.len(),
        "board": args.board,
    });
    Answer::new(text, json)
}

/// The first few elements.
fn preview(values: &Values) -> String {
    const SHOWN: usize = 12;
    let is_float = values.data.dtype().is_float();
    let elements = values.to_f64();
    let shown = elements.iter().take(SHOWN).map(|x| {
        if is_float {
            format!("{x:.4}")
        } else {
            format!("{x}")
        }
    });
    let mut text = shown.collect::<Vec<_>>().join(" ");
    if elements.len() > SHOWN {
        let _ = write!(text, " … ({} elements)", elements.len());
    }
    text
}
