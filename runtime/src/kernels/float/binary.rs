//! Two broadcast operands of reals: `ofm[i] = clamp(a[i] ∘ b[i])`.
//!
//! Layouts: operands strided, output row-major over `dims`. An operand that is dense like the output may be its own
//! region.

use super::function::Operation;
use super::{WIDTH, clamp};
use crate::arena::Memory;
use crate::format::{BinaryF32, PowerF32};
use crate::kernels::elementwise::{self, element, put};
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel};

/// The kernel of [`BinaryF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(BinaryF32, run_simple)
}

/// The kernel of [`PowerF32`].
pub const fn power() -> Kernel {
    kernel_of!(PowerF32, run_power)
}

fn run_simple(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = BinaryF32::read(fields)?;
    let operation = Operation::of(layer.kind)?;
    run(&layer, memory, |a, b| operation.simple(a, b))
}

fn run_power(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let PowerF32(layer) = PowerF32::read(fields)?;
    let operation = Operation::of(layer.kind)?;
    run(&layer, memory, |a, b| Some(operation.power(a, b)))
}

#[inline(always)]
fn run(
    layer: &BinaryF32,
    memory: &mut Memory<'_>,
    operation: impl Fn(f32, f32) -> Option<f32>,
) -> Option<Extent> {
    let extents = layer.extents()?;
    let [a_source, b_source, ..] = extents.sources;
    elementwise::each(&layer.operands.dims, |at, index| {
        let a = element(
            memory,
            a_source?,
            elementwise::offset(at, &layer.operands.a_strides),
        )?;
        let b = element(
            memory,
            b_source?,
            elementwise::offset(at, &layer.operands.b_strides),
        )?;
        let y = operation(f32::from_le_bytes(*a), f32::from_le_bytes(*b))?;
        put(
            memory,
            extents.output,
            index,
            clamp(y, layer.min, layer.max).to_le_bytes(),
        )
    })?;
    Some(extents.output)
}

impl BinaryF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        self.operands.extents(WIDTH, WIDTH)
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.operands.work()
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        let is_kind = Operation::of(self.kind).is_some_and(Operation::is_simple);
        is_kind && self.min.total_cmp(&self.max).is_le()
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.operands.bind(sources, ofm);
    }
}

impl PowerF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        self.0.extents()
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.0.work()
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        let is_kind = Operation::of(self.0.kind).is_some_and(|operation| !operation.is_simple());
        is_kind && self.0.min.total_cmp(&self.0.max).is_le()
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, state: u32) {
        self.0.bind(sources, ofm, constants, state);
    }
}
