//! The executor: one loop over a blob's records, with a short stack of the bodies that are being repeated.

use core::fmt;

use crate::arena::Memory;
use crate::blob::{Blob, Records};
use crate::format::{ARENA_ALIGN, MOST_NESTING, Repeat};
use crate::kernels::Kernel;

/// Why a model does not run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunError {
    /// The kernel list has none for records of this opcode.
    NoKernel(u8),
    /// The arena is smaller than the model needs.
    ArenaTooSmall {
        /// Bytes the model needs.
        needed: u32,
        /// Bytes given.
        given: usize,
    },
    /// The arena does not start at a multiple of [`ARENA_ALIGN`].
    ArenaMisaligned,
    /// A step does not fit the memory: the blob's bytes changed since it was checked.
    Changed {
        /// The step's index.
        step: usize,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKernel(opcode) => write!(f, "the firmware has no kernel for opcode {opcode}"),
            Self::ArenaTooSmall { needed, given } => {
                write!(f, "the arena has {given} bytes but the model needs {needed}")
            }
            Self::ArenaMisaligned => write!(f, "the arena does not start at a multiple of {ARENA_ALIGN}"),
            Self::Changed { step } => write!(f, "the blob changed since its check, seen at step {step}"),
        }
    }
}

impl core::error::Error for RunError {}

/// Looks on while a model runs. Steps whose guards do not let them run are passed over in silence; those of a loop's
/// body are told of every time.
pub trait Observer {
    /// Called before step `step`.
    fn before(&mut self, step: usize);
    /// Called after step `step` with the region it wrote.
    fn after(&mut self, step: usize, output: &[u8]);
}

/// Nobody looks on.
impl Observer for () {
    #[inline(always)]
    fn before(&mut self, _step: usize) {}
    #[inline(always)]
    fn after(&mut self, _step: usize, _output: &[u8]) {}
}

/// A checked blob with the kernels that its steps need. Owns no memory; one arena may serve several models, one after
/// the other.
///
/// A model with state needs [`Model::reset`] before its first run, and an arena that stays untouched between runs.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    blob: Blob<'a>,
    kernels: &'static [Kernel],
}

impl<'a> Model<'a> {
    /// A model over this blob.
    ///
    /// # Errors
    /// [`RunError::NoKernel`] where `kernels` lacks one that the blob's steps need.
    pub fn new(blob: Blob<'a>, kernels: &'static [Kernel]) -> Result<Self, RunError> {
        let model = Self { blob, kernels };
        for record in blob.records() {
            model.kernel(record.opcode)?;
        }
        Ok(model)
    }

    /// The blob.
    pub const fn blob(&self) -> &Blob<'a> {
        &self.blob
    }

    fn kernel(&self, opcode: u8) -> Result<&'static Kernel, RunError> {
        let kernel = self.kernels.iter().find(|kernel| kernel.opcode == opcode);
        kernel.ok_or(RunError::NoKernel(opcode))
    }

    /// Fills the state region with its initial values; for models without state it does nothing.
    ///
    /// # Errors
    /// Where the arena is too small or misaligned.
    pub fn reset(&self, arena: &mut [u8]) -> Result<(), RunError> {
        let arena = self.part_of(arena)?;
        let mut memory = Memory::new(arena, &[]);
        for record in self.blob.records() {
            let Some((extents, _)) = (self.kernel(record.opcode)?.account)(record.fields) else {
                continue;
            };
            if let Some(bytes) = extents.state.and_then(|state| memory.output(state)) {
                bytes.fill(extents.initial);
            }
        }
        Ok(())
    }

    /// Input `index`, to write; empty where there is none, or the arena is too small.
    pub fn input_mut<'m>(&self, arena: &'m mut [u8], index: usize) -> &'m mut [u8] {
        let region = self.blob.input_range(index);
        region
            .and_then(|region| arena.get_mut(region))
            .unwrap_or_default()
    }

    /// Output `index`, to read; empty where there is none, or the arena is too small.
    pub fn output<'m>(&self, arena: &'m [u8], index: usize) -> &'m [u8] {
        let region = self.blob.output_range(index);
        region.and_then(|region| arena.get(region)).unwrap_or_default()
    }

    /// One inference: from the inputs, which it may overwrite, to the outputs.
    ///
    /// # Errors
    /// Where the arena is too small or misaligned.
    pub fn run(&self, arena: &mut [u8], observer: &mut impl Observer) -> Result<(), RunError> {
        let arena = self.part_of(arena)?;
        let mut bodies = Bodies::default();
        let (mut step, mut records) = (0usize, self.blob.records());
        loop {
            while let Some(body) = bodies.ending_at(step) {
                let again = body.repeat.goes_on(body.done, arena);
                if again.ok_or(RunError::Changed { step })? {
                    body.done = body.done.wrapping_add(1);
                    (step, records) = (body.first, body.records);
                } else {
                    bodies.leave();
                }
            }
            let changed = RunError::Changed { step };
            let Some(record) = records.next() else {
                return Ok(());
            };
            let first = step.wrapping_add(1);
            let wanted = record.is_wanted(arena).ok_or(changed)?;
            if wanted {
                observer.before(step);
                let mut memory = Memory::new(arena, self.blob.constants());
                let output = (self.kernel(record.opcode)?.run)(record.fields, &mut memory).ok_or(changed)?;
                observer.after(step, memory.output(output).unwrap_or_default());
            }
            step = first;
            if record.opcode != Repeat::OPCODE {
                continue;
            }
            let repeat = Repeat::read(record.fields).ok_or(changed)?;
            if wanted && repeat.goes_on(0, arena).ok_or(changed)? {
                let body = Body {
                    repeat,
                    first,
                    records,
                    done: 1,
                };
                bodies.enter(body).ok_or(changed)?;
            } else {
                for _ in 0..repeat.steps {
                    records.next().ok_or(changed)?;
                    step = step.wrapping_add(1);
                }
            }
        }
    }

    /// The arena's first bytes, as many as the model needs: no step reaches beyond them.
    fn part_of<'m>(&self, arena: &'m mut [u8]) -> Result<&'m mut [u8], RunError> {
        let (needed, given) = (self.blob.arena_bytes(), arena.len());
        if !arena.as_ptr().addr().is_multiple_of(ARENA_ALIGN as usize) {
            return Err(RunError::ArenaMisaligned);
        }
        arena
            .get_mut(..needed as usize)
            .ok_or(RunError::ArenaTooSmall { needed, given })
    }
}

/// Steps that are being repeated.
#[derive(Clone, Copy)]
struct Body<'a> {
    repeat: Repeat,
    /// Its first step.
    first: usize,
    /// Its records, and all behind them.
    records: Records<'a>,
    /// How often it was begun.
    done: u32,
}

/// The bodies around a step, the innermost first.
#[derive(Clone, Copy, Default)]
struct Bodies<'a>([Option<Body<'a>>; MOST_NESTING]);

impl<'a> Bodies<'a> {
    /// The innermost body, if it ends before this step.
    fn ending_at(&mut self, step: usize) -> Option<&mut Body<'a>> {
        let [innermost, ..] = &mut self.0;
        innermost
            .as_mut()
            .filter(|body| step.wrapping_sub(body.first) == body.repeat.steps as usize)
    }

    /// One more; `None` where there are too many.
    fn enter(&mut self, body: Body<'a>) -> Option<()> {
        self.0.rotate_right(1);
        let [innermost, ..] = &mut self.0;
        innermost.replace(body).is_none().then_some(())
    }

    fn leave(&mut self) {
        let [innermost, ..] = &mut self.0;
        *innermost = None;
        self.0.rotate_left(1);
    }
}
