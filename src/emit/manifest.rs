//! The manifest: what an artifact is and what it came from, as JSON.

use serde_json::json;
use sha2::{Digest, Sha256};
use tinsmith_runtime::format::VERSION;

use super::{EmitError, fitting};
use crate::target::Target;

/// What `blob` is, and that it came from the ONNX file with the bytes `model`.
///
/// # Errors
/// Where `blob` is none, or does not fit the target's flash.
pub fn manifest(target: &Target, blob: &[u8], model: &[u8]) -> Result<String, EmitError> {
    let blob = fitting(target, blob)?;
    let manifest = json!({
        "name": blob.model(),
        "version": blob.model_version(),
        "sha256": hexadecimal(&blob.digest()),
        "format_version": VERSION,
        "blob_bytes": blob.bytes().len(),
        "arena_bytes": blob.arena_bytes(),
        "state_bytes": blob.state().bytes,
        "steps": blob.steps().count(),
        "target": target.name,
        "flash_address": target.flash().address,
        "provenance": {
            "compiler": concat!("tinsmith ", env!("CARGO_PKG_VERSION")),
            "model_sha256": hexadecimal(&Sha256::digest(model)),
            "producer": blob.producer(),
        },
    });
    Ok(format!("{manifest:#}\n"))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
