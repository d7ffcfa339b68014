//! `compile`: model → artifact.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};
use tinsmith::Artifact;
use tinsmith::emit;
use tinsmith::target::Target;

use super::answer::{Answer, Table, elided, grouped};
use super::error;
use super::failure::{Exit, Failure};
use super::files::{self, Outputs};
use super::model::{CompileArgs, ModelArgs, TargetArgs};
use super::report::{Proofs, Sizes};

/// Compiles a model into an artifact for a target.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    compile: CompileArgs,
    /// The folder for the artifact's files; made where it is missing.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// What to write, comma-separated: `tin` (the blob), `bin` (the same, for flash programmers), `hex` (Intel HEX at
    /// the target's flash address), `elf` (an object file to link with the firmware), `onnx` (the quantized model as
    /// ONNX, with QuantizeLinear and DequantizeLinear, as `STEM.qdq.onnx`).
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tin")]
    emit: Vec<Emit>,
    /// A text file with the name of one class per line, to be kept in the artifact; those of the model's own metadata
    /// otherwise.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Lists every layer: kernel, work, predicted instructions, bytes.
    #[arg(long)]
    explain: bool,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Emit {
    Tin,
    Bin,
    Hex,
    Elf,
    #[value(hide = true)]
    Srec,
    #[value(hide = true)]
    Uf2,
    #[value(hide = true)]
    O,
    #[value(hide = true)]
    C,
    #[value(hide = true)]
    Crate,
    Onnx,
    #[value(hide = true)]
    Ethosu,
}

impl Emit {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What stands behind the model's name: never `onnx` alone, by which the model itself goes.
    fn extension(self) -> String {
        match self {
            Self::Onnx => "qdq.onnx".into(),
            _ => self.name(),
        }
    }

    /// The file's bytes.
    fn encode(self, target: &Target, artifact: &Artifact) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Tin => Ok(artifact.blob.clone()),
            Self::Bin => emit::bin(target, &artifact.blob).map_err(error::of_emit),
            Self::Hex => emit::hex(target, &artifact.blob).map_err(error::of_emit),
            Self::Elf => emit::elf(target, &artifact.blob).map_err(error::of_emit),
            Self::Onnx => {
                emit::onnx(&artifact.quant, &artifact.float.metadata.version).map_err(error::of_emit)
            }
            Self::Srec | Self::Uf2 | Self::O | Self::C | Self::Crate | Self::Ethosu => {
                Err(self.unimplemented())
            }
        }
    }

    const fn is_implemented(self) -> bool {
        matches!(self, Self::Tin | Self::Bin | Self::Hex | Self::Elf | Self::Onnx)
    }

    fn unimplemented(self) -> Failure {
        Failure::usage(format!("`--emit {}` is not implemented", self.name()))
            .with_help("tin, bin, hex, elf and onnx are what there is so far")
    }
}

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    if let Some(emit) = args.emit.iter().find(|emit| !emit.is_implemented()) {
        return Err(emit.unimplemented());
    }
    let target = args.target.read()?;
    let mut options = args.compile.options(&args.model)?;
    options.emit.labels = labels_of(args)?;
    let artifact = args.compile.compile(&args.model, &target, &options)?;
    check_labels(args, &artifact)?;
    check_limits(args, &artifact)?;
    let stem = args.model.stem();
    let mut outputs = Outputs::default();
    for emit in &args.emit {
        let path = args.output.join(format!("{stem}.{}", emit.extension()));
        outputs.add(path, emit.encode(&target, &artifact)?);
    }
    let model = files::read_model(&args.model.model)?;
    let manifest = emit::manifest(&target, &artifact.blob, &model).map_err(error::of_emit)?;
    outputs.add(
        args.output.join(format!("{stem}.tin.json")),
        manifest.into_bytes(),
    );
    let files = outputs.commit()?;
    Ok(answer(args, &target, &artifact, &files))
}

/// Whether the given labels are those of an output's classes.
fn check_labels(args: &Args, artifact: &Artifact) -> Result<(), Failure> {
    let (Some(path), labels) = (&args.labels, labels_of(args)?) else {
        return Ok(());
    };
    let graph = &artifact.float;
    if graph.has_classes(labels.len()) {
        return Ok(());
    }
    let outputs = graph.outputs.iter().map(|&output| &graph.tensors[output]);
    let outputs: Vec<String> = outputs
        .map(|tensor| format!("`{}` is {}", tensor.name, tensor.ty))
        .collect();
    Err(Failure::usage(format!(
        "{}: one label for each class of an output wanted, {} found; {}",
        path.display(),
        labels.len(),
        outputs.join(", ")
    )))
}

