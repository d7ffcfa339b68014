//! Pad.

use super::{Call, Importer, Made, onnx, resolve_axes};
use crate::op::{Op, OpError, Pad, PadMode, Slice};

pub(super) const IMPORTERS: &[Importer] = &[onnx("CenterCropPad", center_crop_pad), onnx("Pad", pad)];

/// Opset 1 has paddings and value as attributes, opset 2 calls them pads, opset 11 has them as inputs, opset 18 also axes. Negative pads become a slice
/// before what is added.
fn pad(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let from = call.graph.shape(x).to_vec();
    let rank = from.len();
    let mode = call.attrs.word("mode", "constant")?;
    let (pads, value) = if call.version < 11 {
        let name = if call.version < 2 { "paddings" } else { "pads" };
        let pads = call.attrs.maybe_ints(name)?.map(<[i64]>::to_vec);
        (pads, call.attrs.float("value", 0.0)?)
    } else {
        (call.constant_ints(1, "pads")?, fill(call)?)
    };
    let pads = pads.ok_or_else(|| OpError::new("pads wanted, none found"))?;
    let axes = if call.version < 18 {
        None
    } else {
        call.constant_ints(3, "axes")?
    };
    let axes = match axes {
        Some(axes) => resolve_axes(&axes, rank)?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(OpError::new(format!(
            "{} pads wanted, {} found",
            2 * axes.len(),
            pads.len()
        )));
    }
    let mode = match mode {
        "constant" => PadMode::Constant(value),
        "edge" => PadMode::Edge,
        "reflect" => PadMode::Reflect,
        "wrap" if call.version >= 19 => PadMode::Wrap,
        other => {
            return Err(OpError::new(format!(
                "a mode of opset {} wanted, {other} found",
                call.version
            )));
        }
    };
    let mut op = Pad {
        before: vec![0; rank],
        after: vec![0; rank],
        mode,
    };
    let mut cut = Slice {
        starts: vec![0; rank],
        steps: vec![1; rank],
        shape: from,
    };
    for (index, &axis) in axes.iter().enumerate() {
        let sides = [
            (pads[index], &mut op.before[axis]),
            (pads[axes.len() + index], &mut op.after[axis]),
        ];
        for (pad, added) in sides {
            // A negative pad takes away from the extent; both sides together at most all of it.
            if let Ok(pad) = usize::try_from(pad) {
                *added = pad;
            }
        }
        let taken = |pad: i64| usize::try_from(pad.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        let (front, back) = (taken(pads[index]), taken(pads[axes.len() + index]));
        cut.starts[axis] = front;
        cut.shape[axis] = cut.shape[axis]
            .checked_sub(front)
            .and_then(|left| left.checked_sub(back))
            .ok_or_else(|| {
                OpError::new(format!(
                    "pads that leave something of axis {axis} wanted, {pads:?} found"
                ))
            })?;
    }
    let cuts = pads.iter().any(|&pad| pad < 0);
    let adds = pads.iter().any(|&pad| pad > 0);
    if cuts && adds && !matches!(mode, PadMode::Constant(_)) {
        return Err(OpError::new(format!(
            "pads of one sign wanted where the inside is repeated, {pads:?} found"
        )));
    }
    let mut y = x;
    if cuts {
        let role = if adds { "cut" } else { "" };
        y = call.graph.emit(Op::Slice(cut), &[y], role)?;
    }
    if adds {
        y = call.graph.emit(Op::Pad(op), &[y], "")?;
    }
    Ok(vec![y])
}

/// The middle of the input along each axis, or the input in the middle of zeros. What is odd is cut or added behind.
fn center_crop_pad(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let from = call.graph.shape(x).to_vec();
    let axes = match call.attrs.maybe_ints("axes")? {
        Some(axes) => resolve_axes(axes, from.len())?,
        None => (0..from.len()).collect(),
    };
    let wanted = call.constant_ints(1, "the shape")?.unwrap_or_default();
    let wanted = super::super::tensors::checked_shape(&wanted)?;
    if wanted.len() != axes.len() {
        return Err(OpError::new(format!(
            "an extent for each of axes {axes:?} wanted, {wanted:?} found"
        )));
    }
    let mut cut = Slice {
        starts: vec![0; from.len()],
        steps: vec![1; from.len()],
        shape: from.clone(),
    };
    let mut op = Pad {
        before: vec![0; from.len()],
        after: vec![0; from.len()],
        mode: PadMode::Constant(0.0),
    };
    for (&axis, &extent) in axes.iter().zip(&wanted) {
        let taken = from[axis].saturating_sub(extent);
        cut.starts[axis] = taken / 2;
        cut.shape[axis] = from[axis] - taken;
        let added = extent.saturating_sub(from[axis]);
        op.before[axis] = added / 2;
        op.after[axis] = added - added / 2;
    }
    let mut y = x;
    if cut.shape != from {
        let adds = op.before.iter().chain(&op.after).any(|&added| added > 0);
        y = call
            .graph
            .emit(Op::Slice(cut), &[y], if adds { "cut" } else { "" })?;
    }
    if op.before.iter().chain(&op.after).any(|&added| added > 0) {
        y = call.graph.emit(Op::Pad(op), &[y], "")?;
    }
    Ok(vec![y])
}

/// The value around the input, exact in f32.
fn fill(call: &Call<'_>) -> Result<f32, OpError> {
    let Some(values) = call.constant(2, "the value")? else {
        return Ok(0.0);
    };
    let &[value] = values.to_f64().as_slice() else {
        return Err(OpError::new(format!("one value wanted, {} found", values.ty())));
    };
    let exact = value as f32;
    if f64::from(exact) != value && !value.is_nan() {
        return Err(OpError::new(format!(
            "a value exact in f32 wanted, {value} found"
        )));
    }
    Ok(exact)
}
