//! Functions of one real. May run in place.

use super::function::Function;
use super::{region, words_mut};
use crate::arena::Memory;
use crate::format::{FunctionF32, UnaryF32};
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, source};
use crate::kernels::{FIRST_IN_PLACE, only};

/// The kernel of [`UnaryF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(UnaryF32, run_simple)
}

/// The kernel of [`FunctionF32`].
pub const fn function() -> Kernel {
    kernel_of!(FunctionF32, run_function)
}

fn run_simple(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = UnaryF32::read(fields)?;
    let function = Function::of(layer.kind)?;
    let extents = layer.extents()?;
    for slot in words_mut(memory.output_from_source(&extents)?) {
        let x = f32::from_le_bytes(*slot);
        *slot = function.simple(x, layer.alpha, layer.beta)?.to_le_bytes();
    }
    Some(extents.output)
}

fn run_function(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = FunctionF32::read(fields)?;
    let function = Function::of(layer.kind)?;
    let extents = layer.extents()?;
    for slot in words_mut(memory.output_from_source(&extents)?) {
        let x = f32::from_le_bytes(*slot);
        *slot = function.transcendental(x).to_le_bytes();
    }
    Some(extents.output)
}

macro_rules! of_one_real {
    ($name:ident, $is_valid:expr) => {
        impl $name {
            pub(crate) fn extents(&self) -> Option<Extents> {
                Some(Extents {
                    sources: only(region(self.ifm, self.count)?),
                    in_place: FIRST_IN_PLACE,
                    output: region(self.ofm, self.count)?,
                    ..Extents::default()
                })
            }

            pub(crate) fn work(&self) -> Option<u64> {
                Some(self.count.into())
            }

            pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
                $is_valid(self)
            }

            pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
                self.ifm = source(sources, 0);
                self.ofm = ofm;
            }
        }
    };
}

of_one_real! { UnaryF32, |record: &UnaryF32| match Function::of(record.kind) {
    Some(Function::Clamp) => record.alpha.total_cmp(&record.beta).is_le(),
    Some(function) => function.is_simple(),
    None => false,
} }
of_one_real! { FunctionF32, |record: &FunctionF32| {
    Function::of(record.kind).is_some_and(|function| !function.is_simple())
} }
