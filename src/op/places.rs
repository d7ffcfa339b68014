//! Places that indices name: what gathers and scatters share.

use tinsmith_runtime::format::{GatherElements, GatherRows};
use tinsmith_runtime::kernels::Layer;

use super::lower::{KernelCall, LowerError, Lowered, Operand};
use super::movement::{self, fitting};
use super::quant::QuantTensor;
use super::tensor::{DType, TensorType, Values, row_major_strides, strided_indices};
use super::{OpError, movement::Move};

/// The place an index names along an axis; negative ones count from the end.
///
/// # Errors
/// Where there is no such place.
pub(super) fn place(index: i64, extent: usize) -> Result<usize, OpError> {
    // i128: adding the extent to an index of i64 cannot overflow it.
    let index = i128::from(index);
    let from_front = if index < 0 { index + extent as i128 } else { index };
    let place = usize::try_from(from_front).ok().filter(|&i| i < extent);
    place.ok_or_else(|| {
        OpError::new(format!(
            "indices from -{extent} up to but not {extent} wanted, {index} found"
        ))
    })
}

/// Expects indices.
pub(super) fn expect_indices(ty: &TensorType) -> Result<(), OpError> {
    if matches!(ty.dtype, DType::I32 | DType::I64) {
        return Ok(());
    }
    Err(OpError::new(format!(
        "`indices` of i32 or i64 wanted, {ty} found"
    )))
}

/// Expects indices that along every axis but one reach no further than `x`.
pub(super) fn expect_within(axis: usize, x: &TensorType, indices: &TensorType) -> Result<(), OpError> {
    let mut extents = indices.shape.iter().zip(&x.shape).enumerate();
    let within = extents.all(|(i, (own, all))| i == axis || own <= all);
    if indices.shape.len() == x.shape.len() && within {
        return Ok(());
    }
    Err(OpError::new(format!(
        "`indices` that but for axis {axis} lie within {x} wanted, {indices} found"
    )))
}

/// The elements of a tensor of `shape` that `indices` name along an axis, all others as they stand.
///
/// # Errors
/// Where an index is out of range.
pub(super) fn along(axis: usize, shape: &[usize], indices: &Values) -> Result<Vec<usize>, OpError> {
    let mut strides = row_major_strides(shape);
    let step = std::mem::take(&mut strides[axis]);
    let bases = strided_indices(&indices.shape, &strides, 0);
    let rows = indices.to_i64().expect("the type check asked for integers");
    bases
        .into_iter()
        .zip(rows)
        .map(|(base, row)| Ok(base + place(row, shape[axis])? * step))
        .collect()
}

/// The first elements of the slices that the last axis of `indices` names, in a tensor of `shape` behind `batch_dims`
/// axes that both share, and the elements of one slice.
///
/// # Errors
/// Where an index is out of range.
pub(super) fn slices(
    batch_dims: usize,
    shape: &[usize],
    indices: &Values,
) -> Result<(Vec<usize>, usize), OpError> {
    let depth = indices.shape.last().copied().unwrap_or(1);
    let strides = row_major_strides(shape);
    let inner: usize = shape[batch_dims + depth..].iter().product();
    let batches: usize = shape[..batch_dims].iter().product();
    let batch: usize = shape[batch_dims..].iter().product();
    let tuples: usize = indices.shape[..indices.shape.len() - 1].iter().product();
    let per_batch = tuples.checked_div(batches).unwrap_or(0);
    let rows = indices.to_i64().expect("the type check asked for integers");
    let firsts: Result<Vec<usize>, OpError> = (0..tuples)
        .map(|tuple| {
            let base = tuple.checked_div(per_batch).unwrap_or(0) * batch;
            let tuple = &rows[tuple * depth..(tuple + 1) * depth];
            let axes = tuple.iter().zip(batch_dims..);
            axes.map(|(&row, axis)| Ok(place(row, shape[axis])? * strides[axis]))
                .try_fold(base, |sum, offset: Result<usize, OpError>| Ok(sum + offset?))
        })
        .collect();
    Ok((firsts?, inner))
}

