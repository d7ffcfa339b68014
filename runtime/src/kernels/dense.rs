//! Product with constant weights.

use super::{Extent, Extents, product, source, weights_block, work_of};
use crate::format::Dense;

impl Dense {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let weights = product(&[self.in_features, self.out_features])?;
        Some(Extents {
            sources: [
                Some(Extent {
                    offset: self.ifm,
                    bytes: product(&[self.rows, self.in_features])?,
                }),
                None,
            ],
            output: Extent {
                offset: self.ofm,
                bytes: product(&[self.rows, self.out_features])?,
            },
            constants: Some(weights_block(self.constants, self.out_features, weights)?),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.rows, self.in_features, self.out_features])
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
