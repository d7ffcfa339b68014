//! Pools.
//!
//! Pools over more than two axes are pools over the last two and then over each of the others: maxima and means of
//! windows that are products of their axes are made of those along the axes.

use super::super::builder::Tensor;
use super::super::layout::{channels_first, channels_last, from_image, to_image};
use super::window::{self, Resolved};
use super::{Call, Importer, Made, onnx};
use crate::op::{AveragePool, Clamp, MaxPool, MaxPoolIndices, Op, OpError, Reshape, Window, WindowNd};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("AveragePool", average),
    onnx("GlobalAveragePool", global_average),
    onnx("GlobalMaxPool", global_max),
    onnx("MaxPool", max),
];

/// The input, and its extents along its spatial axes.
pub(super) fn input(call: &Call<'_>) -> Result<(Tensor, Vec<usize>), OpError> {
    let x = call.input(0)?;
    let ty = call.graph.ty(x);
    if ty.shape.len() < 3 {
        return Err(OpError::new(format!(
            "an input of rank 3 or more wanted, {ty} found"
        )));
    }
    Ok((x, ty.shape[2..].to_vec()))
}

/// The window of a pool that names its own kernel.
pub(super) fn resolve(call: &Call<'_>, extents: &[usize]) -> Result<Resolved, OpError> {
    let kernel = call
        .attrs
        .maybe_ints("kernel_shape")?
        .ok_or_else(|| OpError::new("`kernel_shape` wanted, none found"))?;
    let ceil_mode = call.version >= 10 && call.attrs.flag("ceil_mode", false)?;
    window::resolve(call, extents, kernel, ceil_mode)
}

/// Pools over all axes of a window, by `op` along one or two of them, into ONNX's layout. The last pool has the
/// node's own name.
pub(super) fn emit(
    call: &mut Call<'_>,
    x: Tensor,
    resolved: &Resolved,
    role: &str,
    op: impl Fn(Window, [usize; 2]) -> Op,
) -> Result<Tensor, OpError> {
    let rank = call.graph.shape(x).len();
    let axes: Vec<usize> = (0..rank - 2).collect();
    let at = |axes: &[usize]| op(resolved.image(axes), resolved.image_overhang(axes));
    if rank <= 4 {
        let image = to_image(call.graph, x)?;
        let y = call.graph.emit_as(at(&axes), &[image], role, "image")?;
        return from_image(call.graph, y, rank);
    }
    let mut y = channels_last(call.graph, x)?;
    let mut shape = call.graph.shape(y).to_vec();
    let channels = shape[rank - 1];
    let (outer, inner) = axes.split_at(axes.len() - 2);
    // Along the last two axes first, then along the others, each over rows as long as all behind it.
    let rows: usize = shape[..rank - 3].iter().product();
    let image = [rows, shape[rank - 3], shape[rank - 2], channels];
    y = reshaped(call, y, &image, "image")?;
    y = call.graph.emit(at(inner), &[y], "plane")?;
    let pooled = call.graph.shape(y).to_vec();
    shape[rank - 3..rank - 1].copy_from_slice(&pooled[1..3]);
    for &axis in outer.iter().rev() {
        let before: usize = shape[..=axis].iter().product();
        let behind: usize = shape[axis + 2..rank - 1].iter().product();
        let image = [before, shape[axis + 1], behind, channels];
        y = reshaped(call, y, &image, "rows")?;
        let mut window = resolved.image(&[axis, axis]);
        for side in [&mut window.kernel, &mut window.strides, &mut window.dilations] {
            side[1] = 1;
        }
        window.pads[1] = 0;
        window.pads[3] = 0;
        let overhang = [resolved.overhang[axis], 0];
        let (own, tensor) = if axis == 0 {
            (role, "depth")
        } else {
            ("depth", "depth")
        };
        y = call.graph.emit_as(op(window, overhang), &[y], own, tensor)?;
        shape[axis + 1] = call.graph.shape(y)[1];
    }
    let y = reshaped(call, y, &shape, "channels_last")?;
    channels_first(call.graph, y)
}

pub(super) fn reshaped(
    call: &mut Call<'_>,
    x: Tensor,
    shape: &[usize],
    role: &str,
) -> Result<Tensor, OpError> {
    if call.graph.shape(x) == shape {
        return Ok(x);
    }
    let shape = shape.to_vec();
    call.graph.emit(Op::Reshape(Reshape { shape }), &[x], role)
}

fn max_op(window: Window, _overhang: [usize; 2]) -> Op {
    let clamp = Clamp::NONE;
    Op::MaxPool(MaxPool { window, clamp })
}

fn max(call: &mut Call<'_>) -> Made {
    let (x, extents) = input(call)?;
    let column_major = call.version >= 8 && call.attrs.flag("storage_order", false)?;
    let resolved = resolve(call, &extents)?;
    let mut made = vec![emit(call, x, &resolved, "", max_op)?];
    if call.wants(1) {
        let window = WindowNd {
            output: call.graph.shape(made[0])[2..].to_vec(),
            spread: vec![1; extents.len()],
            pads: resolved.before.iter().map(|&pad| pad as i64).collect(),
            kernel: resolved.kernel,
            strides: resolved.strides,
            dilations: resolved.dilations,
        };
        let op = Op::MaxPoolIndices(MaxPoolIndices { window, column_major });
        made.push(call.graph.emit(op, &[x], "indices")?);
    }
    Ok(made)
}

fn average(call: &mut Call<'_>) -> Made {
    let (x, extents) = input(call)?;
    let count_include_pad = call.version >= 7 && call.attrs.flag("count_include_pad", false)?;
    let resolved = resolve(call, &extents)?;
    let y = emit(call, x, &resolved, "", |window, ceil_pads| {
        Op::AveragePool(AveragePool {
            window,
            count_include_pad,
            ceil_pads,
            clamp: Clamp::NONE,
        })
    })?;
    Ok(vec![y])
}

/// One window over everything: over the last axis as columns and all others as rows.
pub(super) fn global(call: &mut Call<'_>, x: Tensor, op: impl Fn(Window) -> Op) -> Result<Tensor, OpError> {
    let rank = call.graph.shape(x).len();
    let mut image = if rank <= 4 {
        to_image(call.graph, x)?
    } else {
        channels_last(call.graph, x)?
    };
    let shape = call.graph.shape(image).to_vec();
    let (n, c) = (shape[0], shape[shape.len() - 1]);
    let columns = shape[shape.len() - 2];
    let rows = shape[1..shape.len() - 2].iter().product();
    image = reshaped(call, image, &[n, rows, columns, c], "image")?;
    let window = Window {
        kernel: [rows, columns],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [0; 4],
    };
    let y = call.graph.emit_as(op(window), &[image], "", "image")?;
    if rank <= 4 {
        return from_image(call.graph, y, rank);
    }
    let mut shape = vec![1; rank];
    (shape[0], shape[rank - 1]) = (n, c);
    let y = reshaped(call, y, &shape, "channels_last")?;
    channels_first(call.graph, y)
}

fn global_average(call: &mut Call<'_>) -> Made {
    let (x, _) = input(call)?;
    let y = global(call, x, |window| {
        Op::AveragePool(AveragePool {
            window,
            count_include_pad: false,
            ceil_pads: [0, 0],
            clamp: Clamp::NONE,
        })
    })?;
    Ok(vec![y])
}

fn global_max(call: &mut Call<'_>) -> Made {
    let (x, _) = input(call)?;
    Ok(vec![global(call, x, |window| max_op(window, [0; 2]))?])
}
