//! MaxUnpool: <https://onnx.ai/onnx/operators/onnx__MaxUnpool.html>.

use super::super::tensors::elements;
use super::pool::{input, reshaped};
use super::window::{self, Resolved};
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::{Data, Values};
use crate::op::{Op, OpError, Reduction, Scatter, ScatterKind};

pub(super) const IMPORTERS: &[Importer] = &[onnx("MaxUnpool", max_unpool)];

/// The input's elements at the given places of a tensor of zeros.
///
/// The places count through the tensor that was pooled, as its kernel, strides and padding tell. Where the attributes
/// leave more than one such tensor possible and `output_shape` names a larger one, ONNX's test counts through the
/// smallest and puts that into the corner of the larger one; so does this.
fn max_unpool(call: &mut Call<'_>) -> Made {
    let (x, extents) = input(call)?;
    let indices = call.input(1)?;
    let shape = call.graph.shape(x).to_vec();
    if call.graph.shape(indices) != shape {
        return Err(OpError::new(format!(
            "a place for each element of {} wanted, {} found",
            call.graph.ty(x),
            call.graph.ty(indices)
        )));
    }
    let kernel = call.attrs.maybe_ints("kernel_shape")?;
    let kernel = kernel.ok_or_else(|| OpError::new("`kernel_shape` wanted, none found"))?;
    let given = window::plain(call, kernel, extents.len())?;
    let mut pooled = shape[..2].to_vec();
    for (axis, &extent) in extents.iter().enumerate() {
        pooled.push(before_pooling(&given, axis, extent)?);
    }
    let whole = match call.constant_ints(2, "the output's shape")? {
        Some(whole) => larger(&pooled, &whole)?,
        None => pooled.clone(),
    };
    let ty = call.graph.ty(x).clone();
    let zeros = |call: &mut Call<'_>, shape: Vec<usize>, role: &str| {
        let count = elements(&shape)?;
        call.graph.take_bytes(count.saturating_mul(ty.dtype.bytes()))?;
        let data = Data::I8(vec![0; count]).cast(ty.dtype);
        Ok::<_, OpError>(call.graph.constant(Values::new(shape, data), role))
    };
    let count = elements(&pooled)?;
    let flat = zeros(call, vec![count], "zeros")?;
    let places = reshaped(call, indices, &[ty.len()], "places")?;
    let updates = reshaped(call, x, &[ty.len()], "elements")?;
    let scatter = Op::Scatter(Scatter {
        kind: ScatterKind::Elements { axis: 0 },
        reduction: Reduction::Replace,
    });
    let filled = call.graph.emit(scatter, &[flat, places, updates], "filled")?;
    let mut y = reshaped(call, filled, &pooled, "unpooled")?;
    for axis in 2..whole.len() {
        let mut missing = call.graph.shape(y).to_vec();
        missing[axis] = whole[axis] - pooled[axis];
        if missing[axis] > 0 {
            let margin = zeros(call, missing, "margin")?;
            y = call.graph.concat(&[y, margin], axis, "whole")?;
        }
    }
    Ok(vec![y])
}

/// The least extent along an axis of which the window makes this one.
fn before_pooling(window: &Resolved, axis: usize, extent: usize) -> Result<usize, OpError> {
    let (before, after) = (window.before[axis], window.after[axis]);
    // Extents are below 2^31 and a window's numbers below 2^16.
    let span = extent.saturating_sub(1) * window.strides[axis] + window.kernel[axis];
    span.checked_sub(before + after)
        .filter(|&extent| extent > 0)
        .ok_or_else(|| {
            OpError::new(format!(
                "`pads` that leave something of axis {axis} wanted, {before} and {after} of {span} found"
            ))
        })
}

/// The shape that the model wants, at least as large along each axis.
fn larger(pooled: &[usize], wanted: &[i64]) -> Result<Vec<usize>, OpError> {
    let extents: Option<Vec<usize>> = wanted
        .iter()
        .map(|&extent| usize::try_from(extent).ok())
        .collect();
    let fits = |extents: &Vec<usize>| {
        extents.len() == pooled.len()
            && extents[..2] == pooled[..2]
            && extents.iter().zip(pooled).all(|(extent, least)| extent >= least)
    };
    extents.filter(fits).ok_or_else(|| {
        OpError::new(format!(
            "an output shape that holds {pooled:?} wanted, {wanted:?} found"
        ))
    })
}
