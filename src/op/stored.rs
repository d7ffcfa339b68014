//! Values in serde's data model: shape, element type, and the elements as little-endian bytes, so that every bit is kept.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::dtype::DType;
use super::tensor::{Data, Shape, Values};

/// Bytes, as one piece.
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Owned;
        impl Visitor<'_> for Owned {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }
        from.deserialize_byte_buf(Owned)
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bytes = Bytes(self.data.to_le_bytes());
        (&self.shape, self.data.dtype(), bytes).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (shape, dtype, Bytes(bytes)) = <(Shape, DType, Bytes)>::deserialize(from)?;
        let elements = shape
            .iter()
            .try_fold(1_usize, |product, &extent| product.checked_mul(extent));
        let wanted = elements.and_then(|elements| elements.checked_mul(dtype.bytes()));
        if wanted != Some(bytes.len()) {
            let found = bytes.len();
            return Err(Error::custom(format!(
                "{dtype} of shape {shape:?} in {found} bytes"
            )));
        }
        Ok(Self::new(shape, Data::from_le_bytes(dtype, &bytes)))
    }
}
