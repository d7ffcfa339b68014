//! Fills a region with one byte.

use super::{Extent, Extents};
use crate::format::Fill;

impl Fill {
    pub(crate) fn extents(&self) -> Option<Extents> {
        Some(Extents {
            output: Extent {
                offset: self.ofm,
                bytes: self.count,
            },
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        Some(self.count.into())
    }

    pub(crate) fn bind(&mut self, _sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ofm = ofm;
    }
}
