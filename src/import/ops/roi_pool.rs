//! MaxRoiPool: <https://onnx.ai/onnx/operators/onnx__MaxRoiPool.html>.

use super::super::builder::Tensor;
use super::super::tensors::elements;
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{BinaryKind, Clamp, CompareKind, Gather, Op, OpError, ReduceKind, UnaryKind};

pub(super) const IMPORTERS: &[Importer] = &[onnx("MaxRoiPool", max_roi_pool)];

/// Which elements along one axis lie in the bins of each region.
struct Bins {
    /// `[regions, bins, extent]` of Booleans.
    inside: Tensor,
    /// `[regions, bins]` of Booleans: whether a bin has any.
    filled: Tensor,
}

/// The greatest element of each bin of each region, of none 0: first of the bins' rows, then of their columns. Regions
/// are `[image, x₁, y₁, x₂, y₂]`, their corners inside; corners are rounded half away from zero as ONNX Runtime does.
fn max_roi_pool(call: &mut Call<'_>) -> Made {
    let (x, rois) = (call.input(0)?, call.input(1)?);
    let (&[_, channels, height, width], &[regions, 5]) = (call.graph.shape(x), call.graph.shape(rois)) else {
        return Err(OpError::new(format!(
            "an input of rank 4 and regions of 5 numbers wanted, {} and {} found",
            call.graph.ty(x),
            call.graph.ty(rois)
        )));
    };
    let pooled = call.attrs.maybe_ints("pooled_shape")?.unwrap_or_default();
    let bins: Vec<usize> = pooled.iter().filter_map(|&n| usize::try_from(n).ok()).collect();
    let &[rows, columns] = &bins[..] else {
        return Err(OpError::new(format!(
            "`pooled_shape` of 2 positive extents wanted, {pooled:?} found"
        )));
    };
    if rows == 0 || columns == 0 || height == 0 || width == 0 {
        return Err(OpError::new(format!(
            "bins and elements along each axis wanted, {pooled:?} of {} found",
            call.graph.ty(x)
        )));
    }
    elements(&[regions, channels, rows, height, width])?;
    let rois = call.graph.cast(rois, DType::F32, "regions")?;
    let image = call.graph.part(rois, 1, 0..1, "images")?;
    let image = call.graph.cast(image, DType::I64, "image_numbers")?;
    let image = call.graph.reshape(image, [regions], "image_list")?;
    let gather = Op::Gather(Gather { axis: 0 });
    let x = call.graph.emit(gather, &[x, image], "images_of_regions")?;
    let down = bins_along(call, rois, 2, rows, height)?;
    let across = bins_along(call, rois, 1, columns, width)?;
    let mut y = call
        .graph
        .reshape(x, [regions, channels, 1, height, width], "by_row")?;
    let inside = [regions, 1, rows, height, 1];
    let inside = call.graph.reshape(down.inside, inside, "rows_inside")?;
    y = greatest(call, inside, y, 3)?;
    y = call
        .graph
        .reshape(y, [regions, channels, rows, 1, width], "by_column")?;
    let inside = [regions, 1, 1, columns, width];
    let inside = call.graph.reshape(across.inside, inside, "columns_inside")?;
    y = greatest(call, inside, y, 4)?;
    y = call
        .graph
        .reshape(y, [regions, channels, rows, columns], "greatest")?;
    let down = call
        .graph
        .reshape(down.filled, [regions, 1, rows, 1], "rows_filled")?;
    let across = call
        .graph
        .reshape(across.filled, [regions, 1, 1, columns], "columns_filled")?;
    let filled = call.part("And", 7, &[Some(down), Some(across)], &[])?;
    let zero = call.graph.scalar_like(y, 0.0, "zero");
    Ok(vec![call.part(
        "Where",
        16,
        &[Some(filled), Some(y), Some(zero)],
        &[],
    )?])
}

