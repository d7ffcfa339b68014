//! Products of integers in i32, and quantization by the range of what is met.

use super::super::builder::Tensor;
use super::{Call, Importer, Made, of_domain, onnx};
use crate::op::tensor::{DType, Shape};
use crate::op::{
    Binary, BinaryKind, Cast, Clamp, DynamicParameters, MatMul, Op, OpError, QuantizeLinear, Reshape, Slice,
};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("ConvInteger", conv_integer),
    onnx("DynamicQuantizeLinear", dynamic_quantize),
    onnx("MatMulInteger", matmul_integer),
    of_domain("com.microsoft", "DynamicQuantizeMatMul", dynamic_matmul),
    of_domain("com.microsoft", "MatMulInteger16", matmul_integer_16),
    of_domain("com.microsoft", "MatMulIntegerToFloat", matmul_integer_to_float),
];

/// Every sum of products below this is exact in f32.
const EXACT_F32: usize = 1 << 24;
/// The greatest product of two differences of 8-bit integers.
const GREATEST_PRODUCT: usize = 255 * 255;

/// A convolution in reals that are wide enough for every sum to be exact: f32 where it does, else f64.
fn conv_integer(call: &mut Call<'_>) -> Made {
    let (x, weights) = (call.input(0)?, call.input(1)?);
    for tensor in [x, weights] {
        bytes(call, tensor)?;
    }
    let shape = call.graph.shape(weights).to_vec();
    let taps: usize = shape.iter().skip(1).product();
    let to = if taps.saturating_mul(GREATEST_PRODUCT) <= EXACT_F32 {
        DType::F32
    } else {
        DType::F64
    };
    let mut per_channel = vec![1; shape.len()];
    if let (Some(first), Some(&channels)) = (per_channel.first_mut(), shape.first()) {
        *first = channels;
    }
    let x = centred(call, x, call.optional(2), None, to, "x")?;
    let weights = centred(call, weights, call.optional(3), Some(per_channel), to, "weights")?;
    let y = call.part_of_own("Conv", 11, &[Some(x), Some(weights)])?;
    let cast = Op::Cast(Cast { to: DType::I32 });
    Ok(vec![call.graph.emit(cast, &[y], "sums")?])
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

/// `a · b` of 8-bit integers less their zero points, in i32.
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
    let a = centred(call, a, zero_points[0], column, DType::I32, "a")?;
    let b = centred(call, b, zero_points[1], None, DType::I32, "b")?;
    call.graph.emit(Op::MatMul(MatMul {}), &[a, b], "product")
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
        let both = call
            .graph
            .emit(Op::DynamicParameters(DynamicParameters {}), &[x], "parameters")?;
        let mut pick = |at: usize, role: &str| {
            let slice = Op::Slice(Slice {
                starts: vec![at],
                steps: vec![1],
                shape: vec![1],
            });
            let one = call.graph.emit(slice, &[both], &format!("{role}_row"))?;
            let reshape = Op::Reshape(Reshape { shape: Vec::new() });
            call.graph.emit(reshape, &[one], role)
        };
        let (scale, zero_point) = (pick(0, "scale")?, pick(1, "zero")?);
        let cast = Op::Cast(Cast { to: DType::U8 });
        let zero_point = call.graph.emit(cast, &[zero_point], "zero_point")?;
        let op = Op::QuantizeLinear(QuantizeLinear { axis: 0 });
        let codes = call.graph.emit(op, &[x, scale, zero_point], "codes")?;
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
