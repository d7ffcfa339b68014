//! Reductions.

use super::{Call, Importer, Made, onnx, resolve_axes};
use crate::op::{Op, ReduceMean, Reshape};

pub(super) const IMPORTERS: &[Importer] = &[onnx("ReduceMean", mean)];

/// Opset 18 has the axes as an input; without any, all axes are reduced, or none if asked so.
fn mean(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let mut shape = call.graph.shape(x).to_vec();
    let given = call.axes(18, 1)?.filter(|axes| !axes.is_empty());
    let keep = call.attrs.flag("keepdims", true)?;
    let empty_is_none = call.version >= 18 && call.attrs.flag("noop_with_empty_axes", false)?;
    let mut axes = match given {
        Some(axes) => resolve_axes(&axes, shape.len())?,
        None if empty_is_none => return Ok(vec![x]),
        None => (0..shape.len()).collect(),
    };
    axes.sort_unstable();
    let op = Op::ReduceMean(ReduceMean { axes: axes.clone() });
    if keep || axes.is_empty() {
        return Ok(vec![call.graph.emit(op, &[x], "")?]);
    }
    let kept = call.graph.emit_as(op, &[x], "", "kept")?;
    for axis in axes.into_iter().rev() {
        shape.remove(axis);
    }
    let drop = Op::Reshape(Reshape { shape });
    Ok(vec![call.graph.emit_as(drop, &[kept], "dropped", "")?])
}
