//! Element types and the values of constants.

use std::fmt::Display;

use half::{bf16, f16};
use tinsmith_proto::TensorProto;
use tinsmith_proto::tensor_proto::DataType;

use super::external::{External, is_external};
use crate::op::OpError;
use crate::op::tensor::{DType, Data, Narrow, Shape, TensorType, Values, row_major_strides};

/// No tensor of a model for small devices comes near this; arithmetic on sizes below it cannot overflow.
pub(super) const MAX_ELEMENTS: usize = 1 << 31;

/// The element type of an ONNX number for one.
pub(super) fn dtype(number: i32) -> Result<DType, OpError> {
    let found = match DataType::try_from(number) {
        Ok(DataType::Float) => return Ok(DType::F32),
        Ok(DataType::Double) => return Ok(DType::F64),
        Ok(DataType::Float16) => return Ok(DType::F16),
        Ok(DataType::Bfloat16) => return Ok(DType::BF16),
        Ok(DataType::Int8) => return Ok(DType::I8),
        Ok(DataType::Uint8) => return Ok(DType::U8),
        Ok(DataType::Int16) => return Ok(DType::I16),
        Ok(DataType::Uint16) => return Ok(DType::U16),
        Ok(DataType::Int32) => return Ok(DType::I32),
        Ok(DataType::Uint32) => return Ok(DType::U32),
        Ok(DataType::Int64) => return Ok(DType::I64),
        Ok(DataType::Uint64) => return Ok(DType::U64),
        Ok(DataType::Bool) => return Ok(DType::Bool),
        Ok(DataType::Int2) => return Ok(DType::Narrow(Narrow::I2)),
        Ok(DataType::Uint2) => return Ok(DType::Narrow(Narrow::U2)),
        Ok(DataType::Int4) => return Ok(DType::Narrow(Narrow::I4)),
        Ok(DataType::Uint4) => return Ok(DType::Narrow(Narrow::U4)),
        Ok(DataType::Float4e2m1) => return Ok(DType::Narrow(Narrow::F4E2M1)),
        Ok(DataType::Float8e4m3fn) => return Ok(DType::Narrow(Narrow::F8E4M3Fn)),
        Ok(DataType::Float8e4m3fnuz) => return Ok(DType::Narrow(Narrow::F8E4M3FnUz)),
        Ok(DataType::Float8e5m2) => return Ok(DType::Narrow(Narrow::F8E5M2)),
        Ok(DataType::Float8e5m2fnuz) => return Ok(DType::Narrow(Narrow::F8E5M2FnUz)),
        Ok(DataType::Float8e8m0) => return Ok(DType::Narrow(Narrow::F8E8M0)),
        Ok(other) => other.as_str_name().to_lowercase(),
        Err(_) => format!("number {number}"),
    };
    Err(OpError::new(format!("numbers or Booleans wanted, {found} found")))
}

/// The element type of a name, such as `FLOAT16`: what opsets up to 5 have instead of a number.
pub(super) fn dtype_named(name: &str) -> Result<DType, OpError> {
    match DataType::from_str_name(&name.to_uppercase()) {
        Some(number) => dtype(number.into()),
        None => Err(OpError::new(format!("an element type wanted, `{name}` found"))),
    }
}

/// As NumPy has it; many times what any operator is for.
const MAX_RANK: usize = 64;

/// Refuses tensors of very many axes before anybody looks at them one by one.
pub(super) fn check_rank(rank: usize) -> Result<(), OpError> {
    if rank <= MAX_RANK {
        return Ok(());
    }
    Err(OpError::new(format!(
        "a tensor of at most {MAX_RANK} axes wanted, {rank} found"
    )))
}

