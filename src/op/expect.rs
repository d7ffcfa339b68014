//! What operators expect of their inputs' number, ranks and element types, and the words for what is found instead.

use std::ops::RangeInclusive;

use super::tensor::{DType, TensorType, Values};
use super::{OpError, Operator};

/// The most bytes one tensor may take: what 32-bit offsets reach.
const MAX_TENSOR_BYTES: usize = 1 << 32;

/// Expects a number of inputs.
pub(super) fn count(inputs: &[&TensorType], wanted: RangeInclusive<usize>) -> Result<(), OpError> {
    if wanted.contains(&inputs.len()) {
        return Ok(());
    }
    let (low, high) = (wanted.start(), wanted.end());
    let wanted = if low == high {
        low.to_string()
    } else if *high == usize::MAX {
        format!("{low} or more")
    } else {
        format!("{low} to {high}")
    };
    Err(OpError::new(format!(
        "{wanted} inputs wanted, {} found",
        inputs.len()
    )))
}

/// Expects a rank.
pub(super) fn rank(name: &str, ty: &TensorType, wanted: usize) -> Result<(), OpError> {
    if ty.shape.len() == wanted {
        Ok(())
    } else {
        Err(OpError::new(format!(
            "`{name}` of rank {wanted} wanted, {ty} found"
        )))
    }
}

/// Expects exactly this shape.
pub(super) fn shape(name: &str, ty: &TensorType, wanted: &[usize]) -> Result<(), OpError> {
    if ty.shape == wanted {
        Ok(())
    } else {
        let wanted = TensorType::new(ty.dtype, wanted);
        Err(OpError::new(format!("`{name}` as {wanted} wanted, {ty} found")))
    }
}

/// Expects f32 or f64.
pub(super) fn float(name: &str, ty: &TensorType) -> Result<(), OpError> {
    if ty.dtype.is_float() {
        Ok(())
    } else {
        Err(OpError::new(format!("`{name}` of f32 or f64 wanted, {ty} found")))
    }
}

/// Expects anything but Booleans.
pub(super) fn number(name: &str, ty: &TensorType) -> Result<(), OpError> {
    if ty.dtype == DType::Bool {
        Err(OpError::new(format!("numbers wanted as `{name}`, {ty} found")))
    } else {
        Ok(())
    }
}

/// Expects an element type.
pub(super) fn dtype(name: &str, ty: &TensorType, wanted: DType) -> Result<(), OpError> {
    if ty.dtype == wanted {
        Ok(())
    } else {
        Err(OpError::new(format!("`{name}` of {wanted} wanted, {ty} found")))
    }
}

/// Expects an axis that the shape has.
pub(super) fn axis(axis: usize, ty: &TensorType) -> Result<(), OpError> {
    if axis < ty.shape.len() {
        Ok(())
    } else {
        Err(OpError::new(format!(
            "an axis below {} wanted for {ty}, {axis} found",
            ty.shape.len()
        )))
    }
}

/// Expects one entry of an attribute per axis.
pub(super) fn one_per_axis(name: &str, entries: usize, ty: &TensorType) -> Result<(), OpError> {
    if entries == ty.shape.len() {
        Ok(())
    } else {
        Err(OpError::new(format!(
            "one of {name} per axis of {ty} wanted, {entries} found"
        )))
    }
}

/// Expects tensors whose sizes can be reckoned with: at most 2^32 bytes each.
pub(super) fn sizes(types: Vec<TensorType>) -> Result<Vec<TensorType>, OpError> {
    for ty in &types {
        let bytes = ty
            .shape
            .iter()
            .try_fold(ty.dtype.bytes(), |bytes, &extent| bytes.checked_mul(extent));
        if bytes.is_none_or(|bytes| bytes > MAX_TENSOR_BYTES) {
            return Err(OpError::new(format!(
                "an output of at most 4 GiB wanted, {ty} found"
            )));
        }
    }
    Ok(types)
}

/// Checks the inputs of [`Operator::eval`] and gives the type of its one output.
pub(super) fn output<O: Operator>(op: &O, inputs: &[&Values]) -> Result<TensorType, OpError> {
    let types: Vec<TensorType> = inputs.iter().map(|values| values.ty()).collect();
    let types = op.output_types(&types.iter().collect::<Vec<_>>())?;
    let mut types = sizes(types)?;
    Ok(types.pop().expect("every operator has an output"))
}
