//! Comparisons of two broadcast operands: `ofm[i] = a[i] ∘ b[i]`, 0 or 1 in a byte each.
//!
//! Layouts: operands strided, output row-major over `dims`. An operand of 1 byte an element that is dense like the
//! output may be its own region.

use super::elementwise::{self, offset, put};
use super::number::{Number, Value};
use super::{Extent, Extents, Kernel};
use crate::arena::Memory;
use crate::format::Compare;
use crate::kernels::kernel_of;

/// The kernel of [`Compare`].
pub const fn kernel() -> Kernel {
    kernel_of!(Compare, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Compare::read(fields)?;
    let number = Number::of(layer.element)?;
    let extents = layer.extents()?;
    let [a_source, b_source, ..] = extents.sources;
    elementwise::each(&layer.operands.dims, |at, index| {
        let a = number.read(memory.source(a_source?)?, offset(at, &layer.operands.a_strides))?;
        let b = number.read(memory.source(b_source?)?, offset(at, &layer.operands.b_strides))?;
        let order = match (a, b) {
            (Value::Real(a), Value::Real(b)) => a.partial_cmp(&b),
            (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(&b)),
            (Value::Real(_), Value::Integer(_)) | (Value::Integer(_), Value::Real(_)) => None,
        };
        let holds = order.is_some_and(|order| match layer.kind {
            0 => order.is_eq(),
            1 => order.is_lt(),
            _ => order.is_le(),
        });
        put(memory, extents.output, index, [holds.into()])
    })?;
    Some(extents.output)
}

impl Compare {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let width = Number::of(self.element)?.bytes();
        self.operands.extents(width, 1)
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.operands.work()
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.kind <= 2
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.operands.bind(sources, ofm);
    }
}
