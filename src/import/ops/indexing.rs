//! Operators that name places by indices: gathers, scatters, and what is made of them.

use super::super::builder::Tensor;
use super::movement::reshaped;
use super::{Call, Importer, Made, of_domain, onnx, resolve_axis};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{Cast, Gather, GatherElements, GatherNd, Op, OpError, Reduction, Scatter, ScatterKind};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Gather", gather),
    onnx("GatherElements", gather_elements),
    onnx("GatherND", gather_nd),
    onnx("ReverseSequence", reverse_sequence),
    onnx("Scatter", scatter_elements),
    onnx("ScatterElements", scatter_elements),
    onnx("ScatterND", scatter_nd),
    onnx("TensorScatter", tensor_scatter),
    of_domain("ai.onnx.ml", "ArrayFeatureExtractor", array_feature_extractor),
];

/// Constant indices are seen to be in range of the extent that they count along.
fn expect_range(call: &Call<'_>, indices: Tensor, extent: usize) -> Result<(), OpError> {
    let extent = extent as i64;
    if let Some(values) = call.graph.constant_of(indices) {
        let ints = values.to_i64().unwrap_or_default();
        if let Some(index) = ints.iter().find(|index| !(-extent..extent).contains(index)) {
            return Err(OpError::new(format!(
                "indices of {extent} elements wanted, {index} found"
            )));
        }
    }
    Ok(())
}

/// The input and the axis, 0 unless given.
fn input_and_axis(call: &Call<'_>) -> Result<(Tensor, usize), OpError> {
    let x = call.input(0)?;
    let axis = resolve_axis(call.attrs.int("axis", 0)?, call.graph.shape(x).len())?;
    Ok((x, axis))
}

fn gather(call: &mut Call<'_>) -> Made {
    let ((x, axis), indices) = (input_and_axis(call)?, call.input(1)?);
    expect_range(call, indices, call.graph.shape(x)[axis])?;
    Ok(vec![call.graph.emit(
        Op::Gather(Gather { axis }),
        &[x, indices],
        "",
    )?])
}

fn gather_elements(call: &mut Call<'_>) -> Made {
    let ((x, axis), indices) = (input_and_axis(call)?, call.input(1)?);
    expect_range(call, indices, call.graph.shape(x)[axis])?;
    Ok(vec![call.graph.emit(
        Op::GatherElements(GatherElements { axis }),
        &[x, indices],
        "",
    )?])
}

/// Opset 12 has axes that both share.
fn gather_nd(call: &mut Call<'_>) -> Made {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let batch_dims = if call.version < 12 {
        0
    } else {
        call.attrs.int("batch_dims", 0)?
    };
    let batch_dims = usize::try_from(batch_dims)
        .map_err(|_| OpError::new(format!("batch_dims of at least 0 wanted, {batch_dims} found")))?;
    Ok(vec![call.graph.emit(
        Op::GatherNd(GatherNd { batch_dims }),
        &[x, indices],
        "",
    )?])
}

/// What updates do to elements: opset 16 adds and multiplies, opset 18 also takes the greater or the lesser one.
fn reduction(call: &Call<'_>) -> Result<Reduction, OpError> {
    if call.version < 16 {
        return Ok(Reduction::Replace);
    }
    Ok(match call.attrs.word("reduction", "none")? {
        "none" => Reduction::Replace,
        "add" => Reduction::Add,
        "mul" => Reduction::Mul,
        "max" if call.version >= 18 => Reduction::Max,
        "min" if call.version >= 18 => Reduction::Min,
        other => {
            return Err(OpError::new(format!(
                "a reduction of opset {} wanted, {other} found",
                call.version
            )));
        }
    })
}

fn scatter_elements(call: &mut Call<'_>) -> Made {
    let (x, axis) = input_and_axis(call)?;
    let (indices, updates) = (call.input(1)?, call.input(2)?);
    expect_range(call, indices, call.graph.shape(x)[axis])?;
    let op = Op::Scatter(Scatter {
        kind: ScatterKind::Elements { axis },
        reduction: reduction(call)?,
    });
    Ok(vec![call.graph.emit(op, &[x, indices, updates], "")?])
}

fn scatter_nd(call: &mut Call<'_>) -> Made {
    let inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
    let op = Op::Scatter(Scatter {
        kind: ScatterKind::Slices,
        reduction: reduction(call)?,
    });
    Ok(vec![call.graph.emit(op, &inputs, "")?])
}

