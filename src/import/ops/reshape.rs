//! Operators that only rename extents.

use super::super::builder::Tensor;
use super::{Call, Importer, Made, onnx, resolve_axes, resolve_axis};
use crate::op::tensor::Shape;
use crate::op::{Op, OpError, Reshape};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Flatten", flatten),
    onnx("Reshape", reshape),
    onnx("Squeeze", squeeze),
    onnx("Unsqueeze", unsqueeze),
];

fn emit(call: &mut Call<'_>, x: Tensor, shape: Shape) -> Made {
    Ok(vec![call.graph.emit(Op::Reshape(Reshape { shape }), &[x], "")?])
}

/// An extent of 0 stands for the input's, of −1 for what is left; opset 14 may take 0 for itself. Opset 1 has the shape
/// as an attribute.
fn reshape(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let from = call.graph.shape(x).to_vec();
    let zero_copies = call.version < 14 || !call.attrs.flag("allowzero", false)?;
    let wanted = if call.version < 5 {
        call.attrs.ignore(&["consumed_inputs"]);
        call.attrs.maybe_ints("shape")?.unwrap_or_default().to_vec()
    } else {
        call.constant_ints(1, "the new shape")?.unwrap_or_default()
    };
    let misfit = || {
        OpError::new(format!(
            "a shape with as many elements as {from:?} wanted, {wanted:?} found"
        ))
    };
    let mut shape = Shape::with_capacity(wanted.len());
    let mut open = None;
    for (axis, &extent) in wanted.iter().enumerate() {
        shape.push(match extent {
            0 if zero_copies => *from.get(axis).ok_or_else(misfit)?,
            -1 if open.is_none() => {
                open = Some(axis);
                1
            }
            _ => usize::try_from(extent).map_err(|_| misfit())?,
        });
    }
    if let Some(axis) = open {
        let given = shape
            .iter()
            .try_fold(1_usize, |product, &extent| product.checked_mul(extent));
        let elements: usize = from.iter().product();
        shape[axis] = given
            .filter(|&given| given > 0 && elements.is_multiple_of(given))
            .map(|given| elements / given)
            .ok_or_else(misfit)?;
    }
    emit(call, x, shape)
}

/// Everything before the axis into rows, the rest into columns.
fn flatten(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let from = call.graph.shape(x);
    let axis = call.attrs.int("axis", 1)?;
    // The axis may stand behind the last one.
    let axis = if axis == from.len() as i64 {
        from.len()
    } else {
        resolve_axis(axis, from.len())?
    };
    let shape = vec![from[..axis].iter().product(), from[axis..].iter().product()];
    emit(call, x, shape)
}

/// Drops axes of extent 1: the given ones, or all. Opset 13 has the axes as an input.
fn squeeze(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let from = call.graph.shape(x).to_vec();
    let axes: Vec<usize> = match call.axes(13, 1)? {
        Some(axes) => resolve_axes(&axes, from.len())?,
        None => (0..from.len()).filter(|&axis| from[axis] == 1).collect(),
    };
    if axes.iter().any(|&axis| from[axis] != 1) {
        return Err(OpError::new(format!(
            "axes of extent 1 wanted, axes {axes:?} of {from:?} found"
        )));
    }
    let kept = (0..from.len()).filter(|axis| !axes.contains(axis));
    let shape = kept.map(|axis| from[axis]).collect();
    emit(call, x, shape)
}

/// Adds axes of extent 1, counted in the output. Opset 13 has the axes as an input.
fn unsqueeze(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let from = call.graph.shape(x).to_vec();
    let axes = call
        .axes(13, 1)?
        .ok_or_else(|| OpError::new("axes wanted, none found"))?;
    let rank = from.len().saturating_add(axes.len());
    let axes = resolve_axes(&axes, rank)?;
    let mut extents = from.into_iter();
    let shape = (0..rank)
        .map(|axis| {
            if axes.contains(&axis) {
                1
            } else {
                extents.next().expect("as many axes are left as the input has")
            }
        })
        .collect();
    emit(call, x, shape)
}
