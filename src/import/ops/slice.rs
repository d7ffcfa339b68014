//! Slice.

use super::{Call, Importer, Made, onnx, resolve_axes};
use crate::op::{Op, OpError, Slice};

pub(super) const IMPORTERS: &[Importer] = &[onnx("Slice", slice)];

/// Opset 1 has starts, ends and axes as attributes, opset 10 as inputs, with steps. Ends beyond the tensor are moved
/// to it.
fn slice(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let from = call.graph.shape(x).to_vec();
    let rank = from.len();
    let (starts, ends, axes, steps) = if call.version < 10 {
        let ints = |name: &str| {
            let ints = call.attrs.maybe_ints(name)?;
            Ok::<_, OpError>(ints.map(<[i64]>::to_vec))
        };
        (ints("starts")?, ints("ends")?, ints("axes")?, None)
    } else {
        (
            call.constant_ints(1, "starts")?,
            call.constant_ints(2, "ends")?,
            call.constant_ints(3, "axes")?,
            call.constant_ints(4, "steps")?,
        )
    };
    let missing = || OpError::new("starts and ends wanted, none found");
    let (starts, ends) = (starts.ok_or_else(missing)?, ends.ok_or_else(missing)?);
    let axes = match axes {
        Some(axes) => resolve_axes(&axes, rank)?,
        None => (0..starts.len().min(rank)).collect(),
    };
    let steps = steps.unwrap_or_else(|| vec![1; axes.len()]);
    if [starts.len(), ends.len(), steps.len()] != [axes.len(); 3] {
        return Err(OpError::new(format!(
            "a start, an end and a step for each of {} axes wanted, {}, {} and {} found",
            axes.len(),
            starts.len(),
            ends.len(),
            steps.len()
        )));
    }
    let mut op = Slice {
        starts: vec![0; rank],
        steps: vec![1; rank],
        shape: from.clone(),
    };
    for (index, &axis) in axes.iter().enumerate() {
        let (start, count) = range(from[axis], starts[index], ends[index], steps[index])?;
        op.starts[axis] = start;
        op.steps[axis] = steps[index];
        op.shape[axis] = count;
    }
    Ok(vec![call.graph.emit(Op::Slice(op), &[x], "")?])
}

/// First index and number of indices from `start` to before `end`, both clamped to the extent as ONNX says.
fn range(extent: usize, start: i64, end: i64, step: i64) -> Result<(usize, usize), OpError> {
    let extent = extent as i64;
    let from_front = |at: i64| if at < 0 { at.saturating_add(extent) } else { at };
    let (start, end) = (from_front(start), from_front(end));
    let (start, end, distance) = match step {
        0 => return Err(OpError::new("steps other than 0 wanted")),
        1.. => {
            let (start, end) = (start.clamp(0, extent), end.clamp(0, extent));
            (start, end, end - start)
        }
        _ => {
            let (start, end) = (start.clamp(0, (extent - 1).max(0)), end.clamp(-1, extent - 1));
            (start, end, start - end)
        }
    };
    debug_assert!(start >= 0 && end >= -1, "clamped");
    let count = u64::try_from(distance).unwrap_or(0).div_ceil(step.unsigned_abs());
    // Clamped to the extent, so both fit.
    Ok((start as usize, count as usize))
}
