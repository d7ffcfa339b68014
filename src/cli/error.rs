//! What the library's errors mean to the caller: exit codes and ways out.

use std::path::Path;

use tinsmith::Error;
use tinsmith::data::DataError;
use tinsmith::emit::EmitError;
use tinsmith::evaluate::EvaluateError;
use tinsmith::import::ImportError;
use tinsmith::optimize::OptimizeError;
use tinsmith::quantize::QuantizeError;
use tinsmith::schedule::ScheduleError;
use tinsmith::simulate::{BoardError, SimulateError};
use tinsmith_runtime::check::BlobError;

use super::failure::{Exit, Failure};

/// The way out of a file that no protobuf message can be.
pub(super) const TOO_LARGE: &str =
    "save the weights as external data: onnx.save(model, path, save_as_external_data=True)";

/// Why a model was not compiled.
pub(super) fn of_model(path: &Path, error: Error) -> Failure {
    let model = path.display();
    match error {
        Error::Import(ImportError::Problems(problems)) => {
            Failure::problems(format!("{model}: cannot be compiled"), &problems)
        }
        Error::Import(error @ ImportError::TooLarge { .. }) => {
            Failure::new(Exit::Model, format!("{model}: {error}")).with_help(TOO_LARGE)
        }
        Error::Import(
            error @ (ImportError::NotProtobuf { .. } | ImportError::TooMuch { .. } | ImportError::NoGraph),
        ) => Failure::new(Exit::Model, format!("{model}: {error}")),
        Error::Optimize(error @ OptimizeError::UnknownPass { .. }) => Failure::usage(error),
        Error::Optimize(error) => Failure::bug(format!("{model}: {error}")),
        Error::Quantize(error) => of_quantize(path, error),
        Error::Schedule(error) => of_schedule(path, error),
        Error::Emit(error) => of_emit(error),
        error @ (Error::Simulate(_) | Error::Edge(_)) => Failure::bug(format!("{model}: {error}")),
    }
}

/// Why a model was not compiled with calibration data from these files.
pub(super) fn of_build(path: &Path, calibration: &[String], error: Error) -> Failure {
    match error {
        // Of a sample without such values, which are found when it is read: what the model makes of it.
        Error::Quantize(error @ QuantizeError::NotFinite { .. }) => {
            let message = format!("{}: {error}", calibration.join(", "));
            Failure::usage(message).with_help(
                "look for the sample in the preprocessing that made it, and whether it is scaled as the model expects; \
                 else the model divides by zero or overflows on it",
            )
        }
        error => of_model(path, error),
    }
}

fn of_quantize(path: &Path, error: QuantizeError) -> Failure {
    let model = path.display();
    match error {
        QuantizeError::Problems(problems) => {
            Failure::problems(format!("{model}: cannot be compiled"), &problems)
        }
        QuantizeError::NoSamples => {
            Failure::usage(format!("{model}: {error}")).with_help("give `--calibration X.npy`")
        }
        QuantizeError::Pins(_) => Failure::usage(error).with_help(
            "names are those that `tinsmith check` prints; `*` stands for any characters, `?` for one",
        ),
        QuantizeError::Sample(_)
        | QuantizeError::SampleInputs { .. }
        | QuantizeError::SampleType { .. }
        | QuantizeError::NotFinite { .. }
        | QuantizeError::Percentile(_) => Failure::usage(error),
        QuantizeError::Reference(_) => Failure::new(Exit::Model, format!("{model}: {error}")),
        QuantizeError::Invalid(_) => Failure::bug(format!("{model}: {error}")),
    }
}

fn of_schedule(path: &Path, error: ScheduleError) -> Failure {
    let model = path.display();
    match error {
        ScheduleError::Unsupported(problems) => {
            Failure::problems(format!("{model}: cannot be compiled"), &problems)
        }
        ScheduleError::Inexact(_) => Failure::new(Exit::Model, format!("{model}: {error}"))
            .with_help("`--allow-inexact` takes them, and the report counts them"),
        ScheduleError::TooSlow { .. } => Failure::new(Exit::Cost, format!("{model}: {error}")),
        ScheduleError::ArenaTooSmall(_) | ScheduleError::FlashTooSmall(_) => {
            Failure::new(Exit::DoesNotFit, format!("{model}: {error}"))
        }
        ScheduleError::Check(_) => Failure::bug(format!("{model}: {error}")),
    }
}