/// The lines of the file of labels.
fn labels_of(args: &Args) -> Result<Vec<String>, Failure> {
    let Some(path) = &args.labels else {
        return Ok(Vec::new());
    };
    let text = files::read_text(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

/// Whether the artifact keeps within the limits that were given.
fn check_limits(args: &Args, artifact: &Artifact) -> Result<(), Failure> {
    let plan = &artifact.program.plan;
    let limits = [
        ("flash", artifact.blob.len() as u64, args.compile.flash_max),
        ("SRAM", plan.arena_bytes.into(), args.compile.ram_max),
    ];
    for (memory, needed, limit) in limits {
        if let Some(limit) = limit.filter(|&limit| needed > limit) {
            let mut message = format!("the limit is {limit} bytes of {memory}, but the model needs {needed}");
            if memory == "SRAM" {
                let _ = write!(message, "; the peak is at `{}`", plan.peak_at);
            }
            return Err(Failure::new(Exit::Cost, message));
        }
    }
    Ok(())
}

fn answer(args: &Args, target: &Target, artifact: &Artifact, files: &[PathBuf]) -> Answer {
    let program = &artifact.program;
    let sizes = Sizes::of(artifact);
    let proofs = Proofs::of(program);
    let macs: u64 = program.steps.iter().map(|step| step.macs).sum();
    let instructions = program.instructions();
    let shown = |path: &Path| path.display().to_string();

    let mut text = String::new();
    let _ = writeln!(text, "{} for {} ({})", program.name, target.name, target.core);
    let _ = writeln!(text, "  flash   {sizes}");
    let _ = write!(text, "  SRAM    {}", super::report::memory(&program.plan));
    let _ = writeln!(text, "  proofs  {proofs}");
    let _ = writeln!(
        text,
        "  work    {} multiply-accumulates, {} instructions predicted",
        grouped(macs),
        grouped(instructions)
    );
    for note in &artifact.quant.notes {
        let _ = writeln!(text, "  note    {note}");
    }
    for file in files {
        let _ = writeln!(text, "  file    {}", shown(file));
    }
    let mut json = json!({
        "artifact": files.first().map(|path| shown(path)),
        "target": target.name,
        "blob_bytes": artifact.blob.len(),
        "weight_bytes": sizes.weights,
        "channel_bytes": sizes.channels,
        "padding_bytes": sizes.padding,
        "arena_bytes": program.plan.arena_bytes,
        "arena_lower_bound_bytes": program.plan.lower_bound_bytes,
        "instructions": instructions,
        "macs": macs,
        "proofs": proofs.json(),
        "notes": artifact.quant.notes,
        "files": files.iter().map(|path| shown(path)).collect::<Vec<_>>(),
    });
    if args.explain {
        let (table, layers) = layers(artifact);
        text.push('\n');
        text.push_str(&table);
        json["layers"] = layers;
    }
    Answer::new(text, json)
}

/// A row for every step.
fn layers(artifact: &Artifact) -> (String, Value) {
    let program = &artifact.program;
    let mut table = Table::new(&[
        "layer",
        "kernel",
        ">MACs",
        ">instructions",
        ">constants",
        ">output",
        "arena",
    ]);
    let mut json = Vec::new();
    for step in &program.steps {
        let kernel = step.layer.name();
        let constants = step.layer.extents().and_then(|extents| extents.constants);
        let constants = constants.map_or(0, |extent| extent.bytes);
        let first = program.buffers[step.write.buffer].offset + step.write.offset;
        table.row([
            elided(&step.name),
            kernel.to_owned(),
            grouped(step.macs),
            grouped(step.instructions),
            grouped(constants),
            grouped(step.write.bytes),
            format!("{first}..{}", first + step.write.bytes),
        ]);
        json.push(json!({
            "name": step.name,
            "kernel": kernel,
            "macs": step.macs,
            "predicted": step.instructions,
            "constant_bytes": constants,
            "output_bytes": step.write.bytes,
            "arena_offset": first,
        }));
    }
    (table.render(), Value::Array(json))
}
