//! Products of integers in i32, and quantization by the range of what is met.

use std::ops::Range;

use super::super::builder::Tensor;
use super::{Call, Importer, Made, of_domain, onnx};
use crate::op::tensor::{DType, Shape};
use crate::op::{
    Binary, BinaryKind, Cast, Clamp, CompareKind, MatMul, Op, OpError, ReduceKind, Reshape, UnaryKind,
};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("ConvInteger", conv_integer),
    onnx("DynamicQuantizeLinear", dynamic_quantize),
    onnx("MatMulInteger", matmul_integer),
    of_domain("com.microsoft", "DynamicQuantizeMatMul", dynamic_matmul),
    of_domain("com.microsoft", "MatMulInteger16", matmul_integer_16),
    of_domain("com.microsoft", "MatMulIntegerToFloat", matmul_integer_to_float),
];

/// So many products of two differences of 8-bit integers have a sum that is exact in f32, in whatever order.
const EXACT_TERMS: usize = (1 << 24) / (255 * 255);
/// The most parts of a sum.
const MOST_PARTS: usize = 1024;

/// A convolution in reals: over so many input channels at a time that every sum is exact in f32.
fn conv_integer(call: &mut Call<'_>) -> Made {
    let (x, weights) = (call.input(0)?, call.input(1)?);
    for tensor in [x, weights] {
        bytes(call, tensor)?;
    }
    let shape = call.graph.shape(weights).to_vec();
    let mut per_channel = vec![1; shape.len()];
    if let (Some(first), Some(&channels)) = (per_channel.first_mut(), shape.first()) {
        *first = channels;
    }
    let taps = shape.iter().skip(2).product::<usize>().max(1);
    let channels = shape.get(1).copied().unwrap_or(1);
    // Groups have few channels each; one of many is as wide as f64 has it.
    let in_parts = call.attrs.int("group", 1)? == 1 && taps <= EXACT_TERMS;
    let to = if in_parts || taps * channels <= EXACT_TERMS {
        DType::F32
    } else {
        DType::F64
    };
    let x = centred(call, x, call.optional(2), None, to, "x")?;
    let weights = centred(call, weights, call.optional(3), Some(per_channel), to, "weights")?;
    if !in_parts {
        let y = call.part_of_own("Conv", 11, &[Some(x), Some(weights)])?;
        return Ok(vec![call.graph.cast(y, DType::I32, "sums")?]);
    }
    let y = sum_of_parts(call, channels, EXACT_TERMS / taps, |call, range| {
        let x = call.graph.part(x, 1, range.clone(), "x_part")?;
        let weights = call.graph.part(weights, 1, range, "weights_part")?;
        let y = call.part_of_own("Conv", 11, &[Some(x), Some(weights)])?;
        call.graph.cast(y, DType::I32, "sums")
    })?;
    Ok(vec![y])
}

