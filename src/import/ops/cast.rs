//! Changes of the element type.

use super::super::builder::Tensor;
use super::super::tensors;
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::DType;
use crate::op::{BitCast, Cast, Encoding, NarrowCast, Op, OpError, RoundMode};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("BitCast", bit_cast),
    onnx("Cast", cast),
    onnx("CastLike", cast_like),
];

/// Up to opset 5 the type has a name, from opset 6 on a number.
fn cast(call: &mut Call<'_>) -> Made {
    let to = if call.version < 6 {
        tensors::dtype_named(call.attrs.word("to", "")?)?
    } else {
        named_type(call)?
    };
    let encoding = encoding(call, 19)?;
    to_type(call, to, encoding)
}

/// Only the element type of the second input counts.
fn cast_like(call: &mut Call<'_>) -> Made {
    let to = call.graph.ty(call.input(1)?).dtype;
    let encoding = encoding(call, 19)?;
    to_type(call, to, encoding)
}

fn bit_cast(call: &mut Call<'_>) -> Made {
    let to = named_type(call)?;
    let x = call.input(0)?;
    if call.graph.ty(x).dtype == to {
        return Ok(vec![x]);
    }
    Ok(vec![call.graph.emit(Op::BitCast(BitCast { to }), &[x], "")?])
}

/// The element type of attribute `to`.
fn named_type(call: &Call<'_>) -> Result<DType, OpError> {
    tensors::dtype(i32::try_from(call.attrs.required_int("to")?).unwrap_or(i32::MAX))
}

/// What opset 19 says of 8-bit floats, and opset 24 of powers of two.
fn encoding(call: &Call<'_>, since: i64) -> Result<Encoding, OpError> {
    let mut encoding = Encoding::default();
    if call.version >= since {
        encoding.saturate = call.attrs.flag("saturate", true)?;
    }
    if call.version >= 24 {
        encoding.round = match call.attrs.word("round_mode", "up")? {
            "up" => RoundMode::Up,
            "down" => RoundMode::Down,
            "nearest" => RoundMode::Nearest,
            other => {
                return Err(OpError::new(format!(
                    "`round_mode` of up, down or nearest wanted, `{other}` found"
                )));
            }
        };
    }
    Ok(encoding)
}

fn to_type(call: &mut Call<'_>, to: DType, encoding: Encoding) -> Made {
    let x: Tensor = call.input(0)?;
    let op = match to {
        _ if call.graph.ty(x).dtype == to => return Ok(vec![x]),
        DType::Narrow(to) if !to.is_integer() && encoding != Encoding::default() => {
            Op::NarrowCast(NarrowCast { to, encoding })
        }
        to => Op::Cast(Cast { to }),
    };
    Ok(vec![call.graph.emit(op, &[x], "")?])
}
