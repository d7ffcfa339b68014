//! Product of two operands.

use super::{Extents, elementwise, source, work_of};
use crate::format::Mul;

impl Mul {
    pub(crate) fn extents(&self) -> Option<Extents> {
        elementwise::extents(
            &self.dims,
            [(self.a, &self.a_strides), (self.b, &self.b_strides)],
            self.ofm,
        )
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&self.dims)
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.a = source(sources, 0);
        self.b = source(sources, 1);
        self.ofm = ofm;
    }
}
