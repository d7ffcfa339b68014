//! Constants, and what the static shapes make constant.

use super::super::tensors::{checked_shape, elements};
use super::{Call, Importer, Made, onnx};
use crate::op::OpError;
use crate::op::tensor::{Data, Values};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Constant", constant),
    onnx("ConstantOfShape", of_shape),
    onnx("Shape", shape),
];

/// The value comes in one of several attributes; opset 12 added the short forms.
fn constant(call: &mut Call<'_>) -> Made {
    let attrs = &call.attrs;
    let mut found = Vec::new();
    if let Some(tensor) = attrs.maybe_tensor("value")? {
        found.push(call.graph.values(tensor)?);
    }
    if call.version >= 12 {
        let vector = |data: Data| Values::new([data.len()], data);
        if let Some(x) = attrs.maybe_float("value_float")? {
            found.push(Values::f32([], vec![x]));
        }
        if let Some(x) = attrs.maybe_floats("value_floats")? {
            found.push(vector(Data::F32(x.to_vec())));
        }
        if let Some(x) = attrs.maybe_int("value_int")? {
            found.push(Values::new([], Data::I64(vec![x])));
        }
        if let Some(x) = attrs.maybe_ints("value_ints")? {
            found.push(vector(Data::I64(x.to_vec())));
        }
    }
    let Ok([value]) = <[Values; 1]>::try_from(found) else {
        return Err(OpError::new(
            "one dense value of numbers wanted, none or several found",
        ));
    };
    Ok(vec![call.graph.constant(value, "")])
}

/// A tensor of a constant shape with one value everywhere.
fn of_shape(call: &mut Call<'_>) -> Made {
    let value = match call.attrs.maybe_tensor("value")? {
        Some(tensor) => call.graph.values(tensor)?,
        None => Values::f32([1], vec![0.0]),
    };
    if value.data.len() != 1 {
        return Err(OpError::new(format!("one value wanted, {} found", value.ty())));
    }
    let dims = call.constant_ints(0, "the shape")?.unwrap_or_default();
    let shape = checked_shape(&dims)?;
    let count = elements(&shape)?;
    call.graph.take_bytes(count * value.data.dtype().bytes())?;
    let data = value.data.gather(std::iter::repeat_n(0, count));
    Ok(vec![call.graph.constant(Values::new(shape, data), "")])
}

/// Shapes are static here, so they are constants. Opset 15 takes a part of them.
fn shape(call: &mut Call<'_>) -> Made {
    let shape = call.graph.shape(call.input(0)?).to_vec();
    let rank = shape.len() as i64;
    let (start, end) = if call.version >= 15 {
        (call.attrs.int("start", 0)?, call.attrs.int("end", rank)?)
    } else {
        (0, rank)
    };
    let place = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let part = shape.get(place(start)..place(end)).unwrap_or_default();
    let extents: Vec<i64> = part.iter().map(|&extent| extent as i64).collect();
    let values = Values::new([extents.len()], Data::I64(extents));
    Ok(vec![call.graph.constant(values, "")])
}
