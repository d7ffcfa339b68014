//! Boots a board in QEMU with a blob in its flash, and reads back what it did.
//!
//! The protocol between host and firmware stands in `targets/boards/harness/src/lib.rs`. QEMU shows bytes, faults and
//! exact instruction counts; it does not show cycles, caches, flash waits or energy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tinsmith_runtime::blob::Blob;
use tinsmith_runtime::kernels::Layer;

use super::toolchain::{Architecture, on_path};
use super::{BoardError, Simulator, firmware};
use crate::target::{Emulator, Target};

/// How long QEMU may take to start, and for each inference. A large model on a slow machine takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a board did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardRun {
    /// Bytes of every output, per inference.
    pub outputs: Vec<Vec<Vec<u8>>>,
    /// Bytes of every step's output, per inference.
    pub traces: Vec<Vec<Vec<u8>>>,
    /// Instructions of every step, per inference, to the resolution of the board's timer.
    pub instructions: Vec<Vec<u64>>,
    /// Instructions of the first inference from the call of run to its return, without trace.
    pub total_instructions: u64,
}

/// Where a board's bytes differ from the simulator's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the board's bytes differ from the simulator's: inference {inference}, step {step}, byte {byte}: \
     {found:#04x} on the board, {wanted:#04x} in the simulator"
)]
pub struct Difference {
    /// Which inference, from 0.
    pub inference: usize,
    /// Which step, from 0.
    pub step: usize,
    /// Which byte of the step's output.
    pub byte: usize,
    /// The simulator's byte.
    pub wanted: u8,
    /// The board's byte.
    pub found: u8,
}

/// Boots a target's board and runs a blob once per element of `inputs`, each the bytes of every input.
///
/// # Errors
/// Where the blob is not sound, does not fit the board, the inputs are not the blob's, QEMU or the firmware cannot be
/// had, or the run does not end well.
pub fn run(target: &Target, blob: &[u8], inputs: &[Vec<Vec<u8>>]) -> Result<BoardRun, BoardError> {
    let emulator = target.emulator.as_ref().ok_or_else(|| BoardError::NoBoard {
        target: target.name.clone(),
    })?;
    let checked = Blob::check(blob).map_err(BoardError::Blob)?;
    if blob.len() as u64 > target.flash().bytes {
        return Err(BoardError::FlashTooSmall {
            bank: target.flash().name.clone(),
            needed_bytes: blob.len() as u64,
            available_bytes: target.flash().bytes,
        });
    }
    let request = request(&checked, inputs)?;
    let program = on_path(&emulator.program).ok_or_else(|| BoardError::EmulatorMissing {
        program: emulator.program.clone(),
    })?;
    let elf = firmware::find_or_build(target)?;

    let folder = tempfile::tempdir().map_err(BoardError::file(&std::env::temp_dir()))?;
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).map_err(BoardError::file(&path))
    };
    write("request", &request)?;
    write("blob", blob)?;
    boot(
        target,
        emulator,
        &program,
        &elf,
        folder.path(),
        PATIENCE * (inputs.len() as u32 + 1),
    )?;
    read_results(&checked, emulator, folder.path(), inputs.len())
}

/// Compares every step's bytes with the simulator's on the same inputs.
///
/// # Errors
/// Where the simulator refuses the blob or the inputs.
pub fn compare(
    blob: &[u8],
    inputs: &[Vec<Vec<u8>>],
    run: &BoardRun,
) -> Result<Option<Difference>, super::SimulateError> {
    let mut simulator = Simulator::new(blob)?;
    for (inference, (inputs, trace)) in inputs.iter().zip(&run.traces).enumerate() {
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let mut difference = None;
        simulator.run_traced(&inputs, &mut |step, wanted| {
            let found = trace.get(step).map_or(&[][..], Vec::as_slice);
            let byte = wanted
                .iter()
                .zip(found)
                .position(|(wanted, found)| wanted != found);
            if let (None, Some(byte)) = (&difference, byte) {
                difference = Some(Difference {
                    inference,
                    step,
                    byte,
                    wanted: wanted[byte],
                    found: found[byte],
                });
            }
        })?;
        if difference.is_some() {
            return Ok(difference);
        }
    }
    Ok(None)
}

/// The file that asks for the inferences.
fn request(blob: &Blob<'_>, inputs: &[Vec<Vec<u8>>]) -> Result<Vec<u8>, BoardError> {
    let count = u32::try_from(inputs.len()).map_err(|_| BoardError::TooManyInferences)?;
    let mut request = count.to_le_bytes().to_vec();
    for sample in inputs {
        let wanted: Vec<usize> = blob.inputs().map(|port| port.bytes as usize).collect();
        let found: Vec<usize> = sample.iter().map(Vec::len).collect();
        if wanted != found {
            return Err(BoardError::Inputs { wanted, found });
        }
        sample.iter().for_each(|bytes| request.extend(bytes));
    }
    Ok(request)
}

