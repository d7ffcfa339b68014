//! Gives the code a name for its own sources, `TINSMITH_SOURCES`: what one version computed is not another's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What decides the results, beside the compiler.
const SOURCES: [&str; 4] = ["src", "runtime/src", "proto", "Cargo.lock"];

fn main() -> io::Result<()> {
    let mut files = Vec::new();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        collect(Path::new(source), &mut files)?;
    }
    files.sort();
    let mut hash = Fnv::new();
    for file in files {
        // Names are part of the code; separators are not.
        hash.take(file.to_string_lossy().replace('\\', "/").as_bytes());
        hash.take(&fs::read(&file)?);
    }
    println!("cargo::rustc-env=TINSMITH_SOURCES={:032x}", hash.0);
    Ok(())
}

/// The files of a folder, or the file itself; nothing where a package comes without.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if path.is_file() {
        files.push(path.to_owned());
    }
    Ok(())
}

/// FNV-1a in 128 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
struct Fnv(u128);

impl Fnv {
    const fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    /// Takes in bytes, and their number, so that they do not run together with others.
    fn take(&mut self, bytes: &[u8]) {
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}
