//! The mean of each window.

use super::{Extent, Extents, source};
use crate::format::AveragePool;

/// Bytes of a stored rescale: multiplier and shift.
const SCALE_BYTES: u32 = 5;

impl AveragePool {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let constants = if self.divide == 0 {
            let bytes = self.window.kernel_taps().checked_mul(SCALE_BYTES)?;
            Some(Extent {
                offset: self.constants,
                bytes,
            })
        } else {
            None
        };
        Some(Extents {
            sources: [
                Some(Extent {
                    offset: self.ifm,
                    bytes: self.window.ifm_bytes(self.channels)?,
                }),
                None,
            ],
            output: Extent {
                offset: self.ofm,
                bytes: self.window.ofm_bytes(self.channels)?,
            },
            constants,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.window.work(self.channels)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
