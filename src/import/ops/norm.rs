//! Normalization by mean and variance, or by a norm: reductions and arithmetic.

use super::super::builder::{Builder, Tensor};
use super::super::tensors::dtype;
use super::{Call, Importer, Made, onnx, resolve_axes, resolve_axis};
use crate::op::tensor::DType;
use crate::op::{Clamp, OpError, ReduceKind, UnaryKind};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("GroupNormalization", group),
    onnx("InstanceNormalization", instance),
    onnx("LayerNormalization", layer),
    onnx("LpNormalization", lp),
    onnx("MeanVarianceNormalization", mean_variance),
    onnx("RMSNormalization", root_mean_square),
];

/// Mean, what is left without it, and variance along axes, which stay as extents of 1.
pub(super) struct Moments {
    pub(super) mean: Tensor,
    pub(super) centered: Tensor,
    pub(super) variance: Tensor,
}

impl Moments {
    pub(super) fn of(graph: &mut Builder, x: Tensor, axes: &[usize]) -> Result<Self, OpError> {
        let mean = graph.reduce(ReduceKind::Mean, x, axes, "mean")?;
        let centered = graph.sub(x, mean, "centered")?;
        let squares = graph.mul(centered, centered, "squares")?;
        let variance = graph.reduce(ReduceKind::Mean, squares, axes, "variance")?;
        Ok(Self {
            mean,
            centered,
            variance,
        })
    }
}

/// `√(variance + epsilon)`.
pub(super) fn deviation(graph: &mut Builder, variance: Tensor, epsilon: f32) -> Result<Tensor, OpError> {
    let epsilon = graph.scalar_like(variance, epsilon.into(), "epsilon");
    let sum = graph.add(variance, epsilon, "variance_epsilon")?;
    graph.unary(UnaryKind::Sqrt, sum, "deviation")
}

/// `x · scale + bias`, one of each per channel of `[n, c, …]`.
fn affine(graph: &mut Builder, x: Tensor, scale: Tensor, bias: Tensor) -> Result<Tensor, OpError> {
    let scale = per_channel(graph, scale, x)?;
    let bias = per_channel(graph, bias, x)?;
    let scaled = graph.mul(x, scale, "scaled")?;
    graph.add(scaled, bias, "shifted")
}

/// A vector over the channels of `[n, c, …]` so that it broadcasts to them.
pub(super) fn per_channel(graph: &mut Builder, vector: Tensor, x: Tensor) -> Result<Tensor, OpError> {
    let shape = graph.shape(x);
    let channels = shape.get(1).copied().unwrap_or(0);
    let mut column = vec![1; shape.len().saturating_sub(1)];
    if let Some(first) = column.first_mut() {
        *first = channels;
    }
    if graph.shape(vector) != [channels] {
        return Err(OpError::new(format!(
            "a vector over {channels} channels wanted, {} found",
            graph.ty(vector)
        )));
    }
    graph.reshape(vector, column, "per_channel")
}

/// The type that a normalization computes in: the inputs' own, or the one that `stash_type` names.
fn stash(call: &Call<'_>, since: i64, own: DType) -> Result<DType, OpError> {
    if call.version < since {
        return Ok(own);
    }
    let number = call.attrs.int("stash_type", 1)?;
    dtype(i32::try_from(number).unwrap_or(i32::MAX))
}

/// Opset 1 has a hint about memory, which changes nothing.
fn instance(call: &mut Call<'_>) -> Made {
    call.attrs.ignore(&["consumed_inputs"]);
    let (x, scale, bias) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let epsilon = call.attrs.float("epsilon", 1e-5)?;
    let rank = call.graph.rank(x);
    if rank < 3 {
        return Err(OpError::new(format!(
            "an input of rank 3 or more wanted, {} found",
            call.graph.ty(x)
        )));
    }
    let axes: Vec<usize> = (2..rank).collect();
    let own = call.graph.ty(x).dtype;
    let wide = if matches!(own, DType::F16 | DType::BF16) {
        DType::F32
    } else {
        own
    };
    let exact = call.graph.cast(x, wide, "wide")?;
    let moments = Moments::of(call.graph, exact, &axes)?;
    let deviation = deviation(call.graph, moments.variance, epsilon)?;
    let normal = call.graph.div(moments.centered, deviation, "normal")?;
    let normal = call.graph.cast(normal, own, "normal_narrow")?;
    Ok(vec![affine(call.graph, normal, scale, bias)?])
}

