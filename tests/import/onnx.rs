//! ONNX models built in code.

use tinsmith::op::tensor::{DType, Data, Values};
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

pub(crate) fn word(name: &str, s: &str) -> AttributeProto {
    AttributeProto {
        s: s.into(),
        ..attribute(name, AttributeType::String)
    }
}

pub(crate) fn value(name: &str, values: &Values) -> AttributeProto {
    AttributeProto {
        t: Some(tensor(values)),
        ..attribute(name, AttributeType::Tensor)
    }
}

pub(crate) fn subgraph(name: &str) -> AttributeProto {
    AttributeProto {
        g: Some(GraphProto::default()),
        ..attribute(name, AttributeType::Graph)
    }
}

pub(crate) fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::Float,
        DType::F64 => DataType::Double,
        DType::I8 => DataType::Int8,
        DType::U8 => DataType::Uint8,
        DType::I16 => DataType::Int16,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::Bool => DataType::Bool,
    }
}

/// A tensor with its elements as raw bytes.
pub(crate) fn tensor(values: &Values) -> TensorProto {
    let raw_data: Vec<u8> = match &values.data {
        Data::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I8(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::U8(v) => v.clone(),
        Data::I16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Data::Bool(v) => v.iter().map(|&x| x.into()).collect(),
    };
    TensorProto {
        dims: values.shape.iter().map(|&extent| extent as i64).collect(),
        data_type: data_type(values.data.dtype()).into(),
        raw_data,
        ..Default::default()
    }
}

/// The elements of a tensor stored as raw bytes; `None` of types that the compiler has not.
pub(crate) fn values(tensor: &TensorProto) -> Option<Values> {
    fn chunks<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks().0.iter().map(|&chunk| from(chunk)).collect()
    }
    let raw = tensor.raw_data.as_slice();
    let data = match DataType::try_from(tensor.data_type).ok()? {
        DataType::Float => Data::F32(chunks(raw, f32::from_le_bytes)),
        DataType::Double => Data::F64(chunks(raw, f64::from_le_bytes)),
        DataType::Int8 => Data::I8(chunks(raw, i8::from_le_bytes)),
        DataType::Uint8 => Data::U8(raw.to_vec()),
        DataType::Int16 => Data::I16(chunks(raw, i16::from_le_bytes)),
        DataType::Int32 => Data::I32(chunks(raw, i32::from_le_bytes)),
        DataType::Int64 => Data::I64(chunks(raw, i64::from_le_bytes)),
        DataType::Bool => Data::Bool(raw.iter().map(|&byte| byte != 0).collect()),
        _ => return None,
    };
    let shape: Vec<usize> = tensor.dims.iter().map(|&extent| extent as usize).collect();
    (shape.iter().product::<usize>() == data.len()).then(|| Values::new(shape, data))
}
