//! QuantizeLinear and DequantizeLinear.

use super::super::builder::Tensor;
use super::super::tensors;
use super::{Call, Importer, Made, onnx, resolve_axis};

use crate::op::tensor::{DType, Data, Values};
use crate::op::{DequantizeLinear, Op, OpError, QuantizeLinear};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("DequantizeLinear", dequantize),
    onnx("QuantizeLinear", quantize),
];

/// Without a zero point the output is unsigned, or of the type that opset 21 lets the model name.
fn quantize(call: &mut Call<'_>) -> Made {
    if call.version >= 19 {
        call.attrs.ignore(&["saturate"]);
    }
    float_if_any(call, "precision")?;
    let named = match call.version {
        21.. => call.attrs.int("output_dtype", 0)?,
        _ => 0,
    };
    let named = match i32::try_from(named).unwrap_or(i32::MAX) {
        0 => None,
        number => Some(tensors::dtype(number)?),
    };
    let parameters = parameters(call, named.unwrap_or(DType::U8))?;
    let found = call.graph.ty(parameters.inputs[2]).dtype;
    if named.is_some_and(|named| named != found) {
        return Err(OpError::new(format!(
            "a zero point of output_dtype wanted, {found} found"
        )));
    }
    let op = Op::QuantizeLinear(QuantizeLinear {
        axis: parameters.axis,
    });
    Ok(vec![call.graph.emit(op, &parameters.inputs, "")?])
}

/// Without a zero point it is zero. Opset 23 may ask for another float than the scale's.
fn dequantize(call: &mut Call<'_>) -> Made {
    float_if_any(call, "output_dtype")?;
    let dtype = call.graph.ty(call.input(0)?).dtype;
    let parameters = parameters(call, dtype)?;
    let op = Op::DequantizeLinear(DequantizeLinear {
        axis: parameters.axis,
    });
    Ok(vec![call.graph.emit(op, &parameters.inputs, "")?])
}

/// An attribute of opset 23 that names the float to compute in.
fn float_if_any(call: &Call<'_>, name: &str) -> Result<(), OpError> {
    if call.version < 23 {
        return Ok(());
    }
    let number = i32::try_from(call.attrs.int(name, 0)?).unwrap_or(i32::MAX);
    if number == 0 || tensors::dtype(number)? == DType::F32 {
        return Ok(());
    }
    Err(OpError::new(format!(
        "`{name}` of float wanted, another type found"
    )))
}

struct Parameters {
    axis: usize,
    /// The tensor, its scale and its zero point.
    inputs: [Tensor; 3],
}

/// Opset 13 has one scale per index of an axis, opset 21 blocks of it, which are refused.
fn parameters(call: &mut Call<'_>, zero_point: DType) -> Result<Parameters, OpError> {
    let (x, scale) = (call.input(0)?, call.input(1)?);
    let axis = match call.version {
        13.. => call.attrs.int("axis", 1)?,
        _ => 0,
    };
    let block_size = match call.version {
        21.. => call.attrs.int("block_size", 0)?,
        _ => 0,
    };
    if block_size != 0 {
        return Err(OpError::new(format!(
            "one scale per tensor or per index of an axis wanted, blocks of {block_size} found"
        )));
    }
    let scale_ty = call.graph.ty(scale).clone();
    // With one scale the axis means nothing, and its default need not exist.
    let axis = if scale_ty.len() == 1 {
        0
    } else if call.version < 13 {
        return Err(OpError::new(format!(
            "one scale wanted in opset {}, {scale_ty} found",
            call.version
        )));
    } else {
        resolve_axis(axis, call.graph.shape(x).len())?
    };
    let zero_point = match call.optional(2) {
        Some(given) => given,
        None => {
            call.graph.take_bytes(scale_ty.bytes())?;
            let zeros = zeros(zero_point, scale_ty.len())
                .ok_or_else(|| OpError::new(format!("integers wanted, {zero_point} found")))?;
            call.graph
                .constant(Values::new(scale_ty.shape, zeros), "zero_point")
        }
    };
    Ok(Parameters {
        axis,
        inputs: [x, scale, zero_point],
    })
}

fn zeros(dtype: DType, count: usize) -> Option<Data> {
    let zero = Data::I8(vec![0]).cast(dtype);
    dtype
        .is_integer()
        .then(|| zero.gather(std::iter::repeat_n(0, count)))
}
