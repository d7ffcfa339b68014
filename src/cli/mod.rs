//! The command line: one file per verb, each from flags to a library call to an answer in text or JSON. The only
//! place that reads files, the clock and the terminal.

mod answer;
mod artifact;
mod cache;
mod check;
mod compile;
mod demo;
mod error;
mod evaluate;
mod failure;
mod fidelity;
mod files;
mod folder;
mod inspect;
mod map;
mod model;
mod ops;
mod progress;
mod report;
mod run;
mod targets;
mod weights;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::{Parser, Subcommand};

use answer::{Answer, Format};
use failure::{Exit, Failure};

/// Compiles ONNX models to INT8 blobs for microcontrollers, and runs, measures and explains them.
#[derive(Parser, Debug)]
#[command(name = "tinsmith", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// The form of the answer.
    #[arg(long, global = true, value_enum, default_value_t)]
    format: Format,
    /// Threads to use; all cores by default. The result does not depend on it.
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 a bug of tinsmith; 2 wrong arguments, or files that cannot be read, written or used; 3 model
invalid or unsupported; 4 does not fit the target; 5 accuracy gate failed; 6 device and host differ; 7 artifact damaged,
of another version or for another core; 8 cost above the given limit.";

#[derive(Subcommand, Debug)]
enum Verb {
    Check(check::Args),
    Compile(compile::Args),
    Run(run::Args),
    Evaluate(evaluate::Args),
    Inspect(inspect::Args),
    Targets(targets::Args),
    Ops(ops::Args),
    Demo(demo::Args),
}

/// Does what the arguments say.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // clap knows where its message belongs; a reader that closed its end has seen enough.
        Err(error) => {
            let _ = error.print();
            return exit_code(if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            });
        }
    };
    // The message of a panic is printed once, as a failure; not by the default hook as well.
    let panic: Arc<Mutex<String>> = Arc::default();
    let seen = Arc::clone(&panic);
    std::panic::set_hook(Box::new(move |info| {
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
    }));
    let result = catch_unwind(AssertUnwindSafe(|| answer(&cli)))
        .unwrap_or_else(|_| Err(Failure::bug(panic.lock().unwrap_or_else(PoisonError::into_inner))));
    match result {
        Ok(()) => exit_code(Exit::Done),
        Err(failure) => {
            let exit = failure.exit;
            failure::print(failure);
            exit_code(exit)
        }
    }
}

fn exit_code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

fn answer(cli: &Cli) -> Result<(), Failure> {
    if let Some(threads) = cli.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(Failure::usage)?;
    }
    let Answer { text, json, failure } = match &cli.verb {
        Verb::Check(args) => check::run(args),
        Verb::Compile(args) => compile::run(args),
        Verb::Run(args) => run::run(args),
        Verb::Evaluate(args) => evaluate::run(args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Targets(args) => targets::run(args),
        Verb::Ops(args) => ops::run(args),
        Verb::Demo(args) => demo::run(args),
    }?;
    Answer::new(text, json).print(cli.format)?;
    failure.map_or(Ok(()), Err)
}
