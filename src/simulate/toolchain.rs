//! Finds a Rust toolchain and a linker for bare metal: one that has the target's standard library, or one that has
//! its sources, to build `core` from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::BoardError;

/// Families of cores that firmware is linked for; they differ in linker and linker script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `thumbv…` triples.
    Arm,
    /// `riscv32…` triples.
    RiscV,
    /// Anything else: no firmware is linked for it here.
    Other,
}

impl Architecture {
    /// That of a Rust target triple.
    pub fn of(triple: &str) -> Self {
        if triple.starts_with("thumb") {
            Self::Arm
        } else if triple.starts_with("riscv32") {
            Self::RiscV
        } else {
            Self::Other
        }
    }

    /// GNU linkers that can stand in for LLVM's.
    fn gnu_linkers(self) -> &'static [&'static str] {
        match self {
            Self::Arm => &["arm-none-eabi-ld"],
            Self::RiscV => &["riscv64-unknown-elf-ld", "riscv32-unknown-elf-ld"],
            Self::Other => &[],
        }
    }
}

/// A Rust toolchain that can build for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    triple: String,
    /// The target's standard library is not installed; `core` is built from its sources.
    build_std: bool,
    /// Another linker than the compiler's own, with its flavor.
    linker: Option<(PathBuf, &'static str)>,
}

impl Toolchain {
    /// Finds one for a target triple: first the compilers that have the target installed, then those that have the
    /// standard library's sources; the one on the `PATH` before the distribution's.
    ///
    /// # Errors
    /// Where no compiler or no linker is found; the error says how to get one.
    pub fn find(triple: &str) -> Result<Self, BoardError> {
        let sysroots = sysroots();
        let installed = |sysroot: &&PathBuf| sysroot.join("lib/rustlib").join(triple).join("lib").is_dir();
        let has_sources = |sysroot: &&PathBuf| {
            let sources = sysroot.join("lib/rustlib/src/rust/library");
            sources.join("Cargo.lock").is_file() && sources.join("core").is_dir()
        };
        let found = sysroots
            .iter()
            .find(installed)
            .or_else(|| sysroots.iter().find(has_sources));
        let Some(sysroot) = found else {
            return Err(BoardError::ToolchainMissing {
                triple: triple.to_owned(),
            });
        };
        Ok(Self {
            cargo: tool(sysroot, "cargo"),
            rustc: tool(sysroot, "rustc"),
            triple: triple.to_owned(),
            build_std: !installed(&sysroot),
            linker: linker(sysroot, &sysroots, triple)?,
        })
    }

    /// Whether the target's `core` is built from sources.
    pub fn builds_core(&self) -> bool {
        self.build_std
    }

    /// `cargo VERB --release --target …` with this toolchain, further `-C` flags, and nothing inherited that would
    /// change what is built.
    pub fn cargo(&self, verb: &str, codegen: &[String], target_dir: &Path) -> Command {
        let mut command = Command::new(&self.cargo);
        for name in [
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "CARGO_BUILD_RUSTFLAGS",
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTDOC",
        ] {
            command.env_remove(name);
        }
        let mut flags: Vec<OsString> = codegen.iter().map(|flag| format!("-C{flag}").into()).collect();
        if let Some((path, flavor)) = &self.linker {
            let mut argument = OsString::from("-Clinker=");
            argument.push(path);
            flags.push(argument);
            flags.push(format!("-Clinker-flavor={flavor}").into());
        }
        command
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f".as_ref()))
            .env("RUSTC", &self.rustc)
            .args([verb, "--release", "--target", &self.triple, "--target-dir"])
            .arg(target_dir);
        if self.build_std {
            command.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=core");
        }
        command
    }
}

/// The program of a sysroot where it has one of its own, else the one on the `PATH`.
fn tool(sysroot: &Path, name: &str) -> PathBuf {
    let own = sysroot.join("bin").join(name);
    if own.is_file() { own } else { name.into() }
}

/// Where the compilers of this machine keep their libraries, without repetition: rustup's or whichever is first on
/// the `PATH`, then the distribution's.
fn sysroots() -> Vec<PathBuf> {
    let mut sysroots = Vec::new();
    for rustc in ["rustc", "/usr/bin/rustc"] {
        let Ok(output) = Command::new(rustc).args(["--print", "sysroot"]).output() else {
            continue;
        };
        let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        if output.status.success() && sysroot.is_dir() && !sysroots.contains(&sysroot) {
            sysroots.push(sysroot);
        }
    }
    sysroots
}

/// What to link with; `None` where the compiler brings its own linker or none is needed.
fn linker(
    sysroot: &Path,
    sysroots: &[PathBuf],
    triple: &str,
) -> Result<Option<(PathBuf, &'static str)>, BoardError> {
    let architecture = Architecture::of(triple);
    if architecture == Architecture::Other || rust_lld(sysroot).is_some() {
        return Ok(None);
    }
    let llvm = sysroots
        .iter()
        .find_map(|sysroot| rust_lld(sysroot))
        .or_else(|| on_path("ld.lld"));
    if let Some(path) = llvm {
        return Ok(Some((path, "ld.lld")));
    }
    match architecture.gnu_linkers().iter().find_map(|name| on_path(name)) {
        Some(path) => Ok(Some((path, "ld"))),
        None => Err(BoardError::LinkerMissing {
            triple: triple.to_owned(),
        }),
    }
}

/// The LLVM linker that comes with rustup's toolchains.
fn rust_lld(sysroot: &Path) -> Option<PathBuf> {
    let mut hosts: Vec<PathBuf> = sysroot
        .join("lib/rustlib")
        .read_dir()
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    hosts.sort();
    hosts
        .iter()
        .map(|host| host.join("bin/rust-lld"))
        .find(|path| path.is_file())
}

/// A program on the `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
