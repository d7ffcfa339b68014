//! Element types and the values of constants.

use tinsmith_proto::TensorProto;
use tinsmith_proto::tensor_proto::{DataLocation, DataType};

use crate::op::OpError;
use crate::op::tensor::{DType, Data, Shape, Values};

/// No tensor of a model for small devices comes near this; arithmetic on sizes below it cannot overflow.
pub(super) const MAX_ELEMENTS: usize = 1 << 31;

/// The element type of an ONNX number for one.
pub(super) fn dtype(number: i32) -> Result<DType, OpError> {
    let found = match DataType::try_from(number) {
        Ok(DataType::Float) => return Ok(DType::F32),
        Ok(DataType::Double) => return Ok(DType::F64),
        Ok(DataType::Int8) => return Ok(DType::I8),
        Ok(DataType::Uint8) => return Ok(DType::U8),
        Ok(DataType::Int16) => return Ok(DType::I16),
        Ok(DataType::Int32) => return Ok(DType::I32),
        Ok(DataType::Int64) => return Ok(DType::I64),
        Ok(DataType::Bool) => return Ok(DType::Bool),
        Ok(other) => other.as_str_name().to_lowercase(),
        Err(_) => format!("number {number}"),
    };
    let error = OpError::new(format!(
        "element type float, double, int8, uint8, int16, int32, int64 or bool wanted, {found} found"
    ));
    Err(if matches!(found.as_str(), "float16" | "bfloat16") {
        error.with_help("export the model in float32")
    } else {
        error
    })
}

/// A shape whose element count stays below [`MAX_ELEMENTS`].
pub(super) fn checked_shape(dims: &[i64]) -> Result<Shape, OpError> {
    let shape = dims
        .iter()
        .map(|&extent| usize::try_from(extent).ok())
        .collect::<Option<Shape>>()
        .ok_or_else(|| OpError::new(format!("extents of at least 0 wanted, {dims:?} found")))?;
    elements(&shape)?;
    Ok(shape)
}

/// The element count of a shape, if it is below [`MAX_ELEMENTS`]. So is the product of any of its extents but zeros.
pub(super) fn elements(shape: &[usize]) -> Result<usize, OpError> {
    let mut extents = shape.iter().filter(|&&extent| extent > 0);
    let product = extents
        .try_fold(1_usize, |product, &extent| product.checked_mul(extent))
        .filter(|&product| product <= MAX_ELEMENTS)
        .ok_or_else(|| {
            OpError::new(format!(
                "at most 2^31 elements wanted, a tensor of shape {shape:?} found"
            ))
        })?;
    Ok(if shape.contains(&0) { 0 } else { product })
}

/// The values of a constant.
///
/// # Errors
/// Where they are in another file, of a type not supported, or not as many as the shape says.
pub(super) fn values(tensor: &TensorProto) -> Result<Values, OpError> {
    if tensor.data_location == DataLocation::External as i32 || !tensor.external_data.is_empty() {
        let location = tensor.external_data.iter().find(|entry| entry.key == "location");
        let file = location.map_or("another file", |entry| entry.value.as_str());
        return Err(
            OpError::new(format!("values inside the model wanted, found in `{file}`"))
                .with_help("save the model in one file, without external data"),
        );
    }
    if tensor.segment.is_some() {
        return Err(OpError::new("a whole tensor wanted, a segment found"));
    }
    let dtype = dtype(tensor.data_type)?;
    let shape = checked_shape(&tensor.dims)?;
    let count = elements(&shape)?;
    let data = if tensor.raw_data.is_empty() {
        typed(tensor, dtype)?
    } else {
        raw(&tensor.raw_data, dtype)?
    };
    if data.len() != count {
        return Err(OpError::new(format!(
            "{count} values for shape {shape:?} wanted, {} found",
            data.len()
        )));
    }
    Ok(Values::new(shape, data))
}

/// Little-endian values without gaps.
fn raw(bytes: &[u8], dtype: DType) -> Result<Data, OpError> {
    fn chunks<const N: usize, T>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks().0.iter().map(|&chunk| from(chunk)).collect()
    }
    if !bytes.len().is_multiple_of(dtype.bytes()) {
        return Err(OpError::new(format!(
            "whole values of {dtype} wanted, {} bytes found",
            bytes.len()
        )));
    }
    Ok(match dtype {
        DType::F32 => Data::F32(chunks(bytes, f32::from_le_bytes)),
        DType::F64 => Data::F64(chunks(bytes, f64::from_le_bytes)),
        DType::I8 => Data::I8(chunks(bytes, i8::from_le_bytes)),
        DType::U8 => Data::U8(bytes.to_vec()),
        DType::I16 => Data::I16(chunks(bytes, i16::from_le_bytes)),
        DType::I32 => Data::I32(chunks(bytes, i32::from_le_bytes)),
        DType::I64 => Data::I64(chunks(bytes, i64::from_le_bytes)),
        DType::Bool => Data::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
    })
}

/// Values in the field of their type.
fn typed(tensor: &TensorProto, dtype: DType) -> Result<Data, OpError> {
    fn narrow<T: TryFrom<i32>>(values: &[i32], dtype: DType) -> Result<Vec<T>, OpError> {
        let convert = |&value| {
            T::try_from(value).map_err(|_| OpError::new(format!("values of {dtype} wanted, {value} found")))
        };
        values.iter().map(convert).collect()
    }
    let ints = &tensor.int32_data;
    Ok(match dtype {
        DType::F32 => Data::F32(tensor.float_data.clone()),
        DType::F64 => Data::F64(tensor.double_data.clone()),
        DType::I8 => Data::I8(narrow(ints, dtype)?),
        DType::U8 => Data::U8(narrow(ints, dtype)?),
        DType::I16 => Data::I16(narrow(ints, dtype)?),
        DType::I32 => Data::I32(ints.clone()),
        DType::I64 => Data::I64(tensor.int64_data.clone()),
        DType::Bool => Data::Bool(ints.iter().map(|&value| value != 0).collect()),
    })
}