/// Opset 18 has scale and bias per group, opset 21 per channel.
fn group(call: &mut Call<'_>) -> Made {
    let (x, scale, bias) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let epsilon = call.attrs.float("epsilon", 1e-5)?;
    let given = call.attrs.required_int("num_groups")?;
    let shape = call.graph.shape(x).to_vec();
    let channels = shape.get(1).copied().unwrap_or(0);
    let groups = usize::try_from(given)
        .ok()
        .filter(|&groups| groups > 0 && channels.is_multiple_of(groups))
        .ok_or_else(|| {
            OpError::new(format!(
                "`num_groups` that divides {channels} channels wanted, {given} found"
            ))
        })?;
    let own = call.graph.ty(x).dtype;
    let wide = stash(call, 21, own)?;
    let members = shape[1..].iter().product::<usize>() / groups;
    let flat = call.graph.reshape(x, [shape[0], groups, members], "groups")?;
    let flat = call.graph.cast(flat, wide, "wide")?;
    let moments = Moments::of(call.graph, flat, &[2])?;
    let deviation = deviation(call.graph, moments.variance, epsilon)?;
    let normal = call.graph.div(moments.centered, deviation, "normal")?;
    let normal = call.graph.cast(normal, own, "normal_narrow")?;
    if call.version < 21 {
        let y = affine(call.graph, normal, scale, bias)?;
        return Ok(vec![call.graph.reshape(y, shape, "ungrouped")?]);
    }
    let normal = call.graph.reshape(normal, shape, "ungrouped")?;
    Ok(vec![affine(call.graph, normal, scale, bias)?])
}

/// The axes from the given one on.
fn trailing(call: &Call<'_>, x: Tensor) -> Result<Vec<usize>, OpError> {
    let rank = call.graph.rank(x);
    let first = resolve_axis(call.attrs.int("axis", -1)?, rank)?;
    Ok((first..rank).collect())
}

/// The mean and the reciprocal of the deviation are outputs too, in the type computed in.
fn layer(call: &mut Call<'_>) -> Made {
    let (x, scale) = (call.input(0)?, call.input(1)?);
    let axes = trailing(call, x)?;
    let epsilon = call.attrs.float("epsilon", 1e-5)?;
    let own = call.graph.ty(x).dtype;
    let wide = stash(call, 1, own)?;
    let exact = call.graph.cast(x, wide, "wide")?;
    let moments = Moments::of(call.graph, exact, &axes)?;
    let deviation = deviation(call.graph, moments.variance, epsilon)?;
    let one = call.graph.scalar_like(deviation, 1.0, "one");
    let inverse = call.graph.div(one, deviation, "inverse_deviation")?;
    let normal = call.graph.mul(moments.centered, inverse, "normal")?;
    let normal = call.graph.cast(normal, own, "normal_narrow")?;
    let mut y = call.graph.mul(normal, scale, "scaled")?;
    if let Some(bias) = call.optional(2) {
        y = call.graph.add(y, bias, "shifted")?;
    }
    Ok(vec![y, moments.mean, inverse])
}

fn root_mean_square(call: &mut Call<'_>) -> Made {
    let (x, scale) = (call.input(0)?, call.input(1)?);
    let axes = trailing(call, x)?;
    let epsilon = call.attrs.float("epsilon", 1e-5)?;
    let own = call.graph.ty(x).dtype;
    let wide = stash(call, 1, own)?;
    let exact = call.graph.cast(x, wide, "wide")?;
    let squares = call.graph.mul(exact, exact, "squares")?;
    let mean = call
        .graph
        .reduce(ReduceKind::Mean, squares, &axes, "mean_square")?;
    let root = deviation(call.graph, mean, epsilon)?;
    let normal = call.graph.div(exact, root, "normal")?;
    let normal = call.graph.cast(normal, own, "normal_narrow")?;
    Ok(vec![call.graph.mul(normal, scale, "scaled")?])
}

/// The deviation has a little added, so that a constant becomes zero.
fn mean_variance(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let given = call.attrs.maybe_ints("axes")?.unwrap_or(&[0, 2, 3]);
    let axes = resolve_axes(given, call.graph.rank(x))?;
    let moments = Moments::of(call.graph, x, &axes)?;
    let deviation = call.graph.unary(UnaryKind::Sqrt, moments.variance, "deviation")?;
    let little = call.graph.scalar_like(deviation, 1e-9, "little");
    let divisor = call.graph.add(deviation, little, "divisor")?;
    Ok(vec![call.graph.div(moments.centered, divisor, "normal")?])
}

/// By the sum of sizes (p = 1) or the root of the sum of squares (p = 2); zeros stay zeros.
fn lp(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let axis = resolve_axis(call.attrs.int("axis", -1)?, call.graph.rank(x))?;
    let norm = match call.attrs.int("p", 2)? {
        1 => {
            let sizes = call.graph.unary(UnaryKind::Abs, x, "sizes")?;
            call.graph.reduce(ReduceKind::Sum, sizes, &[axis], "norm")?
        }
        2 => {
            let squares = call.graph.mul(x, x, "squares")?;
            let sum = call.graph.reduce(ReduceKind::Sum, squares, &[axis], "sum")?;
            call.graph.unary(UnaryKind::Sqrt, sum, "norm")?
        }
        other => return Err(OpError::new(format!("`p` of 1 or 2 wanted, {other} found"))),
    };
    let least = match call.graph.ty(x).dtype {
        DType::F16 => 6e-8,
        _ => f32::MIN_POSITIVE,
    };
    let positive = UnaryKind::Clamp(Clamp {
        min: Some(least),
        max: None,
    });
    let divisor = call.graph.unary(positive, norm, "divisor")?;
    Ok(vec![call.graph.div(x, divisor, "normal")?])
}
