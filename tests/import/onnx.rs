//! ONNX models built in code.

use tinsmith::op::tensor::{DType, Data, Narrow, Values};
use tinsmith_proto::attribute_proto::AttributeType;
use tinsmith_proto::tensor_proto::DataType;
use tinsmith_proto::tensor_shape_proto::{Dimension, dimension};
use tinsmith_proto::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// A model in the making; its fields may be bent at will before it is encoded.
#[derive(Clone)]
pub(crate) struct Onnx(pub(crate) ModelProto);

/// An extent of an input.
pub(crate) enum Dim {
    N(i64),
    Named(&'static str),
}

impl From<i64> for Dim {
    fn from(n: i64) -> Self {
        Self::N(n)
    }
}
impl From<&'static str> for Dim {
    fn from(name: &'static str) -> Self {
        Self::Named(name)
    }
}

impl Onnx {
    pub(crate) fn new(opset: i64) -> Self {
        Self(ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: opset,
            }],
            graph: Some(GraphProto {
                name: "test".into(),
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    pub(crate) fn graph(&mut self) -> &mut GraphProto {
        self.0.graph.as_mut().unwrap()
    }

    /// An f32 input.
    pub(crate) fn input<D: Into<Dim>>(self, name: &str, dims: impl IntoIterator<Item = D>) -> Self {
        self.typed_input(name, DataType::Float, dims)
    }

    pub(crate) fn typed_input<D: Into<Dim>>(
        mut self,
        name: &str,
        dtype: DataType,
        dims: impl IntoIterator<Item = D>,
    ) -> Self {
        let dim = dims
            .into_iter()
            .map(|dim| Dimension {
                value: Some(match dim.into() {
                    Dim::N(n) => dimension::Value::DimValue(n),
                    Dim::Named(name) => dimension::Value::DimParam(name.into()),
                }),
                ..Default::default()
            })
            .collect();
        self.graph().input.push(ValueInfoProto {
            name: name.into(),
            r#type: Some(TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: dtype.into(),
                    shape: Some(TensorShapeProto { dim }),
                })),
                ..Default::default()
            }),
            ..Default::default()
        });
        self
    }

    /// An output whose type is left open.
    pub(crate) fn output(mut self, name: &str) -> Self {
        self.graph().output.push(ValueInfoProto {
            name: name.into(),
            ..Default::default()
        });
        self
    }

    pub(crate) fn constant(mut self, name: &str, values: &Values) -> Self {
        let mut proto = tensor(values);
        proto.name = name.into();
        self.graph().initializer.push(proto);
        self
    }

    pub(crate) fn ints(self, name: &str, ints: &[i64]) -> Self {
        self.constant(name, &Values::new([ints.len()], Data::I64(ints.to_vec())))
    }

    /// f32 zeros.
    pub(crate) fn zeros(self, name: &str, shape: &[usize]) -> Self {
        let count = shape.iter().product();
        self.constant(name, &Values::f32(shape, vec![0.0; count]))
    }

    /// A node named after its first output in capitals.
    pub(crate) fn node(
        mut self,
        op_type: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> Self {
        let (domain, op_type) = op_type.rsplit_once('.').unwrap_or(("", op_type));
        let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        self.graph().node.push(NodeProto {
            input: strings(inputs),
            output: strings(outputs),
            name: outputs.first().map_or(String::new(), |name| name.to_uppercase()),
            op_type: op_type.into(),
            domain: domain.into(),
            attribute,
            ..Default::default()
        });
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }
}

fn attribute(name: &str, ty: AttributeType) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: ty.into(),
        ..Default::default()
    }
}

pub(crate) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        i,
        ..attribute(name, AttributeType::Int)
    }
}

pub(crate) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        ints: ints.to_vec(),
        ..attribute(name, AttributeType::Ints)
    }
}

pub(crate) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        f,
        ..attribute(name, AttributeType::Float)
    }
}

pub(crate) fn floats(name: &str, floats: &[f32]) -> AttributeProto {
    AttributeProto {
        floats: floats.to_vec(),
        ..attribute(name, AttributeType::Floats)
    }
}

pub(crate) fn word(name: &str, s: &str) -> AttributeProto {
    AttributeProto {
        s: s.into(),
        ..attribute(name, AttributeType::String)
    }
}

pub(crate) fn strings(name: &str, strings: &[&str]) -> AttributeProto {
    AttributeProto {
        strings: strings.iter().map(|s| s.as_bytes().to_vec()).collect(),
        ..attribute(name, AttributeType::Strings)
    }
}

pub(crate) fn value(name: &str, values: &Values) -> AttributeProto {
    AttributeProto {
        t: Some(tensor(values)),
        ..attribute(name, AttributeType::Tensor)
    }
}

pub(crate) fn subgraph(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        g: Some(graph),
        ..attribute(name, AttributeType::Graph)
    }
}

pub(crate) fn data_type(dtype: DType) -> DataType {
    match dtype {
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
        DType::Narrow(Narrow::I2) => DataType::Int2,
        DType::Narrow(Narrow::U2) => DataType::Uint2,
        DType::Narrow(Narrow::I4) => DataType::Int4,
        DType::Narrow(Narrow::U4) => DataType::Uint4,
        DType::Narrow(Narrow::F4E2M1) => DataType::Float4e2m1,
        DType::Narrow(Narrow::F8E4M3Fn) => DataType::Float8e4m3fn,
        DType::Narrow(Narrow::F8E4M3FnUz) => DataType::Float8e4m3fnuz,
        DType::Narrow(Narrow::F8E5M2) => DataType::Float8e5m2,
        DType::Narrow(Narrow::F8E5M2FnUz) => DataType::Float8e5m2fnuz,
        DType::Narrow(Narrow::F8E8M0) => DataType::Float8e8m0,
    }
}

/// Elements as ONNX stores them: narrow ones share bytes, the first in the lowest bits.
fn raw(data: &Data) -> Vec<u8> {
    let bytes = data.to_le_bytes();
    let DType::Narrow(narrow) = data.dtype() else {
        return bytes;
    };
    let bits = narrow.bits();
    let join = |codes: &[u8]| {
        codes
            .iter()
            .rev()
            .fold(0, |byte: u32, code| byte << bits | u32::from(*code))
    };
    bytes.chunks(8 / bits).map(|codes| join(codes) as u8).collect()
}

/// A tensor with its elements as raw bytes.
pub(crate) fn tensor(values: &Values) -> TensorProto {
    TensorProto {
        dims: values.shape.iter().map(|&extent| extent as i64).collect(),
        data_type: data_type(values.data.dtype()).into(),
        raw_data: raw(&values.data),
        ..Default::default()
    }
}
