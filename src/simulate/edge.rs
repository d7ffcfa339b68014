//! The blob's edge: what a person has, in the ONNX model's element type and layout, to what the blob stores, and back.
//! All of it follows from the blob's metadata.

use tinsmith_runtime::arith;
use tinsmith_runtime::blob::Blob;
use tinsmith_runtime::format::metadata::{DType as Stored, Layout, Port};

use crate::op::tensor::{DType, Data, TensorType, Values, row_major_strides, strided_indices};

/// Why values do not pass the blob's edge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// The shape or the element type is not the port's.
    #[error("`{port}` takes {wanted}, but {found} was given")]
    Type {
        /// The input's name.
        port: String,
        /// What the model has.
        wanted: TensorType,
        /// What was given.
        found: TensorType,
    },
    /// A real that no code stands for.
    #[error("`{port}`: element {index} is not a number")]
    NotANumber {
        /// The input's name.
        port: String,
        /// Which element, in row-major order.
        index: usize,
    },
    /// The number of bytes is not the port's.
    #[error("`{port}` has {wanted} bytes, but {found} were given")]
    Bytes {
        /// The port's name.
        port: String,
        /// The port's bytes.
        wanted: usize,
        /// Bytes given.
        found: usize,
    },
    /// The blob stores the port in a type that does not stand for the model's.
    #[error(
        "`{port}` is {model} in the model and {stored} in the blob, and nothing converts between the two"
    )]
    Unconvertible {
        /// The port's name.
        port: String,
        /// The model's element type.
        model: DType,
        /// The blob's element type.
        stored: DType,
    },
}

/// Shape and element type that the ONNX model has at a port.
pub fn model_type(port: &Port<'_>) -> TensorType {
    let mut shape: Vec<usize> = port
        .shape
        .as_slice()
        .iter()
        .map(|&extent| extent as usize)
        .collect();
    if port.layout == Layout::ChannelsLast && shape.len() > 1 {
        shape[1..].rotate_right(1);
    }
    TensorType::new(dtype(port.model_dtype), shape)
}

/// The bytes that the blob stores for values as the ONNX model has them: permuted, quantized.
///
/// # Errors
/// Where shape or element type are not the model's, or an element is not a number.
pub fn store(port: &Port<'_>, values: &Values) -> Result<Vec<u8>, EdgeError> {
    let wanted = model_type(port);
    if values.ty() != wanted {
        return Err(EdgeError::Type {
            port: port.name.to_owned(),
            wanted,
            found: values.ty(),
        });
    }
    let data = match port.layout {
        Layout::Onnx => values.data.clone(),
        Layout::ChannelsLast => values.data.gather(channels_last_from(&wanted.shape).into_iter()),
    };
    let quantize = |x: f64| arith::quantize(x as f32, port.scale, port.zero_point as i8);
    let quantize_wide = |x: f64| arith::quantize_wide(x as f32, port.scale, port.zero_point as i16);
    let data = match (data, port.dtype) {
        (Data::F32(reals), Stored::I8) => Data::I8(reals.iter().map(|&x| quantize(x.into())).collect()),
        (Data::F64(reals), Stored::I8) => Data::I8(reals.iter().map(|&x| quantize(x)).collect()),
        (Data::F32(reals), Stored::I16) => {
            Data::I16(reals.iter().map(|&x| quantize_wide(x.into())).collect())
        }
        (Data::F64(reals), Stored::I16) => Data::I16(reals.iter().map(|&x| quantize_wide(x)).collect()),
        (Data::U16(codes), Stored::I16) => {
            Data::I16(codes.iter().map(|&code| flip_wide(code) as i16).collect())
        }
        (Data::U8(codes), Stored::I8) => Data::I8(codes.iter().map(|&code| flip(code) as i8).collect()),
        (data, stored) if data.dtype() == dtype(stored) => data,
        _ => return Err(unconvertible(port)),
    };
    // What stays a real may be none.
    let not_a_number = if wanted.dtype.is_float() && matches!(port.dtype, Stored::I8 | Stored::I16) {
        values.to_f64().iter().position(|x| x.is_nan())
    } else {
        None
    };
    match not_a_number {
        Some(index) => Err(EdgeError::NotANumber {
            port: port.name.to_owned(),
            index,
        }),
        None => Ok(data.to_le_bytes()),
    }
}

