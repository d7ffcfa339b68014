//! The step in front of a loop's body. As a kernel it clears the counter; [`crate::exec`] runs the body.

use super::{Extent, Extents, Kernel, only, source};
use crate::arena::Memory;
use crate::format::{IN_CONSTANTS, Repeat};
use crate::kernels::kernel_of;

/// The kernel of [`Repeat`].
pub const fn kernel() -> Kernel {
    kernel_of!(Repeat, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let extents = Repeat::read(fields)?.extents()?;
    memory.output(extents.output)?.fill(0);
    Some(extents.output)
}

impl Repeat {
    /// Bytes of the counter.
    const COUNTER_BYTES: u32 = 8;

    pub(crate) fn extents(&self) -> Option<Extents> {
        let condition = only(Extent {
            offset: self.condition,
            bytes: 1,
        });
        Some(Extents {
            sources: if self.conditional == 0 {
                Default::default()
            } else {
                condition
            },
            output: Extent {
                offset: self.ofm,
                bytes: Self::COUNTER_BYTES,
            },
            ..Extents::default()
        })
    }

    /// That of the step itself: what the body costs is counted there.
    pub(crate) fn work(&self) -> Option<u64> {
        Some(1)
    }

    /// Where the body ends is for [`crate::check`] to prove, which sees the steps around.
    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.steps > 0 && self.trips > 0 && self.conditional <= 1 && self.condition < IN_CONSTANTS
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.condition = source(sources, 0);
        self.ofm = ofm;
    }

    /// Whether the body runs once more after `done` times, and if so, the counter set; `None` where the record lies
    /// outside the arena.
    pub(crate) fn goes_on(&self, done: u32, arena: &mut [u8]) -> Option<bool> {
        if done >= self.trips || (self.conditional != 0 && *arena.get(self.condition as usize)? == 0) {
            return Some(false);
        }
        let counter: &mut [u8; Self::COUNTER_BYTES as usize] =
            arena.get_mut(self.ofm as usize..)?.first_chunk_mut()?;
        *counter = u64::from(done).to_le_bytes();
        Some(true)
    }
}
