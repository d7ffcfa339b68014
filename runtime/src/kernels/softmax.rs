//! Softmax along rows.

use super::{Extent, Extents, product, source, work_of};
use crate::format::Softmax;

/// Bytes of the constants block.
pub const CONSTANTS_BYTES: usize = 256;

impl Softmax {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let bytes = product(&[self.rows, self.depth])?;
        Some(Extents {
            sources: [
                Some(Extent {
                    offset: self.ifm,
                    bytes,
                }),
                None,
            ],
            in_place: [true, false],
            output: Extent {
                offset: self.ofm,
                bytes,
            },
            constants: Some(Extent {
                offset: self.constants,
                bytes: CONSTANTS_BYTES as u32,
            }),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.rows, self.depth])
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
