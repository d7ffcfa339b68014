//! Element types that are computed with as they are: reals, integers and Booleans.

use super::float::function::kinds;

kinds! {
    /// An element type, little-endian.
    Number {
        /// Reals of 4 bytes.
        F32 = 0,
        /// 0 or 1 in a byte; what is not 0 reads as 1.
        Bool = 1,
        /// Unsigned, 1 byte.
        U8 = 2,
        /// Signed, 1 byte.
        I8 = 3,
        /// Unsigned, 2 bytes.
        U16 = 4,
        /// Signed, 2 bytes.
        I16 = 5,
        /// Unsigned, 4 bytes.
        U32 = 6,
        /// Signed, 4 bytes.
        I32 = 7,
        /// Signed, 8 bytes.
        I64 = 8,
    }
}

/// An element, whatever its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Real(f32),
    Integer(i64),
}

impl Number {
    /// Bytes of an element.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    /// Element `index`.
    pub(super) fn read(self, bytes: &[u8], index: usize) -> Option<Value> {
        Some(match self {
            Self::F32 => Value::Real(f32::from_le_bytes(at(bytes, index)?)),
            Self::Bool => Value::Integer(i64::from(at::<1>(bytes, index)? != [0])),
            Self::U8 => Value::Integer(u8::from_le_bytes(at(bytes, index)?).into()),
            Self::I8 => Value::Integer(i8::from_le_bytes(at(bytes, index)?).into()),
            Self::U16 => Value::Integer(u16::from_le_bytes(at(bytes, index)?).into()),
            Self::I16 => Value::Integer(i16::from_le_bytes(at(bytes, index)?).into()),
            Self::U32 => Value::Integer(u32::from_le_bytes(at(bytes, index)?).into()),
            Self::I32 => Value::Integer(i32::from_le_bytes(at(bytes, index)?).into()),
            Self::I64 => Value::Integer(i64::from_le_bytes(at(bytes, index)?)),
        })
    }

    /// Writes element `index`: see [`crate::format::Convert`] for what becomes of values of other types.
    pub(super) fn write(self, bytes: &mut [u8], index: usize, value: Value) -> Option<()> {
        macro_rules! put {
            ($type:ty) => {{
                let element = match value {
                    Value::Real(x) => x as $type,
                    Value::Integer(x) => x as $type,
                };
                *bytes.as_chunks_mut().0.get_mut(index)? = element.to_le_bytes();
            }};
        }
        match self {
            Self::F32 => put!(f32),
            Self::Bool => {
                let is_zero = match value {
                    Value::Real(x) => x == 0.0,
                    Value::Integer(x) => x == 0,
                };
                *bytes.get_mut(index)? = (!is_zero).into();
            }
            Self::U8 => put!(u8),
            Self::I8 => put!(i8),
            Self::U16 => put!(u16),
            Self::I16 => put!(i16),
            Self::U32 => put!(u32),
            Self::I32 => put!(i32),
            Self::I64 => put!(i64),
        }
        Some(())
    }
}

fn at<const N: usize>(bytes: &[u8], index: usize) -> Option<[u8; N]> {
    bytes.as_chunks().0.get(index).copied()
}