/// A constant table of places.
pub(super) fn table(places: &[usize]) -> Result<Vec<u8>, OpError> {
    let places: Result<Vec<i32>, OpError> = places.iter().map(|&place| fitting(place)).collect();
    Ok(places?.into_iter().flat_map(i32::to_le_bytes).collect())
}

/// Runs of `inner` elements of `x`, one after the other, that begin at known places, which are multiples of `inner`.
pub(super) fn lower_picks(
    firsts: &[usize],
    inner: usize,
    x: &QuantTensor,
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    if inner > 0 && firsts.windows(2).all(|pair| pair[1] == pair[0] + inner) {
        let moved = Move {
            from_offset: firsts.first().copied().unwrap_or(0),
            ..Move::all(&[firsts.len(), inner])
        };
        return movement::lower_move(&moved, &[x], &[y]);
    }
    let rows: Vec<usize> = firsts.iter().map(|first| first / inner.max(1)).collect();
    let indices = Operand::Constant(table(&rows)?);
    let record = GatherRows {
        outer: 1,
        extent: fitting(x.ty.len() / inner.max(1))?,
        count: fitting(rows.len())?,
        row_bytes: fitting(inner * x.ty.dtype.bytes())?,
        index_bytes: 4,
        ..GatherRows::default()
    };
    with_requantize(Layer::GatherRows(record), indices, x, y)
}

/// A call that moves elements of `x` by indices, and, where the parameters differ, a table behind it.
pub(super) fn with_requantize(
    layer: Layer,
    indices: Operand,
    x: &QuantTensor,
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let mut calls = vec![KernelCall::new(
        layer,
        vec![Operand::of_input(0, x), indices],
        Vec::new(),
    )];
    if let Some(change) = movement::change_between(x, y)? {
        if x.ty.dtype.bytes() != y.ty.dtype.bytes() {
            return Err(
                OpError::new("it moves elements by indices, so its input and output have one width")
                    .with_help("convert before or behind it")
                    .into(),
            );
        }
        calls.push(change.call(Operand::Output, y.ty.len())?);
    }
    Ok(Lowered {
        calls,
        ..Lowered::default()
    })
}

/// Bytes of one computed index.
pub(super) fn index_bytes(indices: &QuantTensor) -> Result<u8, OpError> {
    match indices.ty.dtype {
        DType::I32 => Ok(4),
        DType::I64 => Ok(8),
        _ => Err(OpError::new(format!(
            "its indices `{}` are {}; i32 or i64 are possible",
            indices.name, indices.ty
        ))),
    }
}

/// Elements that computed indices name along an axis.
pub(super) fn lower_elements(
    axis: usize,
    inputs: &[&QuantTensor],
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    const DIMS: usize = 5;
    let (x, indices) = (inputs[0], inputs[1]);
    let mut strides = row_major_strides(&x.ty.shape);
    let axis_stride = std::mem::take(&mut strides[axis]);
    // Neighbours that run on in the source are one dimension; the axis stands alone.
    let mut dims: Vec<(usize, usize)> = Vec::new();
    for (i, (&extent, &stride)) in indices.ty.shape.iter().zip(&strides).enumerate() {
        match dims.last_mut() {
            Some((last, last_stride)) if i != axis && *last_stride > 0 && *last_stride == stride * extent => {
                *last *= extent;
                *last_stride = stride;
            }
            _ if extent == 1 => {}
            _ => dims.push((extent, stride)),
        }
    }
    let missing = DIMS.checked_sub(dims.len()).ok_or_else(|| {
        OpError::new(format!(
            "gathers along {} dimensions that do not run on; at most {DIMS} are possible",
            dims.len()
        ))
    })?;
    let mut record = GatherElements {
        dims: [1; DIMS],
        extent: fitting(x.ty.shape[axis])?,
        axis_stride: fitting(axis_stride)?,
        index_bytes: index_bytes(indices)?,
        element_bytes: fitting(x.ty.dtype.bytes())?,
        ..GatherElements::default()
    };
    for (i, (extent, stride)) in dims.into_iter().enumerate() {
        record.dims[missing + i] = fitting(extent)?;
        record.ifm_strides[missing + i] = fitting(stride)?;
    }
    with_requantize(Layer::GatherElements(record), Operand::of_input(1, indices), x, y)
}
