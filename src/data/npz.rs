//! `.npz` archives: each array is unpacked into a temporary file, so that memory does not grow with it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use npyz::npz::{NpzArchive, file_name_from_array_name};

use super::error::{DataError, DataProblem};
use super::npy::Array;

/// Below this, any array is unpacked.
const PLAIN_BYTES: u64 = 32 << 20;
/// Numbers that were measured or trained do not compress as far as this.
const RATIO: u64 = 200;

/// The arrays of an archive, each for the input of its name; those under NumPy's default names are for the inputs in
/// order, and all of an archive given as `NAME=X.npz` are for that input.
pub(super) fn open(path: &Path, input: Option<&str>) -> Result<Vec<(Option<String>, Array)>, DataError> {
    let file = path.display().to_string();
    let reader = File::open(path).map_err(|error| DataProblem::Unreadable(error).of(&file))?;
    let mut archive =
        NpzArchive::new(BufReader::new(reader)).map_err(|error| DataProblem::NotAnArray(error).of(&file))?;
    let mut names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    // The archive lists its members in no fixed order. By length first, so that arr_10 comes after arr_9.
    names.sort_by_key(|name| (name.len(), name.clone()));
    names
        .iter()
        .map(|name| {
            let label = format!("{file}[{name}]");
            let unpacked = unpack(&mut archive, name).map_err(|problem| problem.of(&label))?;
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

/// Copies an array of the archive into a temporary file that vanishes with its handle.
///
/// The archive is not trusted: not more is unpacked than it says beforehand, and nothing where that is so much more
/// than is there that it cannot be data.
fn unpack(archive: &mut NpzArchive<BufReader<File>>, name: &str) -> Result<File, DataProblem> {
    let mut member = archive
        .zip_archive()
        .by_name(&file_name_from_array_name(name))
        .map_err(|error| DataProblem::Unreadable(error.into()))?;
    let (bytes, stored) = (member.size(), member.compressed_size());
    if bytes > PLAIN_BYTES && bytes / RATIO > stored {
        return Err(DataProblem::Bomb { bytes, stored });
    }
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
            stored,
        });
    }
    Ok(unpacked)
}
