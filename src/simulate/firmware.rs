//! Builds the firmware of emulated boards on demand, from the sources beside this crate.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::BoardError;
use super::toolchain::{Architecture, Toolchain};
use crate::target::{Emulator, MemoryBank, MemoryUse, Target};

/// What firmware is built from, relative to the project's root.
const SOURCES: [&str; 4] = [
    "Cargo.toml",
    "runtime/Cargo.toml",
    "runtime/src",
    "targets/boards",
];

/// The firmware of a target's board: one built before from the same sources, or a new one.
///
/// # Errors
/// Where the target has no board, the sources or the toolchain are missing, or the build ends with an error.
pub fn find_or_build(target: &Target) -> Result<PathBuf, BoardError> {
    let emulator = emulator(target)?;
    let elf = Kept::of(target, emulator)?.elf;
    if elf.is_file() { Ok(elf) } else { build(target) }
}

/// Whether the firmware of a target's board is there already, built from the same sources.
pub fn is_built(target: &Target) -> bool {
    let kept = emulator(target).and_then(|emulator| Kept::of(target, emulator));
    kept.is_ok_and(|kept| kept.elf.is_file())
}

/// Builds the firmware of a target's board, whether or not one is there: a newer compiler makes a new one.
///
/// # Errors
/// As [`find_or_build`].
pub fn build(target: &Target) -> Result<PathBuf, BoardError> {
    let emulator = emulator(target)?;
    let kept = Kept::of(target, emulator)?;
    link(target, &emulator.board, &emulator.board, &kept)?;
    Ok(kept.elf)
}

/// Builds a program of `targets/boards/bare` for a target: the runtime with all of its kernels (`bare-all`) or with
/// those of classifiers and autoencoders (`bare-vision`), and nothing else. They are made to be measured, not booted.
///
/// # Errors
/// As [`find_or_build`].
pub fn build_bare(target: &Target, program: &str) -> Result<PathBuf, BoardError> {
    let root = sources()?;
    let kept = Kept::named(&root, target, program)?;
    link(target, "bare", program, &kept)?;
    Ok(kept.elf)
}

fn emulator(target: &Target) -> Result<&Emulator, BoardError> {
    target.emulator.as_ref().ok_or_else(|| BoardError::NoBoard {
        target: target.name.clone(),
    })
}

/// The folder of this project's sources.
fn sources() -> Result<PathBuf, BoardError> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    if root.join("targets/boards/Cargo.toml").is_file() {
        Ok(root)
    } else {
        Err(BoardError::SourcesMissing { path: root })
    }
}

/// Where a board's firmware is kept; the name changes with its sources and the target's memory.
struct Kept {
    boards: PathBuf,
    elf: PathBuf,
}

impl Kept {
    fn of(target: &Target, emulator: &Emulator) -> Result<Self, BoardError> {
        let root = sources()?;
        if !root.join("targets/boards").join(&emulator.board).is_dir() {
            return Err(BoardError::NoBoard {
                target: target.name.clone(),
            });
        }
        Self::named(&root, target, &emulator.board)
    }

    fn named(root: &Path, target: &Target, board: &str) -> Result<Self, BoardError> {
        let mut hash = Sha256::new();
        for part in [&target.triple, &memory_script(target)?] {
            hash.update(part);
            hash.update([0]);
        }
        target.codegen.iter().for_each(|flag| hash.update(flag));
        for source in SOURCES {
            let path = root.join(source);
            hash_tree(&path, &mut hash).map_err(BoardError::file(&path))?;
        }
        let key: String = hash.finalize()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let boards = root.join("targets/boards");
        let elf = boards.join("target/firmware").join(format!("{board}-{key}.elf"));
        Ok(Self { boards, elf })
    }
}