/// The greatest elements along an axis of those inside, which is dropped to 1; the least number of none.
fn greatest(call: &mut Call<'_>, inside: Tensor, x: Tensor, axis: usize) -> Result<Tensor, OpError> {
    let least = call.graph.scalar_like(x, f64::NEG_INFINITY, "least");
    let seen = call.part("Where", 16, &[Some(inside), Some(x), Some(least)], &[])?;
    call.graph
        .reduce(ReduceKind::Max, seen, &[axis], "greatest_inside")
}

/// The bins along an axis; the regions' first corner stands in column `first`, the second one two columns behind.
fn bins_along(
    call: &mut Call<'_>,
    rois: Tensor,
    first: usize,
    bins: usize,
    extent: usize,
) -> Result<Bins, OpError> {
    let scale = f64::from(call.attrs.float("spatial_scale", 1.0)?);
    let regions = call.graph.shape(rois)[0];
    let start = corner(call, rois, first, scale)?;
    let end = corner(call, rois, first + 2, scale)?;
    let graph = &mut *call.graph;
    let one = graph.scalar_like(rois, 1.0, "one");
    let spans = graph.sub(end, start, "spans")?;
    let spans = graph.add(spans, one, "whole_spans")?;
    let spans = graph.binary(BinaryKind::Max, spans, one, "positive_spans")?;
    let count = graph.scalar_like(rois, bins as f64, "bin_count");
    let size = graph.div(spans, count, "bin_sizes")?;
    let mut edges = Vec::with_capacity(2);
    for (further, rounding) in [(0, UnaryKind::Floor), (1, UnaryKind::Ceil)] {
        graph.take_bytes(bins.saturating_mul(4))?;
        let numbers = (0..bins).map(|bin| (bin + further) as f32).collect();
        let numbers = graph.constant(Values::f32([1, bins], numbers), "bin_numbers");
        let edge = graph.mul(size, numbers, "edges")?;
        let edge = graph.unary(rounding, edge, "whole_edges")?;
        let edge = graph.add(edge, start, "edges_in_image")?;
        let limits = Clamp {
            min: Some(0.0),
            max: Some(extent as f32),
        };
        edges.push(graph.unary(UnaryKind::Clamp(limits), edge, "edges_inside")?);
    }
    let (lower, upper) = (edges[0], edges[1]);
    let filled = graph.compare(CompareKind::Less, lower, upper, "filled")?;
    graph.take_bytes(extent.saturating_mul(4))?;
    let places = Data::F32((0..extent).map(|place| place as f32).collect());
    let places = graph.constant(Values::new([1, 1, extent], places), "element_places");
    let lower = graph.reshape(lower, [regions, bins, 1], "lower_edges")?;
    let upper = graph.reshape(upper, [regions, bins, 1], "upper_edges")?;
    let behind = graph.compare(CompareKind::LessOrEqual, lower, places, "behind_lower")?;
    let before = graph.compare(CompareKind::Less, places, upper, "before_upper")?;
    let inside = call.part("And", 7, &[Some(behind), Some(before)], &[])?;
    Ok(Bins { inside, filled })
}

/// A column of the regions in elements: `[regions, 1]`, rounded half away from zero.
fn corner(call: &mut Call<'_>, rois: Tensor, column: usize, scale: f64) -> Result<Tensor, OpError> {
    let graph = &mut *call.graph;
    let own = graph.part(rois, 1, column..column + 1, "corners")?;
    let own = graph.scale(own, scale, "scaled_corners")?;
    let size = graph.unary(UnaryKind::Abs, own, "corner_sizes")?;
    let whole = graph.unary(UnaryKind::Floor, size, "corner_floors")?;
    let rest = graph.sub(size, whole, "corner_rests")?;
    let half = graph.scalar_like(rois, 0.5, "half");
    let up = graph.compare(CompareKind::LessOrEqual, half, rest, "corner_halves")?;
    let up = graph.cast(up, DType::F32, "corner_ups")?;
    let whole = graph.add(whole, up, "corner_rounds")?;
    let sign = graph.unary(UnaryKind::Sign, own, "corner_signs")?;
    graph.mul(whole, sign, "corner_elements")
}
