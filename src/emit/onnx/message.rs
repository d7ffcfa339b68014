//! Parts of ONNX files: tensors, types, attributes.

use tinsmith_proto::attribute_proto::AttributeType;
use tinsmith_proto::tensor_proto::DataType;
use tinsmith_proto::tensor_shape_proto::{Dimension, dimension};
use tinsmith_proto::{
    AttributeProto, GraphProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

use crate::op::tensor::{DType, Narrow, TensorType, Values, View};

/// The number by which files name an element type.
pub(super) fn number(dtype: DType) -> i32 {
    let named = match dtype {
        DType::F32 => DataType::Float,
        DType::F64 => DataType::Double,
        DType::F16 => DataType::Float16,
        DType::BF16 => DataType::Bfloat16,
        DType::I8 => DataType::Int8,
        DType::U8 => DataType::Uint8,
        DType::I16 => DataType::Int16,
        DType::U16 => DataType::Uint16,
        DType::I32 => DataType::Int32,
        DType::U32 => DataType::Uint32,
        DType::I64 => DataType::Int64,
        DType::U64 => DataType::Uint64,
        DType::Bool => DataType::Bool,
        DType::Narrow(narrow) => match narrow {
            Narrow::I2 => DataType::Int2,
            Narrow::U2 => DataType::Uint2,
            Narrow::I4 => DataType::Int4,
            Narrow::U4 => DataType::Uint4,
            Narrow::F4E2M1 => DataType::Float4e2m1,
            Narrow::F8E4M3Fn => DataType::Float8e4m3fn,
            Narrow::F8E4M3FnUz => DataType::Float8e4m3fnuz,
            Narrow::F8E5M2 => DataType::Float8e5m2,
            Narrow::F8E5M2FnUz => DataType::Float8e5m2fnuz,
            Narrow::F8E8M0 => DataType::Float8e8m0,
        },
    };
    named as i32
}

/// A constant under a name.
pub(super) fn tensor(name: &str, values: &Values) -> TensorProto {
    TensorProto {
        dims: values.shape.iter().map(|&extent| extent as i64).collect(),
        data_type: number(values.data.dtype()),
        name: name.into(),
        raw_data: raw(values),
        ..TensorProto::default()
    }
}

/// The elements as files have them: narrow ones packed, the first one lowest.
fn raw(values: &Values) -> Vec<u8> {
    match values.data.view() {
        View::Narrow(narrow, codes) if narrow.bits() < 8 => {
            let packed = codes.chunks(8 / narrow.bits()).map(|chunk| {
                let shifted = chunk.iter().enumerate();
                shifted.fold(0, |byte, (i, &code)| byte | code << (i * narrow.bits()))
            });
            packed.collect()
        }
        _ => values.data.to_le_bytes(),
    }
}

/// A value's name and type.
pub(super) fn value(name: &str, ty: &TensorType) -> ValueInfoProto {
    let dim = ty.shape.iter().map(|&extent| Dimension {
        value: Some(dimension::Value::DimValue(extent as i64)),
        ..Dimension::default()
    });
    let tensor = type_proto::Tensor {
        elem_type: number(ty.dtype),
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: kind.into(),
        ..AttributeProto::default()
    }
}

/// An integer or a flag.
pub(super) fn int(name: &str, i: impl Into<i64>) -> AttributeProto {
    AttributeProto {
        i: i.into(),
        ..attribute(name, AttributeType::Int)
    }
}

/// A count.
pub(super) fn count(name: &str, count: usize) -> AttributeProto {
    int(name, count as i64)
}

/// Integers.
pub(super) fn ints(name: &str, ints: impl IntoIterator<Item = i64>) -> AttributeProto {
    AttributeProto {
        ints: ints.into_iter().collect(),
        ..attribute(name, AttributeType::Ints)
    }
}

/// Counts.
pub(super) fn counts(name: &str, counts: &[usize]) -> AttributeProto {
    ints(name, counts.iter().map(|&count| count as i64))
}

/// A real.
pub(super) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        f,
        ..attribute(name, AttributeType::Float)
    }
}

/// Reals.
pub(super) fn floats(name: &str, floats: Vec<f32>) -> AttributeProto {
    AttributeProto {
        floats,
        ..attribute(name, AttributeType::Floats)
    }
}

/// A word.
pub(super) fn word(name: &str, word: &str) -> AttributeProto {
    AttributeProto {
        s: word.into(),
        ..attribute(name, AttributeType::String)
    }
}

/// Words.
pub(super) fn words(name: &str, words: &[&str]) -> AttributeProto {
    AttributeProto {
        strings: words.iter().map(|&word| word.into()).collect(),
        ..attribute(name, AttributeType::Strings)
    }
}

/// A body.
pub(super) fn graph(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        g: Some(graph),
        ..attribute(name, AttributeType::Graph)
    }
}