/// Adds the contents of a file or of all files below a folder, in the order of their names; what cargo makes is
/// left out.
fn hash_tree(path: &Path, hash: &mut Sha256) -> io::Result<()> {
    if path.is_file() {
        hash.update(path.file_name().map_or(&[][..], |name| name.as_encoded_bytes()));
        let bytes = fs::read(path)?;
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
        return Ok(());
    }
    let mut entries = path
        .read_dir()?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    entries
        .iter()
        .filter(|entry| !entry.ends_with("target"))
        .try_for_each(|entry| hash_tree(entry, hash))
}

/// Runs cargo and keeps what it linked.
fn link(target: &Target, package: &str, program: &str, kept: &Kept) -> Result<(), BoardError> {
    let toolchain = Toolchain::find(&target.triple)?;
    let script = match Architecture::of(&target.triple) {
        Architecture::Arm => "cortex-m.x",
        Architecture::RiscV => "riscv.x",
        Architecture::Other => {
            return Err(BoardError::NoBoard {
                target: target.name.clone(),
            });
        }
    };
    let script = kept.boards.join("harness").join(script);

    // The linker reads the script and the memory regions beside it. Their content names their folder, because cargo
    // links anew where its arguments change, and knows nothing of these files.
    let memory = memory_script(target)?;
    let text = fs::read_to_string(&script).map_err(BoardError::file(&script))?;
    let mut hash = Sha256::new();
    hash.update(&memory);
    hash.update(&text);
    let key: String = hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = kept.boards.join("target/link").join(key);
    fs::create_dir_all(&folder).map_err(BoardError::file(&folder))?;
    replace(&folder.join("memory.x"), memory.as_bytes())?;
    replace(&folder.join("link.x"), text.as_bytes())?;

    let kind = if toolchain.builds_core() {
        "with-core"
    } else {
        "installed"
    };
    let target_dir = kept.boards.join("target").join(kind);
    let output = toolchain
        .cargo("rustc", &target.codegen, &target_dir)
        .current_dir(&kept.boards)
        .args(["--package", package, "--bin", program, "--"])
        .arg(format!("-Clink-arg=-L{}", folder.display()))
        .arg("-Clink-arg=-Tlink.x")
        .output()
        .map_err(BoardError::file(Path::new("cargo")))?;
    if !output.status.success() {
        return Err(BoardError::Build {
            board: program.to_owned(),
            reason: tail(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    let linked = target_dir.join(&target.triple).join("release").join(program);
    let bytes = fs::read(&linked).map_err(BoardError::file(&linked))?;
    let folder = kept.boards.join("target/firmware");
    fs::create_dir_all(&folder).map_err(BoardError::file(&folder))?;
    replace(&kept.elf, &bytes)
}

/// Writes a file so that nobody ever sees a part of it.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), BoardError> {
    let folder = path.parent().expect("files are written into folders");
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(BoardError::file(folder))?;
    io::Write::write_all(&mut file, bytes).map_err(BoardError::file(path))?;
    file.persist(path)
        .map_err(|error| BoardError::file(path)(error.error))?;
    Ok(())
}

/// The last lines of a build's messages: where the error is.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// The regions of the linker scripts, from the target's memories: code and data of the firmware (one bank where
/// there is only one), arena, blob.
fn memory_script(target: &Target) -> Result<String, BoardError> {
    let mut own = target
        .memory
        .iter()
        .filter(|bank| bank.purpose == MemoryUse::Firmware);
    let Some(code) = own.next() else {
        return Err(BoardError::NoFirmwareMemory {
            target: target.name.clone(),
        });
    };
    let region = |name: &str, bank: &MemoryBank| {
        format!(
            "    {name} : ORIGIN = {:#x}, LENGTH = {:#x}\n",
            bank.address, bank.bytes
        )
    };
    let data = own.next().map_or_else(String::new, |bank| region("DATA", bank));
    Ok(format!(
        "MEMORY\n{{\n{}{data}{}{}}}\n",
        region("CODE", code),
        region("ARENA", target.arena()),
        region("BLOB", target.flash())
    ))
}
