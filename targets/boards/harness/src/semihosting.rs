//! Semihosting: the debugger's door to the host, by the numbers of Arm's "Semihosting for AArch32 and AArch64",
//! which RISC-V shares. QEMU opens it with `-semihosting-config enable=on`.

use core::fmt;

use crate::arch;

const SYS_OPEN: usize = 0x01;
const SYS_WRITE0: usize = 0x04;
const SYS_WRITE: usize = 0x05;
const SYS_READ: usize = 0x06;
const SYS_EXIT_EXTENDED: usize = 0x20;
/// The reason that makes an exit orderly, so that its code reaches the host.
const APPLICATION_EXIT: usize = 0x20026;

/// Ends the emulation with an exit code.
pub fn exit(code: u32) -> ! {
    let block = [APPLICATION_EXIT, code as usize];
    // SAFETY: the block holds the two words that SYS_EXIT_EXTENDED reads, and lives across the call.
    unsafe { arch::semihost(SYS_EXIT_EXTENDED, block.as_ptr().addr()) };
    loop {
        core::hint::spin_loop();
    }
}

/// What a host file is opened for.
#[derive(Clone, Copy)]
pub enum Mode {
    /// Reading, from its start.
    Read = 1,
    /// Writing; what it held is lost.
    Write = 5,
}

/// The host did not open, read or write a file as asked.
#[derive(Clone, Copy, Debug)]
pub struct FileError;

/// An open file of the host, in the emulator's working directory.
pub struct File {
    handle: usize,
}

impl File {
    /// Opens a file.
    pub fn open(name: &core::ffi::CStr, mode: Mode) -> Result<Self, FileError> {
        let block = [name.as_ptr().addr(), mode as usize, name.count_bytes()];
        // SAFETY: the block is SYS_OPEN's: a name that ends in zero, a mode, the name's length.
        let handle = unsafe { arch::semihost(SYS_OPEN, block.as_ptr().addr()) };
        if handle == usize::MAX {
            Err(FileError)
        } else {
            Ok(Self { handle })
        }
    }

    /// Reads exactly as many bytes as fit.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<(), FileError> {
        let block = [self.handle, bytes.as_mut_ptr().addr(), bytes.len()];
        // SAFETY: the block is SYS_READ's, and the host writes at most `len` bytes into the exclusively borrowed
        // slice.
        let left = unsafe { arch::semihost(SYS_READ, block.as_ptr().addr()) };
        if left == 0 { Ok(()) } else { Err(FileError) }
    }

    /// Writes all bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let block = [self.handle, bytes.as_ptr().addr(), bytes.len()];
        // SAFETY: the block is SYS_WRITE's, and the host only reads the slice.
        let left = unsafe { arch::semihost(SYS_WRITE, block.as_ptr().addr()) };
        if left == 0 { Ok(()) } else { Err(FileError) }
    }
}

/// The emulator's console, which QEMU sends to its standard error.
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SYS_WRITE0 wants a zero at the end, which a `str` does not have.
        let mut chunk = [0; 64];
        for piece in text.as_bytes().chunks(chunk.len() - 1) {
            chunk[..piece.len()].copy_from_slice(piece);
            chunk[piece.len()] = 0;
            // SAFETY: the chunk ends in a zero and lives across the call.
            unsafe { arch::semihost(SYS_WRITE0, chunk.as_ptr().addr()) };
        }
        Ok(())
    }
}