/// A shape whose element count stays below [`MAX_ELEMENTS`].
pub(super) fn checked_shape(dims: &[i64]) -> Result<Shape, OpError> {
    check_rank(dims.len())?;
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
    check_rank(shape.len())?;
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

/// The declared type of a constant.
pub(super) fn declared(tensor: &TensorProto) -> Result<TensorType, OpError> {
    let dtype = dtype(tensor.data_type)?;
    Ok(TensorType::new(dtype, checked_shape(&tensor.dims)?))
}

/// Whether a tensor comes without its values though its shape asks for some.
pub(super) fn is_without_values(tensor: &TensorProto) -> bool {
    tensor.raw_data.is_empty()
        && tensor.float_data.is_empty()
        && tensor.double_data.is_empty()
        && tensor.int32_data.is_empty()
        && tensor.int64_data.is_empty()
        && tensor.uint64_data.is_empty()
        && !tensor.dims.contains(&0)
}

/// The values of a constant, from the model or a file beside it.
///
/// # Errors
/// Where they are of a type not supported, not as many as the shape says, or in another file that cannot be used.
pub(super) fn values(tensor: &TensorProto, external: &mut External) -> Result<Values, OpError> {
    if tensor.segment.is_some() {
        return Err(OpError::new("a whole tensor wanted, a segment found"));
    }
    let TensorType { dtype, shape } = declared(tensor)?;
    if is_external(tensor) {
        return external.values(tensor, dtype, shape);
    }
    let count = elements(&shape)?;
    let data = if tensor.raw_data.is_empty() {
        typed(tensor, dtype, count)?
    } else {
        raw(&tensor.raw_data, dtype, count)?
    };
    if data.len() != count {
        return Err(OpError::new(format!(
            "{count} values for shape {shape:?} wanted, {} found",
            data.len()
        )));
    }
    Ok(Values::new(shape, data))
}

/// The elements of a sparse constant from those other than zero and their places: as many as the shape says, which the
/// caller has room for.
///
/// # Errors
/// Where its parts do not fit each other, or name places outside the shape.
pub(super) fn sparse_values(
    dims: &[i64],
    (given, places): (Values, Values),
    mut take_bytes: impl FnMut(usize) -> Result<(), OpError>,
) -> Result<Values, OpError> {
    let shape = checked_shape(dims)?;
    let count = elements(&shape)?;
    let misfit = || {
        OpError::new(format!(
            "a place in {shape:?} for each of {} wanted, {} found",
            given.ty(),
            places.ty()
        ))
    };
    let indices = places.to_i64().ok_or_else(misfit)?;
    let strides = row_major_strides(&shape);
    let number = given.data.len();
    // Each place is one number, or an index per axis.
    let tuple: (&[usize], &[usize]) = match places.shape[..] {
        [n] if n == number => (&[count], &[1]),
        [n, rank] if n == number && rank == shape.len() => (&shape, &strides),
        _ => return Err(misfit()),
    };
    let mut flat = vec![0; number];
    for (at, &index) in indices.iter().enumerate() {
        let axis = at % tuple.0.len();
        let index = usize::try_from(index).ok().filter(|&index| index < tuple.0[axis]);
        flat[at / tuple.0.len()] += index.ok_or_else(misfit)? * tuple.1[axis];
    }
    let dtype = given.data.dtype();
    take_bytes(count * dtype.bytes())?;
    let zero = Data::F32(vec![0.0]).cast(dtype);
    let mut data = zero.gather(std::iter::repeat_n(0, count));
    data.scatter(flat.into_iter(), &given.data);
    Ok(Values::new(shape, data))
}

/// Little-endian values without gaps; narrow ones packed, the first in the lowest bits.
pub(super) fn raw(bytes: &[u8], dtype: DType, count: usize) -> Result<Data, OpError> {
    if let DType::Narrow(narrow) = dtype {
        return packed(bytes, narrow, count);
    }
    if !bytes.len().is_multiple_of(dtype.bytes()) {
        return Err(OpError::new(format!(
            "whole values of {dtype} wanted, {} bytes found",
            bytes.len()
        )));
    }
    Ok(Data::from_le_bytes(dtype, bytes))
}

/// Codes that share bytes, the first in the lowest bits; unused bits of the last byte count for nothing.
fn packed(bytes: &[u8], narrow: Narrow, count: usize) -> Result<Data, OpError> {
    let (bits, per_byte) = (narrow.bits(), 8 / narrow.bits());
    if bytes.len() != count.div_ceil(per_byte) {
        return Err(OpError::new(format!(
            "{} bytes for {count} values of {} wanted, {} found",
            count.div_ceil(per_byte),
            narrow.name(),
            bytes.len()
        )));
    }
    let mask = ((1_u16 << bits) - 1) as u8;
    let code = |i: usize| bytes[i / per_byte] >> (i % per_byte * bits) & mask;
    Ok(Data::Narrow(narrow, (0..count).map(code).collect()))
}

/// Values in the field of their type.
fn typed(tensor: &TensorProto, dtype: DType, count: usize) -> Result<Data, OpError> {
    fn narrow<S: Copy + Display, T: TryFrom<S>>(values: &[S], dtype: DType) -> Result<Vec<T>, OpError> {
        let convert = |&value| {
            T::try_from(value).map_err(|_| OpError::new(format!("values of {dtype} wanted, {value} found")))
        };
        values.iter().map(convert).collect()
    }
    let ints = &tensor.int32_data;
    Ok(match dtype {
        DType::F32 => Data::F32(tensor.float_data.clone()),
        DType::F64 => Data::F64(tensor.double_data.clone()),
        DType::F16 => Data::F16(narrow(ints, dtype)?.into_iter().map(f16::from_bits).collect()),
        DType::BF16 => Data::BF16(narrow(ints, dtype)?.into_iter().map(bf16::from_bits).collect()),
        DType::I8 => Data::I8(narrow(ints, dtype)?),
        DType::U8 => Data::U8(narrow(ints, dtype)?),
        DType::I16 => Data::I16(narrow(ints, dtype)?),
        DType::U16 => Data::U16(narrow(ints, dtype)?),
        DType::I32 => Data::I32(ints.clone()),
        DType::U32 => Data::U32(narrow(&tensor.uint64_data, dtype)?),
        DType::I64 => Data::I64(tensor.int64_data.clone()),
        DType::U64 => Data::U64(tensor.uint64_data.clone()),
        DType::Bool => Data::Bool(ints.iter().map(|&value| value != 0).collect()),
        DType::Narrow(kind) => {
            // Packed bytes, each in an int32; the upper bits are the sign's.
            let bytes: Vec<u8> = ints.iter().map(|&byte| byte as u8).collect();
            packed(&bytes, kind, count)?
        }
    })
}
