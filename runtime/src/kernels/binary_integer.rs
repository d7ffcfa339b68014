//! Two broadcast operands of integers or Booleans: `ofm[i] = a[i] ∘ b[i]`, wrapped into the element type.
//!
//! Layouts: operands strided, output row-major over `dims`. An operand that is dense like the output may be its own
//! region.

use super::elementwise::{self, offset};
use super::float::function::kinds;
use super::number::{Number, Value};
use super::{Extent, Extents, Kernel};
use crate::arena::Memory;
use crate::format::BinaryInteger;
use crate::kernels::kernel_of;

kinds! {
    /// An operation on two integers. A division by zero gives 0; compilers refuse divisors that can be zero.
    IntegerOperation {
        /// The sum.
        Add = 0,
        /// The difference.
        Sub = 1,
        /// The product.
        Mul = 2,
        /// The quotient, cut toward zero.
        Div = 3,
        /// The lesser.
        Min = 4,
        /// The greater.
        Max = 5,
        /// Bits that are in both.
        And = 6,
        /// Bits that are in one or both.
        Or = 7,
        /// Bits that are in one.
        Xor = 8,
        /// The rest of the division toward −∞, of the divisor's sign.
        Mod = 9,
        /// The rest of the division toward zero, of the dividend's sign.
        Fmod = 10,
    }
}

impl IntegerOperation {
    fn apply(self, a: i64, b: i64) -> i64 {
        match self {
            Self::Add => a.wrapping_add(b),
            Self::Sub => a.wrapping_sub(b),
            Self::Mul => a.wrapping_mul(b),
            Self::Div | Self::Mod | Self::Fmod if b == 0 => 0,
            Self::Div => a.wrapping_div(b),
            Self::Min => a.min(b),
            Self::Max => a.max(b),
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
            Self::Mod => {
                let rest = a.wrapping_rem(b);
                if rest != 0 && (rest < 0) != (b < 0) {
                    rest.wrapping_add(b)
                } else {
                    rest
                }
            }
            Self::Fmod => a.wrapping_rem(b),
        }
    }
}

/// The kernel of [`BinaryInteger`].
pub const fn kernel() -> Kernel {
    kernel_of!(BinaryInteger, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = BinaryInteger::read(fields)?;
    let (operation, number) = (IntegerOperation::of(layer.kind)?, Number::of(layer.element)?);
    let extents = layer.extents()?;
    let [a_source, b_source, ..] = extents.sources;
    elementwise::each(&layer.operands.dims, |at, index| {
        let a = number.read(memory.source(a_source?)?, offset(at, &layer.operands.a_strides))?;
        let b = number.read(memory.source(b_source?)?, offset(at, &layer.operands.b_strides))?;
        let (Value::Integer(a), Value::Integer(b)) = (a, b) else {
            return None;
        };
        let y = Value::Integer(operation.apply(a, b));
        number.write(memory.output(extents.output)?, index, y)
    })?;
    Some(extents.output)
}

impl BinaryInteger {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let width = Number::of(self.element)?.bytes();
        self.operands.extents(width, width)
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.operands.work()
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        IntegerOperation::of(self.kind).is_some() && self.element != Number::F32.code()
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.operands.bind(sources, ofm);
    }
}
