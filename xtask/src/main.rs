//! The project's chores. `cargo xtask help` lists them.

mod bench;
mod big;
mod boards;
mod conformance;
mod cost;
mod fuzz;
mod picture;
mod setup;
mod speed;
mod test;
mod windows;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Installs what boards need and is missing (emulators, compiler targets), and builds the firmware of all boards
    Setup,
    /// Runs every check: format, lints, docs, tests, cross builds, fuzz targets; ends with one line of counts
    Test,
    /// What CI runs: the same as `test`
    Ci,
    /// Builds the firmware of every board and runs the demo's model on it
    Boards,
    /// Prints every figure the project promises, with its limit
    Bench {
        /// How to print them
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
        /// Only figures whose name or model contains this
        #[arg(long)]
        only: Option<String>,
    },
    /// Prints the cost figures of a target, fitted to what its emulated board counts
    Cost {
        /// The target
        target: String,
    },
    /// Runs ONNX's own backend tests and writes CONFORMANCE.md
    Conformance {
        /// Only tests whose names contain this; prints what becomes of each, writes nothing
        only: Option<String>,
        /// Fails where CONFORMANCE.md is out of date, and writes nothing
        #[arg(long)]
        check: bool,
    },
    /// Imports and folds a model of 4 GiB, made for the occasion, and says how much memory that took
    Big {
        /// The command line to measure
        #[arg(long, default_value = "target/debug/tinsmith")]
        tinsmith: PathBuf,
    },
    /// Fuzzes the import of models, starting from ONNX's own backend tests
    Fuzz {
        /// How long
        #[arg(long, default_value_t = 60)]
        minutes: u32,
        /// Another fuzz target
        #[arg(long, default_value = "import")]
        target: String,
        /// Only builds it
        #[arg(long)]
        build: bool,
    },
    /// Draws the memory plan of the demo's model into examples/digits/memory-plan.svg
    Picture,
    /// Compares the reference executor's speed with ONNX Runtime's, model by model
    Speed {
        /// Only models whose names contain this
        only: Option<String>,
    },
    /// Cuts the windows of the streaming data sets into arrays that `tinsmith evaluate` takes
    Windows {
        /// Where to write them
        #[arg(short, long, default_value = "target/windows")]
        output: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A table.
    Text,
    /// A JSON array.
    Json,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Setup => setup::run(),
        Verb::Test | Verb::Ci => test::run(),
        Verb::Boards => boards::run(),
        Verb::Bench { format, only } => bench::run(format, only.as_deref()),
        Verb::Cost { target } => cost::run(&target),
        Verb::Conformance { only, check } => conformance::run(only.as_deref(), check),
        Verb::Big { tinsmith } => big::run(&tinsmith),
        Verb::Fuzz {
            minutes,
            target,
            build,
        } => fuzz::run(&target, (!build).then_some(minutes * 60)),
        Verb::Picture => picture::run(),
        Verb::Speed { only } => speed::run(only.as_deref()),
        Verb::Windows { output } => windows::run(&output),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// The project's root.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the project's root")
        .to_owned()
}

/// The folder of shared test material, or `None`: `TINSMITH_SHARED`, or `../shared` beside the project's root.
fn shared() -> Option<PathBuf> {
    let path = std::env::var_os("TINSMITH_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    path.is_dir().then_some(path)
}