/// The sum of what is computed for parts of `extent` of at most `at_once`.
fn sum_of_parts(
    call: &mut Call<'_>,
    extent: usize,
    at_once: usize,
    part: impl Fn(&mut Call<'_>, Range<usize>) -> Result<Tensor, OpError>,
) -> Result<Tensor, OpError> {
    let at_once = at_once.max(1);
    if extent / at_once > MOST_PARTS {
        return Err(OpError::new(format!(
            "sums of at most {} terms wanted, {extent} found",
            MOST_PARTS * at_once
        )));
    }
    let mut sum = part(call, 0..extent.min(at_once))?;
    for start in (at_once..extent).step_by(at_once) {
        let next = part(call, start..extent.min(start + at_once))?;
        sum = call.graph.add(sum, next, "sum")?;
    }
    Ok(sum)
}

/// Zero points of `a` run along its rows, those of `b` along its columns.
fn matmul_integer(call: &mut Call<'_>) -> Made {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let product = integer_product(call, a, b, [call.optional(2), call.optional(3)])?;
    call.graph.name_after(product, "product");
    Ok(vec![product])
}

fn matmul_integer_16(call: &mut Call<'_>) -> Made {
    let mut inputs = [call.input(0)?, call.input(1)?];
    for (index, input) in inputs.iter_mut().enumerate() {
        let found = call.graph.ty(*input);
        if !matches!(found.dtype, DType::I16 | DType::U16) {
            return Err(OpError::new(format!("i16 or u16 wanted, {found} found")));
        }
        let cast = Op::Cast(Cast { to: DType::I32 });
        *input = call.graph.emit(cast, &[*input], &format!("{index}_wide"))?;
    }
    Ok(vec![call.graph.emit(Op::MatMul(MatMul {}), &inputs, "")?])
}

/// `a · b` of 8-bit integers less their zero points, in i32: of reals, so many at a time that their sums are exact.
fn integer_product(
    call: &mut Call<'_>,
    a: Tensor,
    b: Tensor,
    zero_points: [Option<Tensor>; 2],
) -> Result<Tensor, OpError> {
    for tensor in [a, b] {
        bytes(call, tensor)?;
    }
    // One zero point per row of `a` stands beside its columns.
    let column = zero_points[0].and_then(|zero_point| match *call.graph.shape(zero_point) {
        [rows] if rows > 1 => Some(vec![rows, 1]),
        _ => None,
    });
    let a = centred(call, a, zero_points[0], column, DType::F32, "a")?;
    let b = centred(call, b, zero_points[1], None, DType::F32, "b")?;
    let (a_rank, b_rank) = (call.graph.rank(a), call.graph.rank(b));
    let (Some(last), Some(&extent)) = (a_rank.checked_sub(1), call.graph.shape(a).last()) else {
        return call.graph.matmul(a, b, "product");
    };
    if call.graph.shape(b).get(b_rank.saturating_sub(2)) != Some(&extent) {
        // Which says what is wrong.
        return call.graph.matmul(a, b, "product");
    }
    sum_of_parts(call, extent, EXACT_TERMS, |call, range| {
        let a = call.graph.part(a, last, range.clone(), "a_part")?;
        let b = call.graph.part(b, b_rank.saturating_sub(2), range, "b_part")?;
        let product = call.graph.matmul(a, b, "product")?;
        call.graph.cast(product, DType::I32, "sums")
    })
}

/// Expects 8-bit integers.
fn bytes(call: &Call<'_>, tensor: Tensor) -> Result<(), OpError> {
    let found = call.graph.ty(tensor);
    if matches!(found.dtype, DType::I8 | DType::U8) {
        Ok(())
    } else {
        Err(OpError::new(format!("i8 or u8 wanted, {found} found")))
    }
}

/// `x − zero_point` in another type. More than one zero point takes the shape given.
fn centred(
    call: &mut Call<'_>,
    x: Tensor,
    zero_point: Option<Tensor>,
    shape: Option<Shape>,
    to: DType,
    role: &str,
) -> Result<Tensor, OpError> {
    let cast = Op::Cast(Cast { to });
    let wide = call.graph.emit(cast.clone(), &[x], &format!("{role}_wide"))?;
    let Some(mut zero_point) = zero_point else {
        return Ok(wide);
    };
    let (x_ty, zero_ty) = (call.graph.ty(x), call.graph.ty(zero_point));
    if x_ty.dtype != zero_ty.dtype {
        return Err(OpError::new(format!(
            "a zero point of {} wanted, {zero_ty} found",
            x_ty.dtype
        )));
    }
    let all_zero = |tensor: Tensor| {
        let values = call.graph.constant_of(tensor)?.to_i64()?;
        Some(values.iter().all(|&zero| zero == 0))
    };
    if all_zero(zero_point) == Some(true) {
        return Ok(wide);
    }
    let count = zero_ty.len();
    if let Some(shape) = shape
        && count > 1
    {
        let reshape = Op::Reshape(Reshape { shape });
        zero_point = call.graph.emit(reshape, &[zero_point], &format!("{role}_zero"))?;
    } else if count == 1 {
        let reshape = Op::Reshape(Reshape { shape: Vec::new() });
        zero_point = call.graph.emit(reshape, &[zero_point], &format!("{role}_zero"))?;
    }
    let zero_point = call
        .graph
        .emit(cast, &[zero_point], &format!("{role}_zero_wide"))?;
    let difference = binary(BinaryKind::Sub);
    call.graph
        .emit(difference, &[wide, zero_point], &format!("{role}_centred"))
}

fn binary(kind: BinaryKind) -> Op {
    Op::Binary(Binary {
        kind,
        clamp: Clamp::NONE,
    })
}

/// Reals as unsigned bytes, by their own range; with the scale and the zero point that this took.
struct Dynamic {
    codes: Tensor,
    scale: Tensor,
    zero_point: Tensor,
}

impl Dynamic {
    fn of(call: &mut Call<'_>, x: Tensor) -> Result<Self, OpError> {
        let elements = call.graph.ty(x).len();
        let graph = &mut call.graph;
        let row = graph.reshape(x, [elements], "row")?;
        let zero = graph.scalar_like(x, 0.0, "zero");
        let mut end = |kind, with, role: &str| {
            let found = graph.reduce(kind, row, &[0], &format!("{role}_of_elements"))?;
            graph.binary(with, found, zero, role)
        };
        let least = end(ReduceKind::Min, BinaryKind::Min, "least")?;
        let greatest = end(ReduceKind::Max, BinaryKind::Max, "greatest")?;
        let range = graph.sub(greatest, least, "range")?;
        let steps = graph.scalar_like(x, 255.0, "steps");
        let scale = graph.div(range, steps, "step")?;
        // Where there is only zero, the scale is 1, as in ONNX Runtime.
        let is_nothing = graph.compare(CompareKind::Equal, range, zero, "is_nothing")?;
        let one = graph.cast(is_nothing, DType::F32, "one_of_nothing")?;
        let scale = graph.add(scale, one, "chosen_scale")?;
        let below = graph.div(least, scale, "steps_below")?;
        let above = graph.sub(zero, below, "steps_above")?;
        let bytes = UnaryKind::Clamp(Clamp {
            min: Some(0.0),
            max: Some(255.0),
        });
        let zero_step = graph.unary(bytes, above, "zero_within")?;
        let zero_step = graph.unary(UnaryKind::Round, zero_step, "zero_step")?;
        let steps = graph.div(x, scale, "quotients")?;
        let steps = graph.unary(UnaryKind::Round, steps, "rounded")?;
        let steps = graph.add(steps, zero_step, "shifted")?;
        let steps = graph.unary(bytes, steps, "saturated")?;
        let codes = graph.cast(steps, DType::U8, "codes")?;
        let scale = graph.reshape(scale, [], "scale")?;
        let zero_step = graph.reshape(zero_step, [], "zero_of_codes")?;
        let zero_point = graph.cast(zero_step, DType::U8, "zero_point")?;
        Ok(Self {
            codes,
            scale,
            zero_point,
        })
    }
}

fn dynamic_quantize(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let dynamic = Dynamic::of(call, x)?;
    Ok(vec![dynamic.codes, dynamic.scale, dynamic.zero_point])
}

/// `a` quantized by its own range, times `b`: inputs A, B, b_scale, b_zero_point, bias.
fn dynamic_matmul(call: &mut Call<'_>) -> Made {
    let (a, b, b_scale) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let a = Dynamic::of(call, a)?;
    let zero_points = [Some(a.zero_point), call.optional(3)];
    scaled_product(call, [a.codes, b], [a.scale, b_scale], zero_points, 4)
}

/// Inputs A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias.
fn matmul_integer_to_float(call: &mut Call<'_>) -> Made {
    let operands = [call.input(0)?, call.input(1)?];
    let scales = [call.input(2)?, call.input(3)?];
    let zero_points = [call.optional(4), call.optional(5)];
    scaled_product(call, operands, scales, zero_points, 6)
}

/// The product of integers as reals, with the bias that is this input, if given.
fn scaled_product(
    call: &mut Call<'_>,
    [a, b]: [Tensor; 2],
    scales: [Tensor; 2],
    zero_points: [Option<Tensor>; 2],
    bias: usize,
) -> Made {
    let product = integer_product(call, a, b, zero_points)?;
    let to = call.graph.ty(scales[1]).dtype;
    let reals = call.graph.emit(Op::Cast(Cast { to }), &[product], "reals")?;
    let scale = call.graph.emit(binary(BinaryKind::Mul), &scales, "scales")?;
    let scaled = call
        .graph
        .emit(binary(BinaryKind::Mul), &[reals, scale], "scaled")?;
    match call.optional(bias) {
        Some(bias) => Ok(vec![call.graph.emit(
            binary(BinaryKind::Add),
            &[scaled, bias],
            "",
        )?]),
        None => Ok(vec![scaled]),
    }
}
