//! Gives out what came in one run before.

use super::{Extent, Extents, source};
use crate::format::Delay;

impl Delay {
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
            state: Some(Extent {
                offset: self.state,
                bytes: self.count,
            }),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        Some(self.count.into())
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.state = state;
    }
}
