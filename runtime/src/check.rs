//! The proof that a program stays within its memory. The rules:
//!
//! - every record decodes, and its length is its opcode's; as many as the header says, and nothing behind them
//! - every region it touches is non-empty and lies in the arena, or in the constants section where it may
//! - a source and the output overlap only where they are one region and the kernel may run in place
//! - only state fields touch the state region, and those nothing else
//! - its guards, at most [`MOST_GUARDS`], are bytes of the arena; whether they let it run or not, it stays in its memory
//! - the kernel's own conditions hold: groups, windows, shifts, clamps, packing
//! - a loop's body is at least one step and ends before the body around it, or the program, does; at most
//!   [`MOST_NESTING`] loops lie within each other
//! - the work of all steps together, those of a body as often as they may run, is bounded by [`MOST_WORK`]

use core::fmt;

use crate::blob::{Blob, Record};
use crate::format::{IN_CONSTANTS, MOST_GUARDS, MOST_NESTING, Repeat, WHEN_FALSE};
use crate::kernels::{Extent, Kernel};
use crate::lanes::LaneId;

/// Multiply-accumulates, taps and elements of one inference, at most.
pub const MOST_WORK: u64 = 1 << 40;

/// Why bytes are no blob that this runtime executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobError {
    /// The magic bytes are missing.
    NotABlob,
    /// The format is of another version.
    Version {
        /// The blob's version.
        found: u16,
        /// The only version that this runtime reads.
        wanted: u16,
    },
    /// The weights are packed for lanes that this runtime does not have.
    Lanes {
        /// The stored code of the lanes.
        found: u8,
        /// The lanes of this runtime.
        wanted: LaneId,
    },
    /// Bytes are missing at the end.
    Truncated {
        /// Bytes of the blob.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
    /// The CRC-32 is another.
    Checksum,
    /// A section, the state region or the number of steps does not fit the rest of the header.
    Layout,
    /// A step is not executable.
    Step {
        /// Its index.
        step: u32,
        /// What is wrong with it.
        problem: StepProblem,
    },
    /// The steps are more work than [`MOST_WORK`].
    TooMuchWork,
    /// The metadata or names section does not decode, or an input or output lies outside the arena.
    Metadata,
    /// The SHA-256 is another.
    Digest,
}

/// What is wrong with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepProblem {
    /// There is no kernel for its opcode.
    Kernel,
    /// Wrong length, or sizes that do not fit 32 bits.
    Record,
    /// A region is empty or outside the arena or the constants section.
    OutOfBounds,
    /// A source and the output overlap, or either touches the state region.
    Overlap,
    /// A parameter is out of its range.
    Parameter,
    /// A loop's body ends outside the one around it, or loops lie too deep within each other.
    Nesting,
}

impl fmt::Display for BlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABlob => f.write_str("not a Tinsmith blob: the magic bytes are missing"),
            Self::Version { found, wanted } => {
                write!(
                    f,
                    "the blob has format version {found}, this runtime reads version {wanted}"
                )
            }
            Self::Lanes { found, wanted } => {
                write!(
                    f,
                    "the blob is packed for lanes {found}, this runtime has lanes {} ({wanted:?})",
                    *wanted as u8
                )
            }
            Self::Truncated { needed, given } => {
                write!(f, "the blob has {needed} bytes but {given} are here")
            }
            Self::Checksum => f.write_str("the blob's checksum is wrong: its bytes changed"),
            Self::Layout => f.write_str("the blob's sections do not fit its header"),
            Self::Step { step, problem } => write!(f, "step {step} {problem}"),
            Self::TooMuchWork => f.write_str("the steps are more work than any model's"),
            Self::Metadata => f.write_str("the metadata or the names do not decode"),
            Self::Digest => f.write_str("the blob's SHA-256 is wrong: its bytes changed"),
        }
    }
}

impl fmt::Display for StepProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "has an opcode that no kernel here is for",
            Self::Record => "is no record of this version",
            Self::OutOfBounds => "touches bytes outside the arena or the constants",
            Self::Overlap => "overwrites what it reads, or the state",
            Self::Parameter => "has a parameter out of range",
            Self::Nesting => "is a loop that does not lie within the steps around it",
        })
    }
}

impl core::error::Error for BlobError {}

impl Extent {
    /// Whether its last byte is before `end`.
    pub(crate) fn ends_within(self, end: u32) -> bool {
        self.offset.checked_add(self.bytes).is_some_and(|own| own <= end)
    }

    /// Whether two regions, both within 32 bits, share no byte.
    pub(crate) fn is_disjoint(self, other: Self) -> bool {
        let end = |extent: Self| extent.offset.wrapping_add(extent.bytes);
        self.bytes == 0 || other.bytes == 0 || end(self) <= other.offset || end(other) <= self.offset
    }

    /// Whether it is non-empty and within the memory that its offset names.
    fn is_within(self, arena_bytes: u32, constants: &[u8]) -> bool {
        let end = if self.in_constants() {
            constants.len() as u32
        } else {
            arena_bytes
        };
        let plain = Self {
            offset: self.offset & !IN_CONSTANTS,
            ..self
        };
        self.bytes > 0 && plain.ends_within(end)
    }
}

