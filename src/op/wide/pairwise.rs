//! Two operands of int16, element by element.

use std::borrow::Cow;
use std::sync::Arc;

use tinsmith_runtime::format::Binary16;
use tinsmith_runtime::kernels::Layer;

use super::{WideCodes, exact, farthest, params, slopes};
use crate::op::geometry::Geometry;
use crate::op::lower::{LowerError, Lowered};
use crate::op::movement::fitting;
use crate::op::quant::{QuantParams, QuantTensor, Quantization};
use crate::op::rescale::{self, Factor};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{Binary, BinaryKind, OpError};

/// Sums, differences, products, the lesser and the greater; a scalar slope.
pub(in crate::op) fn binary(
    op: &Binary,
    inputs: &[&QuantTensor],
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    if let (BinaryKind::PRelu, Some(slope)) = (op.kind, slope(inputs[1])) {
        return slopes(inputs[0], y, [(1.0, false), slope], op.clamp);
    }
    let (kind, subtract) = match op.kind {
        BinaryKind::Add => (0, false),
        BinaryKind::Sub => (0, true),
        BinaryKind::Mul => (1, false),
        BinaryKind::Min => (2, false),
        BinaryKind::Max => (3, false),
        BinaryKind::Div
        | BinaryKind::Pow
        | BinaryKind::Mod
        | BinaryKind::Fmod
        | BinaryKind::PRelu
        | BinaryKind::And
        | BinaryKind::Or
        | BinaryKind::Xor
        | BinaryKind::ShiftLeft
        | BinaryKind::ShiftRight => {
            return Err(OpError::new(format!("{:?} has no kernel on int16", op.kind))
                .with_help("quantize it to int8, or keep it in f32")
                .into());
        }
    };
    let (a, b) = (codes(inputs[0])?, codes(inputs[1])?);
    let (left, right, to) = (params(&a)?, params(&b)?, params(y)?);
    let limits = WideCodes::new(y, op.clamp)?;
    let distance = |side: QuantParams| farthest(side.zero_point, DType::I16);
    let (multipliers, ratio) = if kind == 1 {
        let widest = distance(left) * distance(right); // 17 bits each
        let ratio = rescale::ratio(&[left.scale, right.scale], &[to.scale], widest)?;
        ([0, 0], ratio)
    } else {
        let (multipliers, grid) = rescale::on_grid([left.scale, right.scale])?;
        // 17 bits times 44.
        let widest =
            distance(left) * multipliers[0].unsigned_abs() + distance(right) * multipliers[1].unsigned_abs();
        let factor = Factor::of_grid(grid, to.scale);
        let factor = factor.ok_or_else(|| OpError::new("a scale is not positive and finite"))?;
        (multipliers, factor.ratio(widest, false)?)
    };
    let operands = [a.as_ref(), b.as_ref()];
    let geometry = Geometry::new([&operands[0].ty.shape, &operands[1].ty.shape], &y.ty.shape)?;
    let record = Binary16 {
        dims: geometry.dims()?,
        a_strides: geometry.strides(0)?,
        b_strides: geometry.strides(1)?,
        a_multiplier: multipliers[0],
        b_multiplier: if subtract { -multipliers[1] } else { multipliers[1] },
        ratio,
        a_zero_point: fitting(left.zero_point)?,
        b_zero_point: fitting(right.zero_point)?,
        ofm_zero_point: limits.zero_point,
        min: limits.min,
        max: limits.max,
        kind,
        ..Binary16::default()
    };
    Ok(Lowered {
        calls: geometry.calls(Layer::Binary16(record), &operands, y),
        proof: exact(1),
        ..Lowered::default()
    })
}

/// The operand as int16 codes: a constant of int8 in two bytes each, one of one real is a step, or none, of its own magnitude.
fn codes(tensor: &QuantTensor) -> Result<Cow<'_, QuantTensor>, OpError> {
    if tensor.is_wide() {
        return Ok(Cow::Borrowed(tensor));
    }
    if let (Some(codes), Some(_)) = (
        tensor.data.as_deref().and_then(|values| values.as_i8()),
        tensor.params(),
    ) {
        let mut wider = tensor.clone();
        let codes = codes.iter().map(|&code| code.into()).collect();
        wider.ty.dtype = DType::I16;
        wider.data = Some(Arc::new(Values::new(tensor.ty.shape.clone(), Data::I16(codes))));
        return Ok(Cow::Owned(wider));
    }
    let constant = tensor.data.as_deref().and_then(|values| values.as_f32());
    let (Some([real]), true) = (constant, tensor.is_real()) else {
        return Err(OpError::new(format!(
            "its constant `{}` is {}; int8, int16 or one real is possible",
            tensor.name, tensor.ty
        ))
        .with_help("quantize the constant to int16"));
    };
    if !real.is_finite() {
        return Err(OpError::new(format!("its constant `{}` is {real}", tensor.name)));
    }
    let mut stand_in = tensor.clone();
    let step = i16::from(*real > 0.0) - i16::from(*real < 0.0);
    stand_in.ty.dtype = DType::I16;
    stand_in.data = Some(Arc::new(Values::new(
        tensor.ty.shape.clone(),
        Data::I16(vec![step]),
    )));
    stand_in.quantization = Quantization::PerTensor(QuantParams {
        scale: if step == 0 { 1.0 } else { real.abs() },
        zero_point: 0,
    });
    Ok(Cow::Owned(stand_in))
}

/// The magnitude of a constant of one real, and whether it is negative.
fn slope(tensor: &QuantTensor) -> Option<(f32, bool)> {
    let values = tensor.data.as_deref().filter(|_| tensor.is_real())?;
    match values.as_f32()? {
        [real] => Some((real.abs(), *real < 0.0)),
        _ => None,
    }
}
