//! Operators that move elements whatever they hold, and `Delay`.

use super::super::builder::Tensor;
use super::{Call, Importer, Made, of_domain, onnx, resolve_axis};
use crate::op::tensor::Shape;
use crate::op::{Concat, Delay, Expand, Op, OpError, Reshape, Slice, Transpose, Trilu};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Concat", concat),
    onnx("DepthToSpace", depth_to_space),
    onnx("Expand", expand),
    onnx("SpaceToDepth", space_to_depth),
    onnx("Split", split),
    onnx("Tile", tile),
    onnx("Transpose", transpose),
    onnx("Trilu", trilu),
    of_domain("ai.tinsmith", "Delay", delay),
];

fn transpose(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let rank = call.graph.shape(x).len();
    let perm = match call.attrs.maybe_ints("perm")? {
        Some(perm) => super::resolve_axes(perm, rank)?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![call.graph.emit(
        Op::Transpose(Transpose { perm }),
        &[x],
        "",
    )?])
}

/// One input is its own concatenation. Before opset 4 the axis may be left out.
fn concat(call: &mut Call<'_>) -> Made {
    let axis = if call.version < 4 {
        call.attrs.int("axis", 1)?
    } else {
        call.attrs.required_int("axis")?
    };
    let inputs = (0..call.inputs.len())
        .map(|index| call.input(index))
        .collect::<Result<Vec<_>, _>>()?;
    let first = *inputs
        .first()
        .ok_or_else(|| OpError::new("at least one input wanted, none found"))?;
    let axis = resolve_axis(axis, call.graph.shape(first).len())?;
    if inputs.len() == 1 {
        return Ok(inputs);
    }
    // What holds nothing adds nothing, but must fit.
    let op = Op::Concat(Concat { axis });
    let types: Vec<_> = inputs.iter().map(|&input| call.graph.ty(input)).collect();
    op.output_types(&types)?;
    let kept: Vec<Tensor> = inputs
        .iter()
        .copied()
        .filter(|&input| !call.graph.ty(input).is_empty())
        .collect();
    match kept[..] {
        [] => Ok(vec![call.graph.emit(op, &inputs, "")?]),
        [one] => Ok(vec![one]),
        _ => Ok(vec![call.graph.emit(op, &kept, "")?]),
    }
}

/// The shape is met by broadcasting, so it may be smaller than the input's.
fn expand(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let wanted = call.constant_ints(1, "the shape")?.unwrap_or_default();
    let wanted = super::super::tensors::checked_shape(&wanted)?;
    let from = call.graph.shape(x);
    let shape = crate::op::tensor::broadcast_shape(from, &wanted).ok_or_else(|| {
        OpError::new(format!(
            "a shape to broadcast {from:?} to wanted, {wanted:?} found"
        ))
    })?;
    if shape == from {
        return Ok(vec![x]);
    }
    Ok(vec![call.graph.emit(Op::Expand(Expand { shape }), &[x], "")?])
}

/// Repeats the input along its axes: a new axis before each repeated one, expanded. Opset 1 repeats along one axis.
fn tile(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let from = call.graph.shape(x).to_vec();
    let misfit = |found: &[i64]| {
        OpError::new(format!(
            "a number of repeats for each axis of {from:?} wanted, {found:?} found"
        ))
    };
    let given = call.constant_ints(1, "the repeats")?.unwrap_or_default();
    let repeats: Vec<i64> = if call.version < 6 {
        let axes = call.constant_ints(2, "the axis")?.unwrap_or_default();
        let (&[count], &[axis]) = (given.as_slice(), axes.as_slice()) else {
            return Err(misfit(&given));
        };
        let axis = resolve_axis(axis, from.len())?;
        (0..from.len())
            .map(|i| if i == axis { count } else { 1 })
            .collect()
    } else {
        given
    };
    let repeats = super::super::tensors::checked_shape(&repeats).map_err(|_| misfit(&repeats))?;
    if repeats.len() != from.len() {
        let found: Vec<i64> = repeats.iter().map(|&count| count as i64).collect();
        return Err(misfit(&found));
    }
    if repeats.iter().all(|&count| count == 1) {
        return Ok(vec![x]);
    }
    let (mut apart, mut expanded, mut shape) = (Shape::new(), Shape::new(), Shape::new());
    for (&extent, &count) in from.iter().zip(&repeats) {
        if count != 1 {
            apart.push(1);
            expanded.push(count);
        }
        apart.push(extent);
        expanded.push(extent);
        let product = extent.checked_mul(count);
        shape.push(product.ok_or_else(|| OpError::new("fewer repeats wanted"))?);
    }
    let apart = reshaped(call, x, apart, "apart")?;
    let expanded = call
        .graph
        .emit(Op::Expand(Expand { shape: expanded }), &[apart], "repeated")?;
    Ok(vec![reshaped(call, expanded, shape, "")?])
}

/// A reshape, where the shape changes.
pub(super) fn reshaped(call: &mut Call<'_>, x: Tensor, shape: Shape, role: &str) -> Result<Tensor, OpError> {
    if call.graph.shape(x) == shape && !role.is_empty() {
        return Ok(x);
    }
    call.graph.emit(Op::Reshape(Reshape { shape }), &[x], role)
}

