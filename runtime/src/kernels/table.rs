//! Any function of one int8 value.

use super::{Extent, Extents, source};
use crate::format::Table;

/// Entries of a table: one per int8 value.
pub(super) const ENTRIES: u32 = 256;

impl Table {
    pub(crate) fn extents(&self) -> Option<Extents> {
        Some(Extents {
            sources: [
                Some(Extent {
                    offset: self.ifm,
                    bytes: self.count,
                }),
                None,
            ],
            in_place: [true, false],
            output: Extent {
                offset: self.ofm,
                bytes: self.count,
            },
            constants: Some(Extent {
                offset: self.constants,
                bytes: ENTRIES,
            }),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        Some(self.count.into())
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
