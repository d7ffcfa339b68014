//! Files mapped into memory: the one place of the command line that is not safe Rust.

use std::fs::File;
use std::io;
use std::sync::Arc;

use memmap2::Mmap;
use tinsmith::import::FileBytes;

/// The bytes of an open file. Only those that are looked at take memory, and the system may take it back.
#[allow(
    unsafe_code,
    reason = "mapping a file is a promise about what others do with it"
)]
pub(super) fn map(file: &File) -> io::Result<FileBytes> {
    if file.metadata()?.len() == 0 {
        // Nothing can be mapped, and nothing needs to be.
        return Ok(Arc::new([0_u8; 0]));
    }
    // SAFETY: the mapping is private and never written by us, and no reference to it outlives it. Another process that
    // changes the file while we compile can change what we read (every bit pattern is a valid number, and lengths were
    // taken from the mapping, which does not move) or, by cutting the file, end this process with a bus error: no
    // worse than ending it by other means, which that user may do as well.
    let map = unsafe { Mmap::map(file) }?;
    Ok(Arc::new(map))
}