/// Runs QEMU to its end, in a folder of its own.
fn boot(
    target: &Target,
    emulator: &Emulator,
    program: &Path,
    elf: &Path,
    folder: &Path,
    patience: Duration,
) -> Result<(), BoardError> {
    let console = folder.join("console");
    let output = fs::File::create(&console).map_err(BoardError::file(&console))?;
    let mut command = Command::new(program);
    command
        .args([
            "-M",
            &emulator.machine,
            "-display",
            "none",
            "-serial",
            "none",
            "-monitor",
            "none",
            "-no-reboot",
        ])
        .args([
            "-semihosting-config",
            "enable=on,target=native",
            "-icount",
            "shift=0",
        ])
        .arg("-kernel")
        .arg(elf)
        .arg("-device")
        .arg(format!(
            "loader,file=blob,addr={:#x},force-raw=on",
            target.flash().address
        ))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output);
    if Architecture::of(&target.triple) == Architecture::RiscV {
        command.args(["-bios", "none"]);
    }
    let status = wait(command, patience).map_err(BoardError::file(program))?;
    let message = || {
        String::from_utf8_lossy(&fs::read(&console).unwrap_or_default())
            .trim()
            .to_owned()
    };
    match status {
        None => Err(BoardError::Timeout {
            seconds: patience.as_secs(),
            message: message(),
        }),
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(BoardError::Stopped {
            board: emulator.board.clone(),
            code: status.code().unwrap_or(-1),
            message: message(),
        }),
    }
}

/// Waits for a program's end; `None` where it had to be stopped.
fn wait(mut command: Command, patience: Duration) -> std::io::Result<Option<ExitStatus>> {
    let mut child = command.spawn()?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reads the files that the firmware wrote.
fn read_results(
    blob: &Blob<'_>,
    emulator: &Emulator,
    folder: &Path,
    inferences: usize,
) -> Result<BoardRun, BoardError> {
    let mut outputs = Results::open(folder.join("outputs"))?;
    let mut trace = Results::open(folder.join("trace"))?;
    let mut steps = Results::open(folder.join("steps"))?;
    let instructions = |ticks: u64| ticks * u64::from(emulator.instructions_per_tick_q100) / 100;
    let mut run = BoardRun {
        outputs: vec![],
        traces: vec![],
        instructions: vec![],
        total_instructions: 0,
    };
    for _ in 0..inferences {
        run.outputs.push(
            blob.outputs()
                .map(|port| outputs.take(port.bytes as usize))
                .collect::<Result<_, _>>()?,
        );
        run.traces.push(
            blob.steps()
                .map(|step| trace.take(output_bytes(&step)))
                .collect::<Result<_, _>>()?,
        );
        run.instructions.push(
            blob.steps()
                .map(|_| Ok(instructions(steps.number()?)))
                .collect::<Result<_, BoardError>>()?,
        );
    }
    outputs.end()?;
    trace.end()?;
    steps.end()?;
    if inferences > 0 {
        let mut total = Results::open(folder.join("total"))?;
        run.total_instructions = instructions(total.number()?);
        total.end()?;
    }
    Ok(run)
}

/// Bytes of the region that a step writes.
fn output_bytes(step: &Layer) -> usize {
    let extents = step.extents().expect("a checked blob has steps of known extents");
    extents.output.bytes as usize
}

/// A file of results, taken from the front.
struct Results {
    path: PathBuf,
    bytes: Vec<u8>,
    taken: usize,
}

impl Results {
    fn open(path: PathBuf) -> Result<Self, BoardError> {
        let bytes = fs::read(&path).map_err(BoardError::file(&path))?;
        Ok(Self {
            path,
            bytes,
            taken: 0,
        })
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, BoardError> {
        let bytes = self
            .bytes
            .get(self.taken..self.taken + count)
            .ok_or_else(|| self.unexpected())?
            .to_vec();
        self.taken += count;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u64, BoardError> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(
            bytes.try_into().expect("eight bytes were taken"),
        ))
    }

    fn end(&self) -> Result<(), BoardError> {
        if self.taken == self.bytes.len() {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn unexpected(&self) -> BoardError {
        BoardError::Results {
            file: self
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            bytes: self.bytes.len(),
        }
    }
}
