//! OneHot: <https://onnx.ai/onnx/operators/onnx__OneHot.html>, as a choice by where the index is the place.

use super::super::builder::Tensor;
use super::super::tensors::elements;
use super::{Call, Importer, Made, onnx, resolve_axis};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{BinaryKind, CompareKind, OpError};

pub(super) const IMPORTERS: &[Importer] = &[onnx("OneHot", one_hot)];

/// Up to here f32 tells all integers apart.
const EXACT_IN_F32: usize = 1 << 24;

/// A new axis of `depth`, in which each index puts the second value at its place and the first one elsewhere. Negative
/// indices count from the end; those out of range and those between integers put none apart.
fn one_hot(call: &mut Call<'_>) -> Made {
    let (indices, values) = (call.input(0)?, call.input(2)?);
    let rank = call.graph.rank(indices);
    let axis = resolve_axis(call.attrs.int("axis", -1)?, rank + 1)?;
    let depth = call.constant(1, "the depth")?.map(|depth| depth.to_f64());
    let depth = match depth.as_deref() {
        Some(&[depth]) if (1.0..=(1u64 << 31) as f64).contains(&depth) => depth as usize,
        other => {
            return Err(OpError::new(format!(
                "one depth of at least 1 wanted, {other:?} found"
            )));
        }
    };
    if call.graph.shape(values) != [2] {
        return Err(OpError::new(format!(
            "`values` of two elements wanted, {} found",
            call.graph.ty(values)
        )));
    }
    let dtype = match call.graph.ty(indices).dtype {
        DType::Bool | DType::Narrow(_) => {
            return Err(OpError::new(format!(
                "numbers as indices wanted, {} found",
                call.graph.ty(indices)
            )));
        }
        own @ (DType::F64 | DType::U64) => own,
        dtype if !dtype.is_float() => DType::I64,
        _ if depth <= EXACT_IN_F32 => DType::F32,
        _ => DType::F64,
    };
    let mut shape = call.graph.shape(indices).to_vec();
    shape.insert(axis, 1);
    let mut whole = shape.clone();
    whole[axis] = depth;
    elements(&whole)?;
    let indices = call.graph.cast(indices, dtype, "numbers")?;
    let indices = call.graph.reshape(indices, shape, "columns")?;
    let mut hit = is_place(call, indices, (axis, depth, 0), "hit")?;
    if dtype != DType::U64 {
        let from_end = is_place(call, indices, (axis, depth, depth as i64), "hit_from_end")?;
        hit = call.graph.binary(BinaryKind::Or, hit, from_end, "hit_either")?;
    }
    let [off, on] = [0, 1].map(|which| {
        let own = call
            .graph
            .part(values, 0, which..which + 1, ["off_part", "on_part"][which])?;
        call.graph.reshape(own, [], ["off", "on"][which])
    });
    Ok(vec![call.graph.choose(hit, on?, off?, "")?])
}

/// Where an index is the place along the axis, less what is counted back.
fn is_place(
    call: &mut Call<'_>,
    indices: Tensor,
    (axis, depth, back): (usize, usize, i64),
    role: &str,
) -> Result<Tensor, OpError> {
    let ty = call.graph.ty(indices);
    let (dtype, mut shape) = (ty.dtype, vec![1; ty.shape.len()]);
    shape[axis] = depth;
    call.graph.take_bytes(depth.saturating_mul(8))?;
    let places = Data::I64((0..depth as i64).map(|place| place - back).collect()).cast(dtype);
    let places = call
        .graph
        .constant(Values::new(shape, places), &format!("{role}_places"));
    call.graph.compare(CompareKind::Equal, indices, places, role)
}
