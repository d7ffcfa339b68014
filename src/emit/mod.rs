//! Emit: a program becomes bytes for flash.
//!
//! [`blob()`] writes the artifact that the runtime reads; `.tin` is the blob itself. From a blob and its target,
//! [`bin()`] makes a raw flash image, [`hex()`] an Intel HEX file, [`elf()`] an ELF file that debuggers and flash tools
//! load at the target's flash address, and [`manifest()`] says in JSON what it is. [`onnx()`] writes the quantized graph
//! behind the program as an ONNX model.
//!
//! The same program gives the same bytes: no clock, no path, no host enters. Object-file types stop here.

mod blob;
mod elf;
mod error;
mod hex;
mod manifest;
mod onnx;

pub use blob::{Options, blob};
pub use elf::elf;
pub use error::EmitError;
pub use hex::hex;
pub use manifest::manifest;
pub use onnx::onnx;

use tinsmith_runtime::Blob;

use crate::target::Target;

/// The raw flash image: what lies at the target's flash address, byte for byte.
///
/// # Errors
/// Where `blob` is none, or does not fit the target's flash.
pub fn bin(target: &Target, blob: &[u8]) -> Result<Vec<u8>, EmitError> {
    Ok(fitting(target, blob)?.bytes().to_vec())
}

/// The blob, checked, if it fits the target's flash.
fn fitting<'a>(target: &Target, bytes: &'a [u8]) -> Result<Blob<'a>, EmitError> {
    let blob = Blob::check(bytes)?;
    let flash = target.flash();
    if blob.bytes().len() as u64 > flash.bytes {
        return Err(EmitError::ImageTooLarge {
            bank: flash.name.clone(),
            needed_bytes: blob.bytes().len() as u64,
            available_bytes: flash.bytes,
        });
    }
    Ok(blob)
}
