//! Samples at computed places: GridSample, AffineGrid, RoiAlign.

use super::{Call, Importer, Made, onnx};
use crate::op::tensor::{Data, Values};
use crate::op::{
    Coordinates, GridSample, MatMul, Op, OpError, Reshape, RoiAlign, SampleMode, SamplePadding, Transpose,
};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("AffineGrid", affine_grid),
    onnx("GridSample", grid_sample),
    onnx("RoiAlign", roi_align),
];

/// Opset 16 has two spatial axes and says bilinear and bicubic; opset 20 any number of axes.
fn grid_sample(call: &mut Call<'_>) -> Made {
    let (x, grid) = (call.input(0)?, call.input(1)?);
    let mode = match call.attrs.word("mode", "linear")? {
        "linear" | "bilinear" => SampleMode::Linear,
        "nearest" => SampleMode::Nearest,
        "cubic" | "bicubic" => SampleMode::Cubic,
        other => {
            return Err(OpError::new(format!(
                "mode linear, nearest or cubic wanted, {other} found"
            )));
        }
    };
    let padding = match call.attrs.word("padding_mode", "zeros")? {
        "zeros" => SamplePadding::Zeros,
        "border" => SamplePadding::Border,
        "reflection" => SamplePadding::Reflection,
        other => {
            return Err(OpError::new(format!(
                "padding_mode zeros, border or reflection wanted, {other} found"
            )));
        }
    };
    let coordinates = if call.attrs.flag("align_corners", false)? {
        Coordinates::Corners
    } else {
        Coordinates::Edges
    };
    let op = Op::GridSample(GridSample {
        mode,
        padding,
        coordinates,
    });
    Ok(vec![call.graph.emit(op, &[x, grid], "")?])
}

/// The points of an image of the given size, `(x, y, 1)` or `(x, y, z, 1)`, times the transform's transpose.
fn affine_grid(call: &mut Call<'_>) -> Made {
    let theta = call.input(0)?;
    let size = call
        .constant_ints(1, "the size")?
        .ok_or_else(|| OpError::new("the size wanted, none found"))?;
    let corners = call.attrs.flag("align_corners", false)?;
    let extents: Option<Vec<usize>> = size
        .iter()
        .map(|&extent| usize::try_from(extent).ok().filter(|&extent| extent > 0))
        .collect();
    let axes = size.len().saturating_sub(2);
    let points = extents
        .as_ref()
        .and_then(|extents| extents.iter().skip(2).try_fold(1usize, |n, &e| n.checked_mul(e)))
        .filter(|&points| (2..=3).contains(&axes) && points <= 1 << 26);
    let (Some(extents), Some(points)) = (extents, points) else {
        return Err(OpError::new(format!(
            "the size of a batch of images or volumes wanted, {size:?} found"
        )));
    };
    let ty = call.graph.ty(theta).clone();
    if ty.shape != [extents[0], axes, axes + 1] {
        return Err(OpError::new(format!(
            "theta as [{}, {axes}, {}] wanted, {ty} found",
            extents[0],
            axes + 1
        )));
    }
    let spatial = &extents[2..];
    let mut base = Vec::with_capacity(points * (axes + 1));
    for point in 0..points {
        let mut rest = point;
        for &extent in spatial.iter().rev() {
            let (index, n) = ((rest % extent) as f64, extent as f64);
            rest /= extent;
            base.push(if !corners {
                (2.0 * index + 1.0) / n - 1.0
            } else if extent == 1 {
                -1.0
            } else {
                2.0 * index / (n - 1.0) - 1.0
            });
        }
        base.push(1.0);
    }
    call.graph.take_bytes(base.len() * ty.dtype.bytes())?;
    let base = Values::new([1, points, axes + 1], Data::F64(base).cast(ty.dtype));
    let base = call.graph.constant(base, "points");
    let turn = Op::Transpose(Transpose { perm: vec![0, 2, 1] });
    let turned = call.graph.emit(turn, &[theta], "transposed")?;
    let grid = call.graph.emit(Op::MatMul(MatMul {}), &[base, turned], "grid")?;
    let mut shape = vec![extents[0]];
    shape.extend(spatial);
    shape.push(axes);
    Ok(vec![call.graph.emit(
        Op::Reshape(Reshape { shape }),
        &[grid],
        "",
    )?])
}

/// Opset 16 names the meaning of coordinates, which was that of centres before.
fn roi_align(call: &mut Call<'_>) -> Made {
    let inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
    let positive = |name: &str, default: i64, least: i64| {
        let value = call.attrs.int(name, default)?;
        usize::try_from(value)
            .ok()
            .filter(|_| (least..=65_535).contains(&value))
            .ok_or_else(|| OpError::new(format!("`{name}` from {least} to 65535 wanted, {value} found")))
    };
    let bins = [positive("output_height", 1, 1)?, positive("output_width", 1, 1)?];
    let sampling = positive("sampling_ratio", 0, 0)?;
    let half_pixel = match call.attrs.word("coordinate_transformation_mode", "half_pixel")? {
        _ if call.version < 16 => false,
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => {
            return Err(OpError::new(format!(
                "coordinate_transformation_mode half_pixel or output_half_pixel wanted, {other} found"
            )));
        }
    };
    let largest = match call.attrs.word("mode", "avg")? {
        "avg" => false,
        "max" => true,
        other => return Err(OpError::new(format!("mode avg or max wanted, {other} found"))),
    };
    let op = Op::RoiAlign(RoiAlign {
        bins,
        sampling,
        scale: call.attrs.float("spatial_scale", 1.0)?,
        half_pixel,
        largest,
    });
    Ok(vec![call.graph.emit(op, &inputs, "")?])
}
