//! Operators that find elements, as many as the data has. Where the data is constant, that number is known. Otherwise
//! it needs a bound: the outputs have room for as many, are filled up behind those found (places with 0, elements with
//! the first one), and how many there are is an output of the model of its own, `NODE/count`.

use super::super::builder::Tensor;
use super::movement::reshaped;
use super::{Call, Importer, Made, onnx, resolve_axis};
use crate::op::non_zero::places;
use crate::op::tensor::{DType, Data, Values};
use crate::op::unique::Found;
use crate::op::{Gather, NonMaxSuppression, NonZero, Op, OpError, Slice, Unique};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Compress", compress),
    onnx("NonMaxSuppression", non_max_suppression),
    onnx("NonZero", non_zero),
    onnx("Unique", unique),
];

/// The most a node may find that the user gave.
fn bound(call: &mut Call<'_>) -> Result<usize, OpError> {
    let node = call.graph.node_name().to_owned();
    call.graph.bound().ok_or_else(|| {
        OpError::new("a number of results that is known now wanted, one that depends on data found")
            .with_help(format!("say how many it finds at most: --bound {node}=N"))
    })
}

/// Elements of a packed vector, under a shape.
fn part(
    call: &mut Call<'_>,
    packed: Tensor,
    first: usize,
    shape: Vec<usize>,
    role: &str,
) -> Result<Tensor, OpError> {
    let op = Slice {
        starts: vec![first],
        steps: vec![1],
        shape: vec![shape.iter().product()],
    };
    let vector = shape.len() == 1;
    let own = call
        .graph
        .emit(Op::Slice(op), &[packed], if vector { role } else { "part" })?;
    if vector {
        return Ok(own);
    }
    reshaped(call, own, shape, role)
}

/// Makes the count at the head of a packed vector an output of the model.
fn give_count(call: &mut Call<'_>, packed: Tensor) -> Result<(), OpError> {
    let count = part(call, packed, 0, vec![1], "count")?;
    call.graph.add_output("count", count);
    Ok(())
}

fn non_zero(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let rank = call.graph.shape(x).len();
    let known = call.graph.constant_of(x).map(|values| places(values).len());
    let most = match known {
        Some(count) => count,
        None => bound(call)?.min(call.graph.ty(x).len()),
    };
    let packed = call.graph.emit(Op::NonZero(NonZero { most }), &[x], "packed")?;
    if known.is_none() {
        give_count(call, packed)?;
    }
    Ok(vec![part(call, packed, 1, vec![rank, most], "")?])
}

/// Slices along an axis, or elements, where a condition holds; it may be shorter than they are many.
fn compress(call: &mut Call<'_>) -> Made {
    let (mut x, condition) = (call.input(0)?, call.input(1)?);
    let axis = match call.attrs.maybe_int("axis")? {
        Some(axis) => resolve_axis(axis, call.graph.shape(x).len())?,
        None => {
            let count = call.graph.ty(x).len();
            x = reshaped(call, x, vec![count], "flat")?;
            0
        }
    };
    let extent = call.graph.shape(x)[axis];
    let ty = call.graph.ty(condition).clone();
    if ty.dtype != DType::Bool || ty.shape.len() != 1 || ty.shape[0] > extent {
        return Err(OpError::new(format!(
            "a condition bool[n] for at most {extent} slices wanted, {ty} found"
        )));
    }
    let indices = match call.graph.constant_of(condition).map(|values| places(values)) {
        Some(found) => {
            let found: Vec<i64> = found.into_iter().map(|place| place as i64).collect();
            let found = Values::new([found.len()], Data::I64(found));
            call.graph.constant(found, "places")
        }
        None => {
            let most = bound(call)?.min(ty.shape[0]);
            let packed = call
                .graph
                .emit(Op::NonZero(NonZero { most }), &[condition], "packed")?;
            give_count(call, packed)?;
            part(call, packed, 1, vec![most], "places")?
        }
    };
    Ok(vec![call.graph.emit(
        Op::Gather(Gather { axis }),
        &[x, indices],
        "",
    )?])
}

/// The values, their first places, which of them every element is, and how often each occurs.
fn unique(call: &mut Call<'_>) -> Made {
    let mut x = call.input(0)?;
    let axis = match call.attrs.maybe_int("axis")? {
        Some(axis) => resolve_axis(axis, call.graph.shape(x).len())?,
        None => {
            let count = call.graph.ty(x).len();
            x = reshaped(call, x, vec![count], "flat")?;
            0
        }
    };
    let sorted = call.attrs.flag("sorted", true)?;
    let extent = call.graph.shape(x)[axis];
    let known = call
        .graph
        .constant_of(x)
        .map(|values| Found::of(values, axis, sorted).firsts.len());
    let most = match known {
        Some(count) => count,
        None => bound(call)?.min(extent),
    };
    let op = Op::Unique(Unique { axis, sorted, most });
    let packed = call.graph.emit(op, &[x], "packed")?;
    if known.is_none() {
        give_count(call, packed)?;
    }
    let firsts = part(call, packed, 1, vec![most], "firsts")?;
    let of_each = part(call, packed, 1 + most, vec![extent], "inverse")?;
    let counts = part(call, packed, 1 + most + extent, vec![most], "counts")?;
    let values = call.graph.emit(Op::Gather(Gather { axis }), &[x, firsts], "")?;
    Ok(vec![values, firsts, of_each, counts])
}

/// ONNX itself bounds the number of boxes: so many of each class of each batch.
fn non_max_suppression(call: &mut Call<'_>) -> Made {
    let (boxes, scores) = (call.input(0)?, call.input(1)?);
    let count = match call.constant_ints(2, "the most boxes of a class")?.as_deref() {
        None => 0,
        Some(&[count]) => usize::try_from(count).unwrap_or(0),
        Some(other) => {
            return Err(OpError::new(format!(
                "one number of boxes wanted, {other:?} found"
            )));
        }
    };
    let threshold = |index: usize, what: &str| -> Result<Option<f32>, OpError> {
        let Some(values) = call.constant(index, what)? else {
            return Ok(None);
        };
        match values.to_f64()[..] {
            [threshold] => Ok(Some(threshold as f32)),
            _ => Err(OpError::new(format!(
                "one number as {what} wanted, {} found",
                values.ty()
            ))),
        }
    };
    let iou_threshold = threshold(3, "the overlap")?.unwrap_or(0.0);
    let score_threshold = threshold(4, "the least score")?;
    let centers = call.attrs.flag("center_point_box", false)?;
    let extents = call.graph.shape(scores).to_vec();
    let op = NonMaxSuppression {
        most: count.min(extents.last().copied().unwrap_or(0)),
        iou_threshold,
        score_threshold,
        centers,
    };
    // Its own check of the types comes before anything is read.
    let types = [call.graph.ty(boxes), call.graph.ty(scores)];
    Op::NonMaxSuppression(op.clone()).output_types(&types)?;
    let known = match (call.graph.constant_of(boxes), call.graph.constant_of(scores)) {
        (Some(boxes), Some(scores)) => Some(op.chosen(boxes, scores).len()),
        _ => None,
    };
    let slots = extents[0] * extents[1] * op.most;
    if known == Some(0) || slots == 0 {
        let none = Values::new([0, 3], Data::I64(Vec::new()));
        return Ok(vec![call.graph.constant(none, "")]);
    }
    let packed = call
        .graph
        .emit(Op::NonMaxSuppression(op), &[boxes, scores], "packed")?;
    if known.is_none() {
        give_count(call, packed)?;
    }
    Ok(vec![part(call, packed, 1, vec![known.unwrap_or(slots), 3], "")?])
}
