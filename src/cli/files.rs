//! Files in and out. What is written appears whole or not at all.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use tinsmith::import::{ImportError, MAX_FILE_BYTES};

use super::error;
use super::failure::Failure;

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::file(path, "read", &error))
}

/// The bytes of a model's file, which is not larger than a protobuf message may be.
pub(crate) fn read_model(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::file(path, "read", &error);
    let bytes = fs::metadata(path).map_err(failed)?.len();
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= MAX_FILE_BYTES => read(path),
        _ => {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            Err(error::of_model(path, ImportError::TooLarge { bytes }.into()))
        }
    }
}

/// The text of a file.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::file(path, "read", &error))
}

/// Files to write, all together at the end.
#[derive(Default)]
pub(crate) struct Outputs {
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Outputs {
    /// Adds a file.
    pub(crate) fn add(&mut self, path: PathBuf, bytes: Vec<u8>) {
        self.files.push((path, bytes));
    }

    /// Writes all files: first each beside its place, and only when all are there, each into it.
    pub(crate) fn commit(self) -> Result<Vec<PathBuf>, Failure> {
        let mut written: Vec<(NamedTempFile, PathBuf)> = Vec::new();
        for (path, bytes) in self.files {
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            fs::create_dir_all(folder).map_err(|error| Failure::file(folder, "made", &error))?;
            let mut file = new_file(folder).map_err(|error| Failure::file(folder, "written to", &error))?;
            file.write_all(&bytes)
                .map_err(|error| Failure::file(&path, "written", &error))?;
            written.push((file, path));
        }
        let mut paths = Vec::new();
        for (file, path) in written {
            file.persist(&path)
                .map_err(|error| Failure::file(&path, "written", &error.error))?;
            paths.push(path);
        }
        Ok(paths)
    }
}

/// A file under a name of its own, which vanishes unless it is given its final one. Readable by others as the user's
/// settings say, like any file that a compiler writes.
fn new_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    #[cfg(unix)]
    builder.permissions(permissions);
    builder.prefix(".tinsmith-").tempfile_in(folder)
}
