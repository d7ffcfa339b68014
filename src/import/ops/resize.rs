//! Resize and Upsample: axis by axis, every output a short weighted sum of inputs that are known when compiling.

use super::super::builder::Tensor;
use super::neighbours::{Along, MOST, Mode, Nearest, Places, Step, Style, step};
use super::{Call, Importer, Made, onnx, resolve_axes};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{
    AlongAxis, Binary, BinaryKind, Cast, Clamp, Concat, Gather, Op, OpError, Pad, PadMode, Reshape,
};

pub(super) const IMPORTERS: &[Importer] = &[onnx("Resize", resize), onnx("Upsample", upsample)];

/// The most copies of an element that a nearest-neighbour enlargement makes one after the other.
const MOST_COPIES: usize = 64;

/// Opset 10 has scales alone; opset 11 regions, sizes and modes; opset 18 axes, policies and antialiasing.
fn resize(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let shape = call.graph.shape(x).to_vec();
    if call.version < 11 {
        let scales = reals(call, 1, "scales")?.unwrap_or_default();
        let mode = mode(call)?;
        let (axes, sizes) = ((0..shape.len()).collect::<Vec<_>>(), None);
        let along = plan(&shape, &axes, &scales, sizes, Policy::Stretch, &[])?;
        return run(call, x, along, old_style(mode));
    }
    let axes = match call.attrs.maybe_ints("axes")? {
        Some(axes) => resolve_axes(axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let policy = match call.attrs.word("keep_aspect_ratio_policy", "stretch")? {
        "stretch" => Policy::Stretch,
        "not_larger" => Policy::NotLarger,
        "not_smaller" => Policy::NotSmaller,
        other => {
            return Err(OpError::new(format!(
                "keep_aspect_ratio_policy stretch, not_larger or not_smaller wanted, {other} found"
            )));
        }
    };
    let extrapolation = call.attrs.float("extrapolation_value", 0.0)?;
    let places = match call.attrs.word("coordinate_transformation_mode", "half_pixel")? {
        "half_pixel" => Places::HalfPixel,
        "half_pixel_symmetric" => Places::HalfPixelSymmetric,
        "pytorch_half_pixel" => Places::PytorchHalfPixel,
        "align_corners" => Places::AlignCorners,
        "asymmetric" => Places::Asymmetric,
        "tf_crop_and_resize" => Places::Crop(extrapolation),
        other => {
            return Err(OpError::new(format!(
                "a coordinate_transformation_mode of Resize wanted, {other} found"
            )));
        }
    };
    let style = Style {
        mode: mode(call)?,
        places,
        antialias: call.attrs.flag("antialias", false)?,
        exclude_outside: call.attrs.flag("exclude_outside", false)?,
    };
    let region = match places {
        Places::Crop(_) => reals(call, 1, "the region")?.unwrap_or_default(),
        _ => Vec::new(),
    };
    let scales = reals(call, 2, "scales")?.unwrap_or_default();
    let sizes = call.constant_ints(3, "sizes")?.filter(|sizes| !sizes.is_empty());
    let along = plan(&shape, &axes, &scales, sizes.as_deref(), policy, &region)?;
    run(call, x, along, style)
}

/// Opset 1 names the scales of rows and columns, opset 7 all, opset 9 has them as an input.
fn upsample(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let shape = call.graph.shape(x).to_vec();
    let scales: Vec<f64> = if call.version < 7 {
        let scale = |name: &str| {
            let scale = call.attrs.maybe_float(name)?;
            let scale = scale.ok_or_else(|| OpError::new(format!("`{name}` wanted, none found")))?;
            Ok::<_, OpError>(f64::from(scale))
        };
        vec![1.0, 1.0, scale("height_scale")?, scale("width_scale")?]
    } else if call.version < 9 {
        let scales = call.attrs.maybe_floats("scales")?.unwrap_or_default();
        scales.iter().map(|&scale| scale.into()).collect()
    } else {
        reals(call, 1, "scales")?.unwrap_or_default()
    };
    let mode = mode(call)?;
    let axes: Vec<usize> = (0..shape.len()).collect();
    let along = plan(&shape, &axes, &scales, None, Policy::Stretch, &[])?;
    run(call, x, along, old_style(mode))
}

/// What there was before opset 11: outputs count from the first input, nearest means the one before.
fn old_style(mode: Mode) -> Style {
    Style {
        mode: match mode {
            Mode::Nearest(_) => Mode::Nearest(Nearest::Floor),
            other @ (Mode::Linear | Mode::Cubic(_)) => other,
        },
        places: Places::Asymmetric,
        antialias: false,
        exclude_outside: false,
    }
}

fn mode(call: &Call<'_>) -> Result<Mode, OpError> {
    let coefficient = call.attrs.float("cubic_coeff_a", -0.75)?;
    let nearest = match call.attrs.word("nearest_mode", "round_prefer_floor")? {
        "round_prefer_floor" => Nearest::PreferFloor,
        "round_prefer_ceil" => Nearest::PreferCeil,
        "floor" => Nearest::Floor,
        "ceil" => Nearest::Ceil,
        other => {
            return Err(OpError::new(format!(
                "nearest_mode round_prefer_floor, round_prefer_ceil, floor or ceil wanted, {other} found"
            )));
        }
    };
    match call.attrs.word("mode", "nearest")? {
        "nearest" => Ok(Mode::Nearest(nearest)),
        "linear" | "bilinear" => Ok(Mode::Linear),
        "cubic" => Ok(Mode::Cubic(coefficient.into())),
        other => Err(OpError::new(format!(
            "mode nearest, linear or cubic wanted, {other} found"
        ))),
    }
}

/// The reals of an input that must be known now; `None` where it is left out or empty.
fn reals(call: &Call<'_>, index: usize, what: &str) -> Result<Option<Vec<f64>>, OpError> {
    let Some(values) = call.constant(index, what)? else {
        return Ok(None);
    };
    if !values.data.dtype().is_float() {
        return Err(OpError::new(format!(
            "reals as {what} wanted, {} found",
            values.ty()
        )));
    }
    Ok(Some(values.to_f64()).filter(|values| !values.is_empty()))
}

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

/// The axes to resize: by their scales, or else to their sizes.
fn plan(
    shape: &[usize],
    axes: &[usize],
    scales: &[f64],
    sizes: Option<&[i64]>,
    policy: Policy,
    region: &[f64],
) -> Result<Vec<Along>, OpError> {
    let wrong = |what: &str, found: usize| {
        OpError::new(format!("{what} of {} axes wanted, {found} found", axes.len()))
    };
    if !region.is_empty() && region.len() != 2 * axes.len() {
        return Err(wrong("starts and ends", region.len()));
    }
    let (scales, rounded): (Vec<f64>, bool) = match sizes {
        None if scales.len() == axes.len() => (scales.to_vec(), false),
        None => return Err(wrong("scales", scales.len())),
        Some(_) if !scales.is_empty() => {
            return Err(OpError::new("scales or sizes wanted, both found"));
        }
        Some(sizes) if sizes.len() != axes.len() => return Err(wrong("sizes", sizes.len())),
        Some(sizes) => {
            let scales = axes.iter().zip(sizes);
            let scales = scales.map(|(&axis, &size)| size as f64 / shape[axis] as f64);
            let scales: Vec<f64> = scales.collect();
            let kept = match policy {
                Policy::Stretch => None,
                Policy::NotLarger => scales.iter().copied().reduce(f64::min),
                Policy::NotSmaller => scales.iter().copied().reduce(f64::max),
            };
            (kept.map_or(scales, |scale| vec![scale; axes.len()]), true)
        }
    };
    let along = |(index, (&axis, &scale)): (usize, (&usize, &f64))| {
        let extent = shape[axis];
        // Sizes become scales and back, which is exact to half an element.
        let output = extent as f64 * scale + if rounded { 0.5 } else { 0.0 };
        if !(scale.is_finite() && scale > 0.0 && output < MOST) && extent > 0 {
            return Err(OpError::new(format!(
                "an output of up to {MOST} elements along axis {axis} wanted, {extent} times {scale} found"
            )));
        }
        Ok(Along {
            axis,
            extent,
            scale,
            output: output as usize,
            region: match region.get(index).zip(region.get(axes.len() + index)) {
                Some((&start, &end)) => (start, end),
                None => (0.0, 1.0),
            },
        })
    };
    axes.iter().zip(&scales).enumerate().map(along).collect()
}

/// Resizes axis by axis. Integers are resized as reals and rounded, unless they only move.
fn run(call: &mut Call<'_>, x: Tensor, along: Vec<Along>, style: Style) -> Made {
    let dtype = call.graph.ty(x).dtype;
    let only_moves = matches!(style.mode, Mode::Nearest(_));
    if style.antialias && only_moves {
        return Err(OpError::new(
            "antialias with mode linear or cubic wanted, nearest found",
        ));
    }
    if !only_moves && !dtype.is_float() && !dtype.is_integer() {
        return Err(OpError::new(format!(
            "numbers wanted where neighbours are mixed, {dtype} found"
        )));
    }
    let resized = |along: &&Along| along.extent > 0;
    let steps: Vec<(usize, Step)> = along
        .iter()
        .filter(resized)
        .map(|along| Ok((along.axis, step(along, style)?)))
        .collect::<Result<_, OpError>>()?;
    let steps: Vec<(usize, Step)> = steps
        .into_iter()
        .filter(|(axis, step)| !step.is_identity(call.graph.shape(x)[*axis]))
        .collect();
    let converts = !only_moves && dtype.is_integer() && !steps.is_empty();
    let mut y = x;
    if converts {
        y = call
            .graph
            .emit(Op::Cast(Cast { to: DType::F64 }), &[y], "reals")?;
    }
    let rank = call.graph.shape(x).len();
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (axis, step) in steps {
        before[axis] = step.outside[0];
        after[axis] = step.outside[1];
        y = apply(call, y, axis, step)?;
    }
    if let Places::Crop(value) = style.places
        && before.iter().chain(&after).any(|&outside| outside > 0)
    {
        let mode = PadMode::Constant(value);
        y = call
            .graph
            .emit(Op::Pad(Pad { before, after, mode }), &[y], "outside")?;
    }
    if converts {
        y = rounded(call, y, dtype)?;
    }
    Ok(vec![y])
}

/// Reals to the nearest integers of a type, ties away from zero, saturated.
fn rounded(call: &mut Call<'_>, x: Tensor, dtype: DType) -> Result<Tensor, OpError> {
    let (low, high) = match dtype {
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::U8 => (0.0, u8::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::U16 => (0.0, u16::MAX.into()),
        DType::I32 | DType::I64 => (f32::MIN, f32::MAX),
        _ => (0.0, f32::MAX),
    };
    // A cast drops the fraction: a half more below zero's other side, cut down to whole numbers, is the nearest.
    let limit = crate::op::UnaryKind::Clamp(Clamp {
        min: Some(low),
        max: Some(high),
    });
    let x = call
        .graph
        .emit(Op::Unary(crate::op::Unary { kind: limit }), &[x], "limited")?;
    let whole = |call: &mut Call<'_>, half: f64, clamp: Clamp, role: &str| {
        let half = Values::new([], Data::F64(vec![half]));
        let half = call.graph.constant(half, "half");
        let add = Binary {
            kind: BinaryKind::Add,
            clamp,
        };
        let sum = call.graph.emit(Op::Binary(add), &[x, half], role)?;
        call.graph.emit(Op::Cast(Cast { to: dtype }), &[sum], role)
    };
    let positive = Clamp {
        min: Some(0.0),
        max: None,
    };
    let up = whole(call, 0.5, positive, "above")?;
    if low == 0.0 {
        return Ok(up);
    }
    let negative = Clamp {
        min: None,
        max: Some(0.0),
    };
    let down = whole(call, -0.5, negative, "below")?;
    let add = Binary {
        kind: BinaryKind::Add,
        clamp: Clamp::NONE,
    };
    call.graph.emit(Op::Binary(add), &[up, down], "")
}

/// Resamples along an axis. The nearest elements only move: as copies side by side where all have equally many, else
/// gathered.
fn apply(call: &mut Call<'_>, x: Tensor, axis: usize, step: Step) -> Result<Tensor, OpError> {
    if !step.only_moves {
        let along = AlongAxis {
            axis,
            taps: step.taps,
            sources: step.sources,
            weights: step.weights,
        };
        return call.graph.emit(Op::Resample(along.into()), &[x], "resampled");
    }
    let shape = call.graph.shape(x).to_vec();
    let copies = step.sources.len() / shape[axis].max(1);
    let mut in_turn = step.sources.iter().enumerate();
    let uniform = step.sources.len() == shape[axis] * copies
        && (2..=MOST_COPIES).contains(&copies)
        && in_turn.all(|(output, &source)| source == output / copies);
    if uniform {
        let mut apart = shape.clone();
        apart.insert(axis + 1, 1);
        let split = Op::Reshape(Reshape { shape: apart });
        let part = call.graph.emit(split, &[x], "apart")?;
        let join = Op::Concat(Concat { axis: axis + 1 });
        let joined = call.graph.emit(join, &vec![part; copies], "copies")?;
        let mut shape = shape;
        shape[axis] *= copies;
        return call
            .graph
            .emit(Op::Reshape(Reshape { shape }), &[joined], "resampled");
    }
    let rows = step.sources.iter().map(|&source| source as i64).collect();
    let rows = Values::new([step.sources.len()], Data::I64(rows));
    let rows = call.graph.constant(rows, "rows");
    call.graph
        .emit(Op::Gather(Gather { axis }), &[x, rows], "resampled")
}
