//! Gives out what came in one run before: `ofm = state; state = ifm`. May run in place. A reset fills the state with the
//! record's `initial`.

use super::{Extent, Extents, Kernel, source};
use crate::arena::Memory;
use crate::format::Delay;
use crate::kernels::kernel_of;
use crate::kernels::{FIRST_IN_PLACE, only};

/// The kernel of [`Delay`].
pub const fn kernel() -> Kernel {
    kernel_of!(Delay, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let extents = Delay::read(fields)?.extents()?;
    memory.output_from_source(&extents)?;
    let [ofm, state] = memory.two(extents.output, extents.state?)?;
    ofm.iter_mut()
        .zip(state)
        .for_each(|(ofm, state)| core::mem::swap(ofm, state));
    Some(extents.output)
}

impl Delay {
    pub(crate) fn extents(&self) -> Option<Extents> {
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: self.count,
            }),
            in_place: FIRST_IN_PLACE,
            output: Extent {
                offset: self.ofm,
                bytes: self.count,
            },
            state: Some(Extent {
                offset: self.state,
                bytes: self.count,
            }),
            initial: self.initial as u8,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        Some(self.count.into())
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        true
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.state = state;
    }
}