/// Why an artifact was not written.
pub(super) fn of_emit(error: EmitError) -> Failure {
    match error {
        EmitError::FlashTooSmall(_) | EmitError::ImageTooLarge { .. } => {
            Failure::new(Exit::DoesNotFit, error)
        }
        EmitError::NotOnnx(problems) => Failure::problems("the model cannot be written as ONNX", &problems),
        EmitError::TextTooLong { .. } | EmitError::TooMany { .. } | EmitError::Port { .. } => {
            Failure::new(Exit::Model, error)
        }
        EmitError::AddressTooHigh { .. } | EmitError::UnknownMachine { .. } => Failure::usage(error),
        EmitError::Blob(_) | EmitError::Object(_) => Failure::bug(error),
    }
}

/// Why data cannot be used.
pub(super) fn of_data(error: DataError) -> Failure {
    let help = error.problem.help();
    let failure = Failure::usage(error);
    match help {
        Some(help) => failure.with_help(help),
        None => failure,
    }
}

/// Why a blob is refused.
pub(super) fn of_blob(path: &Path, error: &BlobError) -> Failure {
    let help = match error {
        BlobError::Version { .. } => "compile the model again with this version of tinsmith",
        BlobError::Lanes { .. } => "compile the model again for this core",
        BlobError::NotABlob => "artifacts are written by `tinsmith compile`",
        BlobError::Truncated { .. }
        | BlobError::Checksum
        | BlobError::Layout
        | BlobError::Step { .. }
        | BlobError::TooMuchWork
        | BlobError::Metadata
        | BlobError::Digest => "copy the artifact again, or compile the model again",
    };
    Failure::new(Exit::Integrity, format!("{}: {error}", path.display())).with_help(help)
}

/// Why the simulator did not run.
pub(super) fn of_simulate(error: SimulateError) -> Failure {
    match error {
        SimulateError::Blob(_) => Failure::new(Exit::Integrity, error),
        SimulateError::Run(_) => Failure::bug(error),
        SimulateError::Inputs { .. } => Failure::usage(error),
    }
}

/// Why a board did not run.
pub(super) fn of_board(error: BoardError) -> Failure {
    match error {
        BoardError::Blob(_) => Failure::new(Exit::Integrity, error),
        BoardError::FlashTooSmall { .. } => Failure::new(Exit::DoesNotFit, error),
        BoardError::Timeout { .. } | BoardError::Stopped { .. } | BoardError::Results { .. } => {
            Failure::new(Exit::Differs, error)
        }
        BoardError::NoBoard { .. }
        | BoardError::NoFirmwareMemory { .. }
        | BoardError::EmulatorMissing { .. }
        | BoardError::ToolchainMissing { .. }
        | BoardError::LinkerMissing { .. }
        | BoardError::SourcesMissing { .. }
        | BoardError::Build { .. }
        | BoardError::File { .. }
        | BoardError::Inputs { .. }
        | BoardError::TooManyInferences => Failure::usage(error),
    }
}

/// Why a model was not measured.
pub(super) fn of_evaluate(error: EvaluateError) -> Failure {
    match error {
        EvaluateError::Label(error) => of_data(error),
        EvaluateError::Simulate(error) => of_simulate(error),
        EvaluateError::Reference(_) => Failure::bug(error),
        EvaluateError::NeedsClasses { .. } => {
            Failure::usage(error).with_help("give `--labels Y.npy` with one integer per sample")
        }
        EvaluateError::NeedsOutputs { .. } => Failure::usage(error)
            .with_help("give `--outputs Y.csv`, or `--labels Y.npy` with a whole output per sample"),
        EvaluateError::NeedsMaps { .. } => {
            Failure::usage(error).with_help("give `--labels Y.npy` of shape [samples, height, width]")
        }
        EvaluateError::NeedsBoxes { .. } => {
            Failure::usage(error).with_help("give `--labels GT.json`, COCO's file of instances")
        }
        EvaluateError::Boxes(_) => {
            Failure::usage(error).with_help("`--boxes FILE.toml` says how outputs become boxes")
        }
        EvaluateError::UnknownMetric { .. }
        | EvaluateError::NoBoxes
        | EvaluateError::MapShape { .. }
        | EvaluateError::NoSuchClass { .. }
        | EvaluateError::NothingLabelled
        | EvaluateError::Silent { .. }
        | EvaluateError::AllAlike
        | EvaluateError::LabelCount { .. }
        | EvaluateError::LabelShape { .. }
        | EvaluateError::GroupCount { .. }
        | EvaluateError::EmptyGroup { .. }
        | EvaluateError::NotBinary { .. }
        | EvaluateError::OneClass { .. }
        | EvaluateError::NoSamples
        | EvaluateError::Edge(_)
        | EvaluateError::Sample(_) => Failure::usage(error),
    }
}