/// The values, as the ONNX model has them, that the blob's bytes stand for.
///
/// # Errors
/// Where the number of bytes is not the port's.
pub fn load(port: &Port<'_>, bytes: &[u8]) -> Result<Values, EdgeError> {
    if bytes.len() != port.bytes as usize {
        return Err(EdgeError::Bytes {
            port: port.name.to_owned(),
            wanted: port.bytes as usize,
            found: bytes.len(),
        });
    }
    let ty = model_type(port);
    let dequantize = |code: i8| arith::dequantize(code, port.scale, port.zero_point as i8);
    let dequantize_wide = |code: i16| arith::dequantize_wide(code, port.scale, port.zero_point as i16);
    let data = match (Data::from_le_bytes(dtype(port.dtype), bytes), ty.dtype) {
        (Data::I8(codes), DType::F32) => Data::F32(codes.into_iter().map(dequantize).collect()),
        (Data::I8(codes), DType::F64) => {
            Data::F64(codes.into_iter().map(|code| dequantize(code).into()).collect())
        }
        (Data::I16(codes), DType::F32) => Data::F32(codes.into_iter().map(dequantize_wide).collect()),
        (Data::I16(codes), DType::F64) => Data::F64(
            codes
                .into_iter()
                .map(|code| dequantize_wide(code).into())
                .collect(),
        ),
        (Data::I16(codes), DType::U16) => {
            Data::U16(codes.into_iter().map(|code| flip_wide(code as u16)).collect())
        }
        (Data::I8(codes), DType::U8) => Data::U8(codes.into_iter().map(|code| flip(code as u8)).collect()),
        (data, model) if data.dtype() == model => data,
        _ => return Err(unconvertible(port)),
    };
    let data = match port.layout {
        Layout::Onnx => data,
        Layout::ChannelsLast => data.gather(channels_first_from(&ty.shape).into_iter()),
    };
    Ok(Values::new(ty.shape, data))
}

/// The bytes that a blob stores for a whole sample: one value per input.
///
/// # Errors
/// As [`store`].
pub fn store_all(blob: &Blob<'_>, values: &[Values]) -> Result<Vec<Vec<u8>>, EdgeError> {
    blob.inputs()
        .zip(values)
        .map(|(port, values)| store(&port, values))
        .collect()
}

/// The values that the bytes of all outputs stand for.
///
/// # Errors
/// As [`load`].
pub fn load_all(blob: &Blob<'_>, outputs: &[Vec<u8>]) -> Result<Vec<Values>, EdgeError> {
    blob.outputs()
        .zip(outputs)
        .map(|(port, bytes)| load(&port, bytes))
        .collect()
}

/// The same step of an unsigned scale as a signed one, 128 lower, or back.
const fn flip(code: u8) -> u8 {
    code ^ 0x80
}

/// The same of 16 bits, 32768 lower.
const fn flip_wide(code: u16) -> u16 {
    code ^ 0x8000
}

fn unconvertible(port: &Port<'_>) -> EdgeError {
    EdgeError::Unconvertible {
        port: port.name.to_owned(),
        model: dtype(port.model_dtype),
        stored: dtype(port.dtype),
    }
}

/// Where each element of a channels-last tensor stands in the ONNX tensor of `shape`.
fn channels_last_from(shape: &[usize]) -> Vec<usize> {
    let (mut dims, mut strides) = (shape.to_vec(), row_major_strides(shape));
    if shape.len() > 1 {
        dims[1..].rotate_left(1);
        strides[1..].rotate_left(1);
    }
    strided_indices(&dims, &strides, 0)
}

/// Where each element of the ONNX tensor of `shape` stands in the channels-last one.
fn channels_first_from(shape: &[usize]) -> Vec<usize> {
    let mut from = vec![0; shape.iter().product()];
    channels_last_from(shape)
        .into_iter()
        .enumerate()
        .for_each(|(to, index)| from[index] = to);
    from
}

/// The compiler's name of an element type of the blob.
fn dtype(stored: Stored) -> DType {
    match stored {
        Stored::I8 => DType::I8,
        Stored::U8 => DType::U8,
        Stored::I16 => DType::I16,
        Stored::I32 => DType::I32,
        Stored::I64 => DType::I64,
        Stored::F32 => DType::F32,
        Stored::F64 => DType::F64,
        Stored::Bool => DType::Bool,
        Stored::U16 => DType::U16,
        Stored::U32 => DType::U32,
        Stored::U64 => DType::U64,
        Stored::F16 => DType::F16,
        Stored::BF16 => DType::BF16,
    }
}
