//! What every board's firmware shares: start-up, a timer, semihosting, and the service it does for the host.
//!
//! The host boots the firmware in an emulator whose working directory holds one file, and finds four more when the
//! emulator has ended with code 0. All numbers are little-endian.
//!
//! ```text
//! request   u32 n, then n times the bytes of every input, in the blob's order
//! outputs   n times the bytes of every output, in the blob's order
//! trace     n times, for every step, the bytes of its output
//! steps     n times, for every step, u64 timer ticks from before the step to after it
//! total     u64 timer ticks of one run of the first inputs, from call to return, without trace
//! ```
//!
//! The blob lies where the target's description has its flash, loaded apart from the firmware, as an update would
//! be. State is reset before the first run of each kind, and kept from inference to inference.
#![no_std]

use core::fmt::{self, Write};

use tinsmith_runtime::kernels::Kernel;
use tinsmith_runtime::{Blob, Model, Observer};

#[cfg(target_arch = "arm")]
#[path = "cortex_m.rs"]
mod arch;
#[cfg(target_arch = "riscv32")]
#[path = "riscv.rs"]
mod arch;
pub mod semihosting;

use semihosting::{Console, File, FileError, Mode};

/// The blob was refused.
pub const EXIT_BLOB: u32 = 10;
/// The model cannot run here: a kernel is missing, or the arena is too small.
pub const EXIT_MODEL: u32 = 11;
/// A file of the host could not be opened, read or written.
pub const EXIT_FILE: u32 = 12;
/// The firmware panicked.
pub const EXIT_PANIC: u32 = 13;
/// The core took a fault.
pub const EXIT_FAULT: u32 = 14;

unsafe extern "C" {
    static __arena_start: [u8; 0];
    static __arena_bytes: [u8; 0];
    static __blob_start: [u8; 0];
    static __blob_bytes: [u8; 0];
}

/// Tells the host why, and ends with `code`.
pub fn fail(code: u32, reason: fmt::Arguments<'_>) -> ! {
    // The console cannot fail.
    let _ = writeln!(Console, "{reason}");
    semihosting::exit(code)
}

/// Does what the host asks for, once, and ends. Called once, by the board's entry.
pub fn serve(kernels: &'static [Kernel]) -> ! {
    match Blob::check_for(flash(), kernels) {
        Err(error) => fail(EXIT_BLOB, format_args!("the blob is refused: {error}")),
        Ok(blob) => match Model::new(blob, kernels) {
            Err(error) => fail(EXIT_MODEL, format_args!("the model cannot run here: {error}")),
            Ok(model) => match answer(&model, arena()) {
                Err(FileError) => fail(
                    EXIT_FILE,
                    format_args!("a file of the host is missing or too short"),
                ),
                Ok(()) => semihosting::exit(0),
            },
        },
    }
}

/// The flash: a blob and what is behind it.
fn flash() -> &'static [u8] {
    // SAFETY: the linker script gives these symbols the first address and the length of a region that holds the
    // blob and nothing else; nobody writes to it while the firmware runs.
    unsafe {
        core::slice::from_raw_parts(
            (&raw const __blob_start).cast::<u8>(),
            (&raw const __blob_bytes).addr(),
        )
    }
}

/// The arena's region. Called once.
fn arena() -> &'static mut [u8] {
    // SAFETY: the linker script gives these symbols the first address and the length of a region of RAM that nothing
    // else uses, and `serve`, the only caller, runs once.
    unsafe {
        core::slice::from_raw_parts_mut(
            (&raw const __arena_start).cast::<u8>().cast_mut(),
            (&raw const __arena_bytes).addr(),
        )
    }
}

/// Runs the model: once for its cost, then once per inference with a trace.
fn answer(model: &Model<'_>, arena: &mut [u8]) -> Result<(), FileError> {
    let mut request = File::open(c"request", Mode::Read)?;
    let inferences = read_count(&mut request)?;
    if inferences > 0 {
        begin(model, arena);
        read_inputs(model, arena, &mut request)?;
        let started = arch::ticks();
        let result = model.run(arena, &mut ());
        let ticks = arch::ticks() - started;
        if let Err(error) = result {
            fail(EXIT_MODEL, format_args!("the run ended early: {error}"));
        }
        File::open(c"total", Mode::Write)?.write(&ticks.to_le_bytes())?;
    }

    let mut request = File::open(c"request", Mode::Read)?;
    let inferences = read_count(&mut request)?;
    let mut outputs = File::open(c"outputs", Mode::Write)?;
    let mut trace = Trace {
        started: 0,
        bytes: File::open(c"trace", Mode::Write)?,
        ticks: File::open(c"steps", Mode::Write)?,
        result: Ok(()),
    };
    begin(model, arena);
    for _ in 0..inferences {
        read_inputs(model, arena, &mut request)?;
        if let Err(error) = model.run(arena, &mut trace) {
            fail(EXIT_MODEL, format_args!("the run ended early: {error}"));
        }
        trace.result?;
        for index in 0..model.blob().outputs().count() {
            outputs.write(model.output(arena, index))?;
        }
    }
    Ok(())
}

/// Makes the arena what it is at the simulator's start: zeros, and the state after a reset.
fn begin(model: &Model<'_>, arena: &mut [u8]) {
    arena.fill(0);
    if let Err(error) = model.reset(arena) {
        fail(EXIT_MODEL, format_args!("the model cannot run here: {error}"));
    }
}

fn read_count(request: &mut File) -> Result<u32, FileError> {
    let mut count = [0; 4];
    request.read(&mut count)?;
    Ok(u32::from_le_bytes(count))
}

fn read_inputs(model: &Model<'_>, arena: &mut [u8], request: &mut File) -> Result<(), FileError> {
    (0..model.blob().inputs().count()).try_for_each(|index| request.read(model.input_mut(arena, index)))
}

/// Times every step, then writes its output to the host outside of the timed span.
struct Trace {
    started: u64,
    bytes: File,
    ticks: File,
    result: Result<(), FileError>,
}

impl Observer for Trace {
    fn before(&mut self, _: usize) {
        self.started = arch::ticks();
    }

    fn after(&mut self, _: usize, output: &[u8]) {
        let ticks = arch::ticks() - self.started;
        self.result = self
            .result
            .and_then(|()| self.ticks.write(&ticks.to_le_bytes()))
            .and_then(|()| self.bytes.write(output));
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    fail(EXIT_PANIC, format_args!("{info}"))
}
