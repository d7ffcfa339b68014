//! `boards`: builds every board's firmware, and runs the demo's model on it.

use std::fs;

use miette::{IntoDiagnostic, WrapErr};
use tinsmith::Artifact;
use tinsmith::data::{self, Files, IntegerScale, Source};
use tinsmith::ir::Samples;
use tinsmith::simulate::{board, edge};
use tinsmith::target::Target;
use tinsmith_runtime::Blob;

use crate::root;
use crate::setup::board_targets;

/// Inferences on each board.
const INFERENCES: usize = 2;

pub(crate) fn run() -> miette::Result<bool> {
    let mut all_equal = true;
    for target in board_targets() {
        let (name, equal) = (target.name.clone(), check(&target));
        match equal {
            Ok(instructions) => println!("{name}: equals the simulator, {instructions} instructions"),
            Err(error) => {
                eprintln!("{name}: {error:?}");
                all_equal = false;
            }
        }
    }
    Ok(all_equal)
}

/// The demo's model compiled for a target, and its evaluation samples.
pub(crate) fn demo(target: &Target) -> miette::Result<(Artifact, Files)> {
    let folder = root().join("examples/digits");
    let onnx = fs::read(folder.join("digits.onnx"))
        .into_diagnostic()
        .wrap_err("the demo's model")?;
    let options = tinsmith::Options::default();
    let float = tinsmith::load(&onnx, &options).into_diagnostic()?;
    let wanted: Vec<data::Input> = float
        .inputs
        .iter()
        .map(|&input| {
            let tensor = &float.tensors[input];
            data::Input {
                name: tensor.name.clone(),
                ty: tensor.ty.clone(),
            }
        })
        .collect();
    let open = |file: &str| {
        let source = Source {
            input: None,
            path: folder.join(file),
        };
        data::open(&wanted, &[source], IntegerScale::default()).into_diagnostic()
    };
    let calibration = open("calib_x.npy")?;
    let artifact = tinsmith::build(target, float, &calibration, &options, &|_, _, _| {}).into_diagnostic()?;
    Ok((artifact, open("eval_x.npy")?))
}

/// Runs the demo's model on a board and in the simulator; gives the instructions of an inference.
fn check(target: &Target) -> miette::Result<u64> {
    let (artifact, samples) = demo(target)?;
    let blob = Blob::check(&artifact.blob).into_diagnostic()?;
    let mut inputs = Vec::new();
    for index in 0..INFERENCES.min(samples.len()) {
        let values = samples.get(index).into_diagnostic()?;
        let stored = blob
            .inputs()
            .zip(&values)
            .map(|(port, values)| edge::store(&port, values));
        inputs.push(stored.collect::<Result<Vec<_>, _>>().into_diagnostic()?);
    }
    let run = board::run(target, &artifact.blob, &inputs).into_diagnostic()?;
    match board::compare(&artifact.blob, &inputs, &run).into_diagnostic()? {
        None => Ok(run.total_instructions),
        Some(difference) => Err(difference).into_diagnostic(),
    }
}
