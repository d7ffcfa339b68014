//! `.npz` archives: each array is unpacked into a temporary file, so that memory does not grow with it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use npyz::npz::{NpzArchive, file_name_from_array_name};

use super::error::{DataError, DataProblem};
use super::npy::Array;

/// Up to this many bytes in all, anything is unpacked.
const PLAIN_BYTES: u64 = 32 << 20;
/// Numbers that were measured or trained do not compress as far as this.
const RATIO: u64 = 200;

/// The arrays of an archive, each for the input of its name; those under NumPy's default names are for the inputs in
/// order, and all of an archive given as `NAME=X.npz` are for that input.
pub(super) fn open(path: &Path, input: Option<&str>) -> Result<Vec<(Option<String>, Array)>, DataError> {
    let file = path.display().to_string();
    let unreadable = |error| DataProblem::Unreadable(error).of(&file);
    let reader = File::open(path).map_err(unreadable)?;
    let file_bytes = reader.metadata().map_err(unreadable)?.len();
    let mut archive =
        NpzArchive::new(BufReader::new(reader)).map_err(|error| DataProblem::NotAnArray(error).of(&file))?;
    let mut names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    // The archive lists its members in no fixed order. By length first, so that arr_10 comes after arr_9.
    names.sort_by_key(|name| (name.len(), name.clone()));
    let mut budget = Budget {
        file_bytes,
        unpacked: 0,
    };
    names
        .iter()
        .map(|name| {
            let label = format!("{file}[{name}]");
            let unpacked = unpack(&mut archive, name, &mut budget).map_err(|problem| problem.of(&label))?;
            // `np.savez(path, x)` names its arrays arr_0, arr_1, …: they stand for the inputs in order.
            let by_order = name
                .strip_prefix("arr_")
                .is_some_and(|rest| rest.parse::<usize>().is_ok());
            let name = input
                .map(str::to_owned)
                .or_else(|| (!by_order).then(|| name.clone()));
            Ok((name, Array::from_reader(&label, unpacked)?))
        })
        .collect()
}

/// What may still be unpacked of an archive. The file's own length decides: what an archive says of its members'
/// lengths is not trusted, and several members may lie in the same bytes.
struct Budget {
    file_bytes: u64,
    /// Bytes that were or are being unpacked.
    unpacked: u64,
}

impl Budget {
    fn take(&mut self, bytes: u64) -> Result<(), DataProblem> {
        self.unpacked = self.unpacked.saturating_add(bytes);
        if self.unpacked > PLAIN_BYTES.max(self.file_bytes.saturating_mul(RATIO)) {
            return Err(DataProblem::Bomb {
                bytes: self.unpacked,
                stored: self.file_bytes,
            });
        }
        Ok(())
    }
}

/// Copies an array of the archive into a temporary file that vanishes with its handle.
///
/// The archive is not trusted: not more is unpacked than it says beforehand, and nothing where that is so much more
/// than is there that it cannot be data.
fn unpack(
    archive: &mut NpzArchive<BufReader<File>>,
    name: &str,
    budget: &mut Budget,
) -> Result<File, DataProblem> {
    let mut member = archive
        .zip_archive()
        .by_name(&file_name_from_array_name(name))
        .map_err(|error| DataProblem::Unreadable(error.into()))?;
    let bytes = member.size();
    budget.take(bytes)?;
    let mut copy = || -> io::Result<(u64, File)> {
        let mut unpacked = tempfile::tempfile()?;
        // One byte more shows that there is more.
        let copied = io::copy(&mut member.by_ref().take(bytes.saturating_add(1)), &mut unpacked)?;
        unpacked.rewind()?;
        Ok((copied, unpacked))
    };
    let (copied, unpacked) = copy().map_err(DataProblem::Unreadable)?;
    if copied > bytes {
        return Err(DataProblem::Bomb {
            bytes: copied,
            stored: budget.file_bytes,
        });
    }
    Ok(unpacked)
}
