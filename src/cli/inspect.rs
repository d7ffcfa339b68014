//! `inspect`: what is in an artifact.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use tinsmith::simulate::edge;
use tinsmith_runtime::blob::Blob;
use tinsmith_runtime::format::metadata::Port;
use tinsmith_runtime::format::{VERSION, field};

use super::answer::{Answer, Table, elided, grouped};
use super::artifact::costs;
use super::error;
use super::failure::Failure;
use super::files;

/// Shows what is in an artifact, after checking it.
#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// The artifact (`.tin`).
    artifact: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<Answer, Failure> {
    let bytes = files::read(&args.artifact)?;
    let broken = |error| error::of_blob(&args.artifact, &error);
    let blob = Blob::check(&bytes).map_err(broken)?;
    blob.verify().map_err(broken)?;
    let digest: String = blob.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    let sections = [
        ("metadata", field::METADATA_BYTES),
        ("program", field::PROGRAM_BYTES),
        ("constants", field::CONSTANTS_BYTES),
        ("names", field::NAMES_BYTES),
    ]
    .map(|(name, at)| (name, section_bytes(&bytes, at)));

    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} for {}, format {VERSION}",
        or_unnamed(blob.model()),
        blob.target()
    );
    if !blob.producer().is_empty() {
        let _ = writeln!(text, "  made by  {}", blob.producer());
    }
    if !blob.model_version().is_empty() {
        let _ = writeln!(text, "  version  {}", blob.model_version());
    }
    let _ = writeln!(text, "  sha-256  {digest}");
    let listed: Vec<String> = sections
        .iter()
        .map(|(name, bytes)| format!("{name} {}", grouped(*bytes)))
        .collect();
    let _ = writeln!(
        text,
        "  flash    {} bytes: {}",
        grouped(blob.bytes().len() as u64),
        listed.join(", ")
    );
    let _ = writeln!(
        text,
        "  SRAM     {} bytes, of which state {}",
        grouped(blob.arena_bytes()),
        grouped(blob.state().bytes)
    );
    for port in blob.inputs() {
        let _ = writeln!(text, "  input    {}", port_text(&port));
    }
    for port in blob.outputs() {
        let _ = writeln!(text, "  output   {}", port_text(&port));
    }
    let labels: Vec<&str> = blob.labels().collect();
    if !labels.is_empty() {
        let _ = writeln!(text, "  labels   {}", labels.join(", "));
    }
    for (key, value) in blob.preprocessing() {
        let _ = writeln!(text, "  about    {key}: {value}");
    }
    let about: serde_json::Map<String, Value> = blob
        .preprocessing()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let costs = costs(&blob, None);
    let mut table = Table::new(&["layer", "kernel", ">MACs", ">predicted"]);
    for cost in &costs {
        let predicted = cost.predicted.map_or_else(|| "-".to_owned(), grouped);
        table.row([
            elided(&cost.name),
            cost.kernel.to_owned(),
            grouped(cost.macs),
            predicted,
        ]);
    }
    let _ = write!(text, "\n{}", table.render());
    let layers: Vec<Value> = costs
        .iter()
        .map(|cost| {
            json!({
                "name": cost.name,
                "kernel": cost.kernel,
                "macs": cost.macs,
                "predicted": cost.predicted,
            })
        })
        .collect();
    let json = json!({
        "model": blob.model(),
        "model_version": blob.model_version(),
        "producer": blob.producer(),
        "target": blob.target(),
        "format_version": VERSION,
        "sha256": digest,
        "blob_bytes": blob.bytes().len(),
        "sections": sections.iter().map(|&(name, bytes)| (name.to_owned(), bytes.into())).collect::<serde_json::Map<_, _>>(),
        "arena_bytes": blob.arena_bytes(),
        "state_bytes": blob.state().bytes,
        "inputs": blob.inputs().map(|port| port_json(&port)).collect::<Vec<_>>(),
        "outputs": blob.outputs().map(|port| port_json(&port)).collect::<Vec<_>>(),
        "labels": labels,
        "about": about,
        "layers": layers,
    });
    Ok(Answer::new(text, json))
}

/// A section's size in a header that was checked.
fn section_bytes(blob: &[u8], at: usize) -> u32 {
    let word = blob.get(at..).and_then(<[u8]>::first_chunk);
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

fn or_unnamed(name: &str) -> &str {
    if name.is_empty() {
        "a model without a name"
    } else {
        name
    }
}

fn port_text(port: &Port<'_>) -> String {
    format!(
        "`{}` {} at {}..{}: {:?}{:?} {:?}, scale {}, zero point {}",
        port.name,
        edge::model_type(port),
        port.offset,
        port.offset + port.bytes,
        port.dtype,
        port.shape.as_slice(),
        port.layout,
        port.scale,
        port.zero_point,
    )
}

fn port_json(port: &Port<'_>) -> Value {
    let model = edge::model_type(port);
    json!({
        "name": port.name,
        "model_dtype": model.dtype,
        "model_shape": model.shape,
        "dtype": format!("{:?}", port.dtype).to_lowercase(),
        "shape": port.shape.as_slice(),
        "layout": format!("{:?}", port.layout),
        "scale": port.scale,
        "zero_point": port.zero_point,
        "arena_offset": port.offset,
        "bytes": port.bytes,
    })
}