/// A cache with rows of every sequence (the first axis) written over, from a known row on: elements scattered along the
/// axis of the rows.
fn tensor_scatter(call: &mut Call<'_>) -> Made {
    let (cache, update) = (call.input(0)?, call.input(1)?);
    let (rows, shape) = (
        call.graph.shape(cache).to_vec(),
        call.graph.shape(update).to_vec(),
    );
    let axis = resolve_axis(call.attrs.int("axis", -2)?, rows.len())?;
    let circular = match call.attrs.word("mode", "linear")? {
        "linear" => false,
        "circular" => true,
        other => {
            return Err(OpError::new(format!(
                "mode linear or circular wanted, {other} found"
            )));
        }
    };
    let misfit = |found: &str| {
        OpError::new(format!(
            "an update that but for axis {axis} is like {rows:?}, and a row for each sequence wanted, {shape:?} and {found} found"
        ))
    };
    let mut like = rows.clone();
    if let Some(own) = shape.get(axis) {
        like[axis] = *own;
    }
    if axis == 0 || like != shape {
        return Err(misfit("no rows"));
    }
    let firsts = match call.constant_ints(2, "the rows")? {
        Some(firsts) => firsts,
        None => vec![0; rows[0]],
    };
    if firsts.len() != rows[0] {
        return Err(misfit(&format!("{firsts:?}")));
    }
    let inner: usize = shape[axis + 1..].iter().product();
    let per_sequence: usize = shape[1..].iter().product();
    let count: usize = shape.iter().product();
    call.graph.take_bytes(count.saturating_mul(8))?;
    let extent = rows[axis] as i64;
    let place = |at: usize| {
        let row = firsts[at / per_sequence].saturating_add((at / inner % shape[axis]) as i64);
        let row = if circular { row.rem_euclid(extent) } else { row };
        (0..extent).contains(&row).then_some(row)
    };
    let places: Option<Vec<i64>> = (0..count).map(place).collect();
    let places = places.ok_or_else(|| misfit(&format!("{firsts:?}")))?;
    let indices = call.graph.constant(Values::new(shape, Data::I64(places)), "rows");
    let op = Op::Scatter(Scatter {
        kind: ScatterKind::Elements { axis },
        reduction: Reduction::Replace,
    });
    Ok(vec![call.graph.emit(op, &[cache, indices, update], "")?])
}

/// The first steps of every sequence in reverse, as many as is known: rows of batch and time together, gathered.
fn reverse_sequence(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let shape = call.graph.shape(x).to_vec();
    let axes = (call.attrs.int("batch_axis", 1)?, call.attrs.int("time_axis", 0)?);
    let time_first = match axes {
        (1, 0) => true,
        (0, 1) => false,
        other => {
            return Err(OpError::new(format!(
                "batch and time axes 0 and 1 wanted, {other:?} found"
            )));
        }
    };
    let &[d0, d1, ref inner @ ..] = shape.as_slice() else {
        return Err(OpError::new(format!("at least two axes wanted, {shape:?} found")));
    };
    let (batches, steps) = if time_first { (d1, d0) } else { (d0, d1) };
    let lengths = call.constant_ints(1, "the lengths")?.unwrap_or_default();
    let fits = |length: &i64| usize::try_from(*length).is_ok_and(|length| length <= steps);
    if lengths.len() != batches || !lengths.iter().all(fits) {
        return Err(OpError::new(format!(
            "{batches} lengths of at most {steps} wanted, {lengths:?} found"
        )));
    }
    let place = |row: usize| {
        let (batch, step) = if time_first {
            (row % d1, row / d1)
        } else {
            (row / d1, row % d1)
        };
        let length = lengths[batch] as usize;
        let step = if step < length { length - 1 - step } else { step };
        (if time_first {
            step * d1 + batch
        } else {
            batch * d1 + step
        }) as i64
    };
    let places: Vec<i64> = (0..d0 * d1).map(place).collect();
    let rows = [&[d0 * d1], inner].concat();
    let indices = Values::new([places.len()], Data::I64(places));
    let indices = call.graph.constant(indices, "places");
    let rows = reshaped(call, x, rows, "rows")?;
    let moved = call
        .graph
        .emit(Op::Gather(Gather { axis: 0 }), &[rows, indices], "moved")?;
    Ok(vec![reshaped(call, moved, shape, "")?])
}

/// Columns that indices name; a vector counts as one row.
fn array_feature_extractor(call: &mut Call<'_>) -> Made {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let shape = call.graph.shape(x).to_vec();
    let count = call.graph.ty(indices).len();
    let (axis, extent) = match shape.split_last() {
        Some((&extent, lead)) => (lead.len(), extent),
        None => return Err(OpError::new("at least one axis wanted, a scalar found")),
    };
    expect_range(call, indices, extent)?;
    let flat = reshaped(call, indices, vec![count], "indices")?;
    let flat = if call.graph.ty(flat).dtype == DType::I64 {
        flat
    } else {
        call.graph
            .emit(Op::Cast(Cast { to: DType::I64 }), &[flat], "i64")?
    };
    let role = if axis == 0 { "columns" } else { "" };
    let columns = call.graph.emit(Op::Gather(Gather { axis }), &[x, flat], role)?;
    if axis > 0 {
        return Ok(vec![columns]);
    }
    Ok(vec![reshaped(call, columns, vec![1, count], "")?])
}
