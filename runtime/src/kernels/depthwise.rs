//! Depthwise convolution.

use super::Extents;
use crate::format::DepthwiseConv2d;

impl DepthwiseConv2d {
    pub(crate) fn extents(&self) -> Option<Extents> {
        self.0.extents()
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.0.work()
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, state: u32) {
        self.0.bind(sources, ofm, constants, state);
    }
}
