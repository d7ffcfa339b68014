//! `fuzz`: one fuzz target, with the limits that a compiler of small models keeps: a second and a gigabyte.

use std::fs;
use std::path::Path;
use std::process::Command;

use miette::IntoDiagnostic;

use crate::{conformance, root, shared};

/// Seeds larger than this are left out: what matters is what a node is, not how large its weights are.
const SEED_BYTES: usize = 1 << 16;

/// Builds a fuzz target, and runs it for so many seconds.
pub(crate) fn run(target: &str, seconds: Option<u32>) -> miette::Result<bool> {
    let status = command(target, seconds).status().into_diagnostic()?;
    Ok(status.success())
}

/// The command that runs a fuzz target for so many seconds, or only builds it.
pub(crate) fn command(target: &str, seconds: Option<u32>) -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo", "fuzz"])
        .current_dir(root());
    let Some(seconds) = seconds else {
        command.args(["build", target]);
        return command;
    };
    // New inputs go to the corpus, which is not kept in the repository; the seeds are.
    let corpus = format!("fuzz/corpus/{target}");
    let _ = fs::create_dir_all(root().join(&corpus));
    command.args(["run", target, &corpus, &format!("fuzz/seeds/{target}")]);
    if target == "import" {
        let models = "target/fuzz-models";
        match conformance_models(&root().join(models)) {
            Ok(0) => {}
            Ok(_) => {
                command.arg(models);
            }
            Err(error) => println!("fuzzing without ONNX's backend tests: {error:?}"),
        }
    }
    command.args([
        "--",
        &format!("-max_total_time={seconds}"),
        "-verbosity=0",
        "-print_final_stats=1",
    ]);
    command.args(["-timeout=1", "-malloc_limit_mb=1024", "-rss_limit_mb=2048"]);
    command.arg(format!("-max_len={SEED_BYTES}"));
    command
}

/// Writes the models of ONNX's backend tests into a folder, each once; tells how many.
fn conformance_models(folder: &Path) -> miette::Result<usize> {
    let Some(shared) = shared() else {
        return Ok(0);
    };
    fs::create_dir_all(folder).into_diagnostic()?;
    let models = conformance::models(&shared)?;
    let small = models.iter().filter(|(_, model)| model.len() <= SEED_BYTES);
    let mut count = 0;
    for (name, model) in small {
        fs::write(folder.join(format!("{name}.onnx")), model).into_diagnostic()?;
        count += 1;
    }
    Ok(count)
}
