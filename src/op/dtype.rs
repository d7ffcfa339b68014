//! Element types: <https://onnx.ai/onnx/repo-docs/IR.html#tensor-element-types>.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::narrow::Narrow;

/// The element types that a model may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum DType {
    F32,
    F64,
    F16,
    BF16,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
    /// Types of at most eight bits that hold values, but have no arithmetic of their own.
    Narrow(Narrow),
}

impl DType {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::F32,
        Self::F64,
        Self::F16,
        Self::BF16,
        Self::I8,
        Self::U8,
        Self::I16,
        Self::U16,
        Self::I32,
        Self::U32,
        Self::I64,
        Self::U64,
        Self::Bool,
        Self::Narrow(Narrow::I2),
        Self::Narrow(Narrow::U2),
        Self::Narrow(Narrow::I4),
        Self::Narrow(Narrow::U4),
        Self::Narrow(Narrow::F4E2M1),
        Self::Narrow(Narrow::F8E4M3Fn),
        Self::Narrow(Narrow::F8E4M3FnUz),
        Self::Narrow(Narrow::F8E5M2),
        Self::Narrow(Narrow::F8E5M2FnUz),
        Self::Narrow(Narrow::F8E8M0),
    ];

    /// Bytes of one element in memory; narrow ones take a byte each.
    pub const fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool | Self::Narrow(_) => 1,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Whether it holds reals and has arithmetic.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::BF16)
    }

    /// Whether it holds integers and has arithmetic.
    pub const fn is_integer(self) -> bool {
        !self.is_float() && !matches!(self, Self::Bool | Self::Narrow(_))
    }

    /// Its name in text graphs and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::Bool => "bool",
            Self::Narrow(narrow) => narrow.name(),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no element type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no element type")]
pub struct UnknownDType(String);

impl FromStr for DType {
    type Err = UnknownDType;

    fn from_str(name: &str) -> Result<Self, UnknownDType> {
        let found = Self::ALL.into_iter().find(|dtype| dtype.name() == name);
        found.ok_or_else(|| UnknownDType(name.to_owned()))
    }
}

impl Serialize for DType {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for DType {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Narrow {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        DType::Narrow(*self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Narrow {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match DType::deserialize(from)? {
            DType::Narrow(narrow) => Ok(narrow),
            other => Err(serde::de::Error::custom(format!(
                "a type of at most eight bits without arithmetic wanted, {other} found"
            ))),
        }
    }
}
