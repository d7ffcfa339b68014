//! Operators that move elements, and `Delay`.

use super::{Call, Importer, Made, of_domain, onnx, resolve_axes, resolve_axis};
use crate::op::{Concat, Delay, Gather, Op, OpError, Transpose};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Concat", concat),
    onnx("Gather", gather),
    onnx("Transpose", transpose),
    of_domain("ai.tinsmith", "Delay", delay),
];

fn transpose(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let rank = call.graph.shape(x).len();
    let perm = match call.attrs.maybe_ints("perm")? {
        Some(perm) => resolve_axes(perm, rank)?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![call.graph.emit(
        Op::Transpose(Transpose { perm }),
        &[x],
        "",
    )?])
}

/// One input is its own concatenation.
fn concat(call: &mut Call<'_>) -> Made {
    let axis = call.attrs.required_int("axis")?;
    let inputs = (0..call.inputs.len())
        .map(|index| call.input(index))
        .collect::<Result<Vec<_>, _>>()?;
    let axis = resolve_axis(axis, call.graph.shape(inputs[0]).len())?;
    if inputs.len() == 1 {
        return Ok(inputs);
    }
    Ok(vec![call.graph.emit(Op::Concat(Concat { axis }), &inputs, "")?])
}

/// Constant indices are seen to be in range.
fn gather(call: &mut Call<'_>) -> Made {
    let (x, indices) = (call.input(0)?, call.input(1)?);
    let shape = call.graph.shape(x);
    let axis = resolve_axis(call.attrs.int("axis", 0)?, shape.len())?;
    let extent = shape[axis] as i64;
    if let Some(values) = call.graph.constant_of(indices) {
        let ints = values.to_i64().unwrap_or_default();
        if let Some(index) = ints.iter().find(|index| !(-extent..extent).contains(index)) {
            return Err(OpError::new(format!(
                "indices of {extent} elements wanted, {index} found"
            )));
        }
    }
    Ok(vec![call.graph.emit(
        Op::Gather(Gather { axis }),
        &[x, indices],
        "",
    )?])
}

/// Tinsmith's own operator with a memory of one inference.
fn delay(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    Ok(vec![call.graph.emit(Op::Delay(Delay {}), &[x], "")?])
}
