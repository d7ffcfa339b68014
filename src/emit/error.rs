//! Why an artifact cannot be written.

use tinsmith_runtime::BlobError;

use crate::ir::Problem;
use crate::target::FlashTooSmall;

/// Why an artifact cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The blob does not fit the bank.
    #[error(transparent)]
    FlashTooSmall(#[from] Box<FlashTooSmall>),
    /// A blob made for another target does not fit the bank.
    #[error("memory bank `{bank}` has {available_bytes} bytes but the blob has {needed_bytes}")]
    ImageTooLarge {
        /// The bank.
        bank: String,
        /// Bytes of the blob.
        needed_bytes: u64,
        /// Bytes of the bank.
        available_bytes: u64,
    },
    /// A name or label is too long for its field.
    #[error("{what} `{}…` has {bytes} bytes, and a blob holds at most 65535 of each", .text)]
    TextTooLong {
        /// Whose text it is.
        what: &'static str,
        /// How it begins.
        text: String,
        /// Its bytes.
        bytes: usize,
    },
    /// More of something than a blob holds.
    #[error("the model has {found} {what}, and a blob holds at most {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many a blob holds.
        most: usize,
    },
    /// An input or output with too many dimensions, or one that is no tensor of whole numbers or reals.
    #[error("`{port}`: {reason}")]
    Port {
        /// The ONNX name.
        port: String,
        /// What was wanted and what was found.
        reason: String,
    },
    /// The runtime refuses the blob: it was changed, or is of another version; or, for one just written, the model is
    /// beyond what the runtime executes.
    #[error("the runtime refuses the blob: {0}")]
    Blob(#[from] BlobError),
    /// The flash address does not fit the file format.
    #[error("memory bank `{bank}` ends at {end:#x}, and {format} files hold 32 bits of address")]
    AddressTooHigh {
        /// The bank.
        bank: String,
        /// One behind the blob's last byte.
        end: u64,
        /// The file format.
        format: &'static str,
    },
    /// The target's triple names no machine that ELF files are written for.
    #[error("no ELF machine is known for `{triple}`; there are {known}")]
    UnknownMachine {
        /// The target's triple.
        triple: String,
        /// The beginnings of triples that are known.
        known: String,
    },
    /// The object writer refuses.
    #[error("elf: {0}")]
    Object(String),
    /// Operators that have no form in ONNX, all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    NotOnnx(Vec<Problem>),
}
