//! How much memory a file's messages would take, before any is taken: an empty node is two bytes in a file and more
//! than two hundred in memory.

use std::mem::size_of;

use tinsmith_proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    StringStringEntryProto, TensorAnnotation, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    tensor_shape_proto::Dimension, type_proto,
};

use super::ImportError;

/// Bytes that messages may take beyond [`PER_FILE_BYTE`].
const MESSAGE_BYTES: usize = 24 << 20;
/// Real models have names and values beside their messages.
const PER_FILE_BYTE: usize = 4;
/// Messages in messages; the decoder takes no more.
const MAX_DEPTH: usize = 100;

/// The kinds of messages that may be many.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    Tensor,
    Sparse,
    Value,
    Type,
    TensorType,
    Shape,
    Dim,
    Pair,
    Annotation,
    Opset,
    /// A string of a list of strings.
    Text,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::Model => size_of::<ModelProto>(),
            Self::Graph => size_of::<GraphProto>(),
            Self::Function => size_of::<FunctionProto>(),
            Self::Node => size_of::<NodeProto>(),
            Self::Attribute => size_of::<AttributeProto>(),
            Self::Tensor => size_of::<TensorProto>(),
            Self::Sparse => size_of::<SparseTensorProto>(),
            Self::Value => size_of::<ValueInfoProto>(),
            Self::Type => size_of::<TypeProto>(),
            Self::TensorType => size_of::<type_proto::Tensor>(),
            Self::Shape => size_of::<TensorShapeProto>(),
            Self::Dim => size_of::<Dimension>(),
            Self::Pair => size_of::<StringStringEntryProto>(),
            Self::Annotation => size_of::<TensorAnnotation>(),
            Self::Opset => size_of::<OperatorSetIdProto>(),
            Self::Text => size_of::<String>(),
        }
    }

    /// The kind of a field of this kind's message.
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 25) => Self::Function,
            (Self::Model, 8) | (Self::Function, 9) => Self::Opset,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Graph, 11..=13) | (Self::Function, 12) => Self::Value,
            (Self::Value, 2) | (Self::Attribute, 14 | 15) => Self::Type,
            (Self::Type, 1 | 8) => Self::TensorType,
            (Self::Type, 4 | 5 | 9) => Self::Type,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Shape, 1) => Self::Dim,
            (Self::Graph, 14) => Self::Annotation,
            (Self::Model | Self::Function, 14)
            | (Self::Graph, 16)
            | (Self::Node, 9)
            | (Self::Value, 4)
            | (Self::Tensor, 13 | 16)
            | (Self::Annotation, 2) => Self::Pair,
            (Self::Node, 1 | 2) | (Self::Function, 4..=6) | (Self::Attribute, 9) | (Self::Tensor, 6) => {
                Self::Text
            }
            _ => return None,
        })
    }
}

/// Refuses files whose messages would take memory out of proportion.
pub(super) fn weigh(file: &[u8]) -> Result<(), ImportError> {
    let most = MESSAGE_BYTES.saturating_add(file.len().saturating_mul(PER_FILE_BYTE));
    let (mut total, mut nodes) = (0_usize, 0_usize);
    let mut open = vec![(file, Kind::Model)];
    while let Some((rest, kind)) = open.last_mut() {
        let kind = *kind;
        // What is no field, the decoder reports.
        let Some((number, inner)) = field(rest) else {
            open.pop();
            continue;
        };
        let Some(child) = inner.and_then(|_| kind.field(number)) else {
            continue;
        };
        total = total.saturating_add(child.bytes());
        nodes += usize::from(matches!(child, Kind::Node));
        if total > most {
            return Err(ImportError::TooMuch { nodes });
        }
        if let Some(inner) = inner.filter(|inner| !inner.is_empty())
            && !matches!(child, Kind::Text)
            && open.len() < MAX_DEPTH
        {
            open.push((inner, child));
        }
    }
    Ok(())
}

/// Takes a field off the front: its number, and its bytes where it has a length.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let tag = varint(rest)?;
    let skip = |rest: &mut &'a [u8], bytes: u64| -> Option<&'a [u8]> {
        let (skipped, left) = rest.split_at_checked(usize::try_from(bytes).ok()?)?;
        *rest = left;
        Some(skipped)
    };
    let inner = match tag & 7 {
        0 => {
            varint(rest)?;
            None
        }
        1 => skip(rest, 8).map(|_| None)?,
        2 => {
            let bytes = varint(rest)?;
            Some(skip(rest, bytes)?)
        }
        5 => skip(rest, 4).map(|_| None)?,
        _ => return None,
    };
    Some((tag >> 3, inner))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, left) = rest.split_first()?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
