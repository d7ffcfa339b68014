//! Constants, and what the static shapes make constant.

use tinsmith_proto::TensorProto;

use super::super::builder::Builder;
use super::super::tensors::{checked_shape, dtype, elements, sparse_values};
use super::{Call, Importer, Made, onnx};
use crate::op::OpError;
use crate::op::data::with_numbers;
use crate::op::element::Element;
use crate::op::tensor::{DType, Data, Values};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Constant", constant),
    onnx("ConstantOfShape", of_shape),
    onnx("EyeLike", eye_like),
    onnx("Range", range),
    onnx("Shape", shape),
    onnx("Size", size),
];

/// The value comes in one of several attributes; opset 12 added the short forms.
fn constant(call: &mut Call<'_>) -> Made {
    let attrs = &call.attrs;
    let mut found = Vec::new();
    if let Some(tensor) = attrs.maybe_tensor("value")? {
        found.push(call.graph.values(tensor)?);
    }
    if let Some(tensor) = attrs.maybe_sparse("sparse_value")? {
        let part = |part: &Option<TensorProto>, graph: &mut Builder| {
            let part = part.as_ref();
            graph.values(part.ok_or_else(|| OpError::new("a sparse tensor with all its parts wanted"))?)
        };
        let parts = (
            part(&tensor.values, call.graph)?,
            part(&tensor.indices, call.graph)?,
        );
        found.push(sparse_values(&tensor.dims, parts, |bytes| {
            call.graph.take_bytes(bytes)
        })?);
    }
    for name in ["value_string", "value_strings"] {
        if attrs.has(name) {
            return Err(OpError::new(format!(
                "numbers or Booleans wanted, string found in `{name}`"
            )));
        }
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
        return Err(OpError::new("one value of numbers wanted, none or several found"));
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

/// The number of elements is static, so it is a constant.
fn size(call: &mut Call<'_>) -> Made {
    let count = elements(call.graph.shape(call.input(0)?))?;
    let values = Values::new([], Data::I64(vec![count as i64]));
    Ok(vec![call.graph.constant(values, "")])
}

/// Ones on a diagonal of a matrix of the input's shape, zeros elsewhere.
fn eye_like(call: &mut Call<'_>) -> Made {
    let like = call.graph.ty(call.input(0)?).clone();
    let &[rows, columns] = like.shape.as_slice() else {
        return Err(OpError::new(format!("a matrix wanted, {like} found")));
    };
    let to = match call.attrs.maybe_int("dtype")? {
        Some(number) => dtype(i32::try_from(number).unwrap_or(i32::MAX))?,
        None => like.dtype,
    };
    let diagonal = call.attrs.int("k", 0)?;
    let count = elements(&like.shape)?;
    call.graph.take_bytes(count * to.bytes())?;
    let codes = Data::F32(vec![0.0, 1.0]).cast(to);
    let picks = (0..rows).flat_map(|row| {
        let column = (row as i64).saturating_add(diagonal);
        (0..columns).map(move |at| usize::from(at as i64 == column))
    });
    let values = Values::new(like.shape.clone(), codes.gather(picks));
    Ok(vec![call.graph.constant(values, "")])
}

/// The numbers from a start in steps up to a limit; all three decide the shape and are constants.
fn range(call: &mut Call<'_>) -> Made {
    if call.version >= 27 {
        // Narrow floats are computed in f32 (or f64) and rounded once, as `stash_type` has it by default.
        call.attrs.ignore(&["stash_type"]);
    }
    let mut ends = Vec::with_capacity(3);
    for (index, what) in ["the start", "the limit", "the step"].into_iter().enumerate() {
        let values = call
            .constant(index, what)?
            .ok_or_else(|| OpError::new(format!("{what} wanted, none found")))?;
        if values.data.len() != 1 {
            return Err(OpError::new(format!(
                "one number as {what} wanted, {} found",
                values.ty()
            )));
        }
        ends.push(values);
    }
    let dtype = ends[0].data.dtype();
    if ends.iter().any(|end| end.data.dtype() != dtype) {
        return Err(OpError::new(format!(
            "three numbers of one type wanted, {}, {} and {} found",
            ends[0].ty(),
            ends[1].ty(),
            ends[2].ty()
        )));
    }
    let reals: Vec<f64> = ends.iter().map(|end| end.to_f64()[0]).collect();
    let (start, limit, step) = (reals[0], reals[1], reals[2]);
    let count = match ends.iter().map(|end| end.to_i64()).collect::<Option<Vec<_>>>() {
        // i128: the difference of two i64 fits, as does the quotient.
        Some(ints) => {
            let [start, limit, step] = [0, 1, 2].map(|i| i128::from(ints[i][0]));
            let (distance, step) = if step < 0 {
                (start - limit, -step)
            } else {
                (limit - start, step)
            };
            if step == 0 {
                f64::NAN
            } else {
                ((distance.max(0) + step - 1) / step) as f64
            }
        }
        None => ((limit - start) / step).ceil().max(0.0),
    };
    if step == 0.0 || !count.is_finite() {
        return Err(OpError::new(format!(
            "finite ends and steps other than 0 wanted, {start}, {limit} and {step} found"
        )));
    }
    let shape = checked_shape(&[count as i64])?;
    let count = elements(&shape)?;
    call.graph.take_bytes(count.saturating_mul(dtype.bytes()))?;
    let data = match dtype {
        DType::F16 | DType::BF16 => {
            Data::F64((0..count).map(|i| start + i as f64 * step).collect()).cast(dtype)
        }
        _ => with_numbers!(
            ends[0].data, v => spaced(v[0], &ends[2].data, count),
            else return Err(OpError::new(format!("numbers wanted, {dtype} found")))
        ),
    };
    Ok(vec![call.graph.constant(Values::new(shape, data), "")])
}

/// `start + i · step`, each in the elements' own arithmetic.
fn spaced<T: Element>(start: T, step: &Data, count: usize) -> Data {
    let Some(&[step]) = T::of(step) else {
        return Data::empty(step.dtype()); // the caller saw one number of this type
    };
    let place = Data::I64((0..count as i64).collect()).cast(Element::data(vec![step]).dtype());
    let places = T::of(&place).unwrap_or_default();
    T::data(places.iter().map(|&i| start.add(i.multiply(step))).collect())
}
