//! Why a blob was not run.

use std::io;
use std::path::{Path, PathBuf};

use tinsmith_runtime::check::BlobError;
use tinsmith_runtime::exec::RunError;

/// Why the simulator did not run a blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulateError {
    /// The blob is not sound: truncated, changed, of a newer version, for another core.
    #[error("the blob is refused: {0}")]
    Blob(BlobError),
    /// The runtime cannot run it here.
    #[error("the blob cannot be run here: {0}")]
    Run(RunError),
    /// The number of inputs or their sizes are not the blob's.
    #[error("the blob takes inputs of {wanted:?} bytes, but {found:?} were given")]
    Inputs {
        /// Bytes of each input of the blob.
        wanted: Vec<usize>,
        /// Bytes of each input given.
        found: Vec<usize>,
    },
}

/// Why a board did not run a blob.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The target is not one that QEMU runs.
    #[error("target `{target}` has no emulated board; `tinsmith targets` lists those that have one")]
    NoBoard {
        /// The target's name.
        target: String,
    },
    /// The target does not say where firmware lies.
    #[error(
        "target `{target}` has no [[memory]] with `use = \"firmware\"`, so no firmware can be linked for it"
    )]
    NoFirmwareMemory {
        /// The target's name.
        target: String,
    },
    /// QEMU is not installed.
    #[error(
        "`{program}` is not installed: `cargo xtask setup` installs it where apt-get does, `brew install qemu` on macOS"
    )]
    EmulatorMissing {
        /// The program looked for on the `PATH`.
        program: String,
    },
    /// No compiler can build for the board.
    #[error(
        "no Rust toolchain here can build for `{triple}`: `rustup target add {triple}`, \
         or on Debian `apt-get install rustc-web cargo-web rust-web-src`; `cargo xtask setup` tries both"
    )]
    ToolchainMissing {
        /// The triple wanted.
        triple: String,
    },
    /// No linker can link for the board.
    #[error(
        "no linker here can link for `{triple}`: rustup's toolchains bring `rust-lld`; else `apt-get install lld`, \
         or `binutils-arm-none-eabi` for Arm"
    )]
    LinkerMissing {
        /// The triple wanted.
        triple: String,
    },
    /// The firmware's sources are gone.
    #[error("{} holds no `targets/boards`, which the firmware is built from: clone the project again", .path.display())]
    SourcesMissing {
        /// The folder this program was built from.
        path: PathBuf,
    },
    /// The firmware does not build.
    #[error("the firmware of `{board}` does not build:\n{reason}")]
    Build {
        /// The board.
        board: String,
        /// The compiler's last lines.
        reason: String,
    },
    /// A file could not be read or written, or a program not started.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file or program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The blob is not sound.
    #[error("the blob is refused: {0}")]
    Blob(BlobError),
    /// The blob is larger than the board's flash.
    #[error("memory bank `{bank}` has {available_bytes} bytes but the blob has {needed_bytes}")]
    FlashTooSmall {
        /// The bank that holds blobs.
        bank: String,
        /// Bytes of the blob.
        needed_bytes: u64,
        /// Bytes of the bank.
        available_bytes: u64,
    },
    /// The number of inputs or their sizes are not the blob's.
    #[error("the blob takes inputs of {wanted:?} bytes, but {found:?} were given")]
    Inputs {
        /// Bytes of each input of the blob.
        wanted: Vec<usize>,
        /// Bytes of each input given.
        found: Vec<usize>,
    },
    /// More inferences than the protocol counts.
    #[error("a board runs at most 4294967295 inferences at a time")]
    TooManyInferences,
    /// The firmware did not end in time.
    #[error("the board did not answer within {seconds} s; it said: {message}")]
    Timeout {
        /// How long it was waited for.
        seconds: u64,
        /// What the console shows.
        message: String,
    },
    /// The firmware or the emulator gave up.
    #[error("board `{board}` stopped with code {code}: {message}")]
    Stopped {
        /// The board.
        board: String,
        /// The exit code: the harness's, or the emulator's.
        code: i32,
        /// What the console shows.
        message: String,
    },
    /// The firmware wrote something else than the protocol says.
    #[error(
        "the board's file `{file}` has {bytes} bytes, which is not what the blob's steps and outputs make"
    )]
    Results {
        /// The file.
        file: String,
        /// Its size.
        bytes: usize,
    },
}

impl BoardError {
    /// Wraps an error about a file or program.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