/// Proves all steps of a program, `count` of them, and gives their work.
pub(crate) fn check_steps(blob: &Blob<'_>, kernels: &[Kernel], count: u32) -> Result<u64, BlobError> {
    let mut records = blob.records();
    let mut work = 0u64;
    let mut bodies = Bodies::new(count);
    for step in 0..count {
        let record = records.next().ok_or(BlobError::Layout)?;
        let wrong = |problem| BlobError::Step { step, problem };
        let done = check_step(blob, kernels, record).map_err(wrong)?;
        bodies.leave(step);
        // Even a step that does nothing takes its time, as often as it runs.
        work = work.saturating_add(done.max(1).saturating_mul(bodies.innermost.times));
        if work > MOST_WORK {
            return Err(BlobError::TooMuchWork);
        }
        if record.opcode == Repeat::OPCODE {
            let repeat = Repeat::read(record.fields).ok_or(wrong(StepProblem::Record))?;
            bodies.enter(step, &repeat).ok_or(wrong(StepProblem::Nesting))?;
        }
    }
    records.0.is_empty().then_some(work).ok_or(BlobError::Layout)
}

/// Steps that run together.
#[derive(Clone, Copy, Default)]
struct Body {
    /// The first step behind it.
    end: u32,
    /// How often it runs, at most.
    times: u64,
}

/// The bodies that a step lies in.
struct Bodies {
    innermost: Body,
    /// Those around it, the nearest first.
    around: [Option<Body>; MOST_NESTING],
}

impl Bodies {
    /// The whole program.
    fn new(count: u32) -> Self {
        Self {
            innermost: Body { end: count, times: 1 },
            around: [None; MOST_NESTING],
        }
    }

    /// Leaves the bodies that end before this step.
    fn leave(&mut self, step: u32) {
        while self.innermost.end <= step
            && let [Some(around), ..] = self.around
        {
            self.innermost = around;
            self.around.rotate_left(1);
            let [.., last] = &mut self.around;
            *last = None;
        }
    }

    /// Enters the body behind a loop's step; `None` where it does not lie within those that the step lies in.
    fn enter(&mut self, step: u32, repeat: &Repeat) -> Option<()> {
        let end = step.checked_add(1)?.checked_add(repeat.steps)?;
        let [.., last] = &mut self.around;
        if end > self.innermost.end || last.is_some() {
            return None;
        }
        *last = Some(self.innermost);
        self.around.rotate_right(1);
        self.innermost = Body {
            end,
            times: self.innermost.times.saturating_mul(repeat.trips.into()),
        };
        Some(())
    }
}

/// Proves one step, and gives its work.
fn check_step(blob: &Blob<'_>, kernels: &[Kernel], record: Record<'_>) -> Result<u64, StepProblem> {
    let Record {
        opcode,
        fields,
        guards,
    } = record;
    if guards.len() > MOST_GUARDS {
        return Err(StepProblem::Record);
    }
    for &guard in guards {
        if u32::from_le_bytes(guard) & !WHEN_FALSE >= blob.arena_bytes() {
            return Err(StepProblem::OutOfBounds);
        }
    }
    let mut kernels = kernels.iter();
    let kernel = kernels
        .find(|kernel| kernel.opcode == opcode)
        .ok_or(StepProblem::Kernel)?;
    let (extents, work) = (kernel.account)(fields).ok_or(StepProblem::Record)?;

    let within = |extent: Extent| extent.is_within(blob.arena_bytes(), blob.constants());
    let block = match extents.constants {
        None => &[],
        Some(block) if block.bytes > 0 => {
            let end = block
                .offset
                .checked_add(block.bytes)
                .ok_or(StepProblem::OutOfBounds)?;
            let block = blob.constants().get(block.offset as usize..end as usize);
            block.ok_or(StepProblem::OutOfBounds)?
        }
        Some(_) => return Err(StepProblem::OutOfBounds),
    };
    // Loops instead of chained iterators: they are a third of the code.
    let mut inside = within(extents.output) && extents.state.is_none_or(within);
    for source in extents.sources.into_iter().flatten() {
        inside &= within(source);
    }
    if !inside || extents.output.in_constants() {
        return Err(StepProblem::OutOfBounds);
    }

    let state = blob.state();
    let mut apart = extents.output.is_disjoint(state);
    for (source, in_place) in extents.sources.into_iter().zip(extents.in_place) {
        let Some(source) = source.filter(|source| !source.in_constants()) else {
            continue;
        };
        apart &= source.is_disjoint(extents.output) || (in_place && source == extents.output);
        apart &= source.is_disjoint(state);
    }
    let state_inside = extents.state.is_none_or(|own| {
        let end = state.offset.wrapping_add(state.bytes);
        own.offset >= state.offset && own.ends_within(end)
    });
    if !apart || !state_inside {
        return Err(StepProblem::Overlap);
    }
    if !(kernel.is_valid)(fields, block) {
        return Err(StepProblem::Parameter);
    }
    Ok(work)
}
