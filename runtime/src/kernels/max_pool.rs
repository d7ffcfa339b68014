//! The largest of each window.

use super::{Extent, Extents, source};
use crate::format::MaxPool;

impl MaxPool {
    pub(crate) fn extents(&self) -> Option<Extents> {
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
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.window.work(self.channels)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
