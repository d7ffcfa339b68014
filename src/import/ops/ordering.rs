//! Operators that compare along an axis or add up along it.

use super::{Call, Importer, Made, onnx, resolve_axis};
use crate::op::{Cumulate, GatherElements, Op, OpError, Reshape, TopK};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("ArgMax", arg_max),
    onnx("ArgMin", arg_min),
    onnx("CumProd", cum_prod),
    onnx("CumSum", cum_sum),
    onnx("TopK", top_k),
];

fn arg_max(call: &mut Call<'_>) -> Made {
    arg(call, true)
}

fn arg_min(call: &mut Call<'_>) -> Made {
    arg(call, false)
}

/// Opset 12 may take the last of equal elements.
fn arg(call: &mut Call<'_>, largest: bool) -> Made {
    let x = call.input(0)?;
    let mut shape = call.graph.shape(x).to_vec();
    let axis = resolve_axis(call.attrs.int("axis", 0)?, shape.len())?;
    let keep = call.attrs.flag("keepdims", true)?;
    let last_of_equals = call.version >= 12 && call.attrs.flag("select_last_index", false)?;
    let op = Op::TopK(TopK {
        axis,
        count: 1,
        largest,
        last_of_equals,
    });
    if keep {
        return Ok(vec![call.graph.emit(op, &[x], "")?]);
    }
    let kept = call.graph.emit_as(op, &[x], "", "kept")?;
    shape.remove(axis);
    let drop = Op::Reshape(Reshape { shape });
    Ok(vec![call.graph.emit_as(drop, &[kept], "dropped", "")?])
}

/// Opset 10 has the number as an input, opset 11 may take the least. Unsorted elements come sorted too.
fn top_k(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let axis = resolve_axis(call.attrs.int("axis", -1)?, call.graph.shape(x).len())?;
    let count = if call.version < 10 {
        call.attrs.required_int("k")?
    } else {
        match call.constant_ints(1, "how many elements")?.as_deref() {
            Some(&[count]) => count,
            other => return Err(OpError::new(format!("one number wanted, {other:?} found"))),
        }
    };
    let largest = call.version < 11 || call.attrs.flag("largest", true)?;
    if call.version >= 11 {
        call.attrs.flag("sorted", true)?;
    }
    let count = usize::try_from(count)
        .map_err(|_| OpError::new(format!("at least 0 elements wanted, {count} found")))?;
    let op = Op::TopK(TopK {
        axis,
        count,
        largest,
        last_of_equals: false,
    });
    let indices = call.graph.emit(op, &[x], "indices")?;
    let pick = Op::GatherElements(GatherElements { axis });
    let values = call.graph.emit(pick, &[x, indices], "")?;
    Ok(vec![values, indices])
}

fn cum_sum(call: &mut Call<'_>) -> Made {
    cumulate(call, false)
}

fn cum_prod(call: &mut Call<'_>) -> Made {
    cumulate(call, true)
}

fn cumulate(call: &mut Call<'_>, product: bool) -> Made {
    let x = call.input(0)?;
    let axis = match call.constant_ints(1, "the axis")?.as_deref() {
        Some(&[axis]) => resolve_axis(axis, call.graph.shape(x).len())?,
        other => return Err(OpError::new(format!("one axis wanted, {other:?} found"))),
    };
    let op = Op::Cumulate(Cumulate {
        axis,
        product,
        exclusive: call.attrs.flag("exclusive", false)?,
        reverse: call.attrs.flag("reverse", false)?,
    });
    Ok(vec![call.graph.emit(op, &[x], "")?])
}