/// A slice per output. Opset 1 has the extents as an attribute or an input, opset 2 as an attribute, opset 13 as an
/// input; without them, all are alike, and from opset 18 the last one may be smaller.
fn split(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let from = call.graph.shape(x).to_vec();
    let axis = resolve_axis(call.attrs.int("axis", 0)?, from.len())?;
    let extent = from[axis];
    let outputs = call.outputs.len();
    let given = if call.version < 13 {
        match call.attrs.maybe_ints("split")? {
            Some(extents) => Some(extents.to_vec()),
            None => call.constant_ints(1, "the extents")?,
        }
    } else {
        call.constant_ints(1, "the extents")?
    };
    let count = if call.version >= 18 {
        call.attrs.maybe_int("num_outputs")?
    } else {
        None
    };
    let misfit = |found: String| {
        OpError::new(format!(
            "{outputs} extents that make up the {extent} of axis {axis} wanted, {found} found"
        ))
    };
    if count.is_some_and(|count| usize::try_from(count) != Ok(outputs)) {
        return Err(misfit(format!("num_outputs {}", count.unwrap_or_default())));
    }
    if count.is_some() && given.is_some() {
        return Err(misfit("both extents and num_outputs".to_owned()));
    }
    let extents: Vec<usize> = match given {
        Some(given) => {
            let extents: Option<Vec<usize>> = given.iter().map(|&own| usize::try_from(own).ok()).collect();
            let sum =
                |extents: &Vec<usize>| extents.iter().try_fold(0_usize, |sum, &own| sum.checked_add(own));
            extents
                .filter(|extents| extents.len() == outputs && sum(extents) == Some(extent))
                .ok_or_else(|| misfit(format!("{given:?}")))?
        }
        None => {
            let each = extent.div_ceil(outputs.max(1));
            if call.version < 18 && each * outputs != extent {
                return Err(misfit("none".to_owned()));
            }
            let left = |index: usize| extent.saturating_sub(each * index).min(each);
            (0..outputs).map(left).collect()
        }
    };
    let mut made = Vec::with_capacity(outputs);
    let mut first = 0;
    for (index, own) in extents.into_iter().enumerate() {
        let mut op = Slice {
            starts: vec![0; from.len()],
            steps: vec![1; from.len()],
            shape: from.clone(),
        };
        op.starts[axis] = first;
        op.shape[axis] = own;
        first += own;
        made.push(call.graph.emit(Op::Slice(op), &[x], &index.to_string())?);
    }
    Ok(made)
}

/// `[n, c, h, w]` of an image whose blocks move between channels and pixels.
fn blocks(call: &Call<'_>, x: Tensor) -> Result<([usize; 4], usize), OpError> {
    let shape = call.graph.shape(x);
    let &[n, c, h, w] = shape else {
        return Err(OpError::new(format!(
            "an image [n, c, h, w] wanted, {shape:?} found"
        )));
    };
    let size = call.attrs.required_int("blocksize")?;
    let size = usize::try_from(size)
        .ok()
        .filter(|size| (1..=1 << 16).contains(size))
        .ok_or_else(|| OpError::new(format!("a block size of at least 1 wanted, {size} found")))?;
    Ok(([n, c, h, w], size))
}

/// Channels become blocks of pixels. Opset 11 may take them column by row: the block's channels run slowest.
fn depth_to_space(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let ([n, c, h, w], size) = blocks(call, x)?;
    let mode = if call.version < 11 {
        "DCR"
    } else {
        call.attrs.word("mode", "DCR")?
    };
    if !c.is_multiple_of(size * size) {
        return Err(OpError::new(format!(
            "channels in multiples of {} wanted, {c} found",
            size * size
        )));
    }
    let left = c / (size * size);
    let (apart, perm) = match mode {
        "DCR" => ([n, size, size, left, h, w], vec![0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, left, size, size, h, w], vec![0, 1, 4, 2, 5, 3]),
        other => return Err(OpError::new(format!("mode DCR or CRD wanted, {other} found"))),
    };
    rearrange(call, x, &apart, perm, vec![n, left, h * size, w * size])
}

/// Blocks of pixels become channels, which run fastest.
fn space_to_depth(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let ([n, c, h, w], size) = blocks(call, x)?;
    if !h.is_multiple_of(size) || !w.is_multiple_of(size) {
        return Err(OpError::new(format!(
            "rows and columns in multiples of {size} wanted, {h} and {w} found"
        )));
    }
    let apart = [n, c, h / size, size, w / size, size];
    let shape = vec![n, c * size * size, h / size, w / size];
    rearrange(call, x, &apart, vec![0, 3, 5, 1, 2, 4], shape)
}

/// Axes apart, in another order, and together again.
fn rearrange(call: &mut Call<'_>, x: Tensor, apart: &[usize], perm: Vec<usize>, shape: Shape) -> Made {
    let apart = reshaped(call, x, apart.to_vec(), "apart")?;
    let moved = call
        .graph
        .emit(Op::Transpose(Transpose { perm }), &[apart], "moved")?;
    Ok(vec![reshaped(call, moved, shape, "")?])
}

/// Which diagonal it is must be known.
fn trilu(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let upper = call.attrs.flag("upper", true)?;
    let diagonal = match call.constant_ints(1, "the diagonal")?.as_deref() {
        None => 0,
        Some(&[diagonal]) => diagonal,
        Some(other) => return Err(OpError::new(format!("one diagonal wanted, {other:?} found"))),
    };
    Ok(vec![call.graph.emit(
        Op::Trilu(Trilu { upper, diagonal }),
        &[x],
        "",
    )?])
}

/// Tinsmith's own operator with a memory of one inference.
fn delay(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    Ok(vec![call.graph.emit(Op::Delay(Delay {}), &[x], "")?])
}
