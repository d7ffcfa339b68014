//! Norms over windows, made of means: LpPool, GlobalLpPool, LRN.

use super::super::builder::Tensor;
use super::pool::{Finish, emit, global, input, reshaped, resolve};
use super::window::MOST;
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{AveragePool, Binary, BinaryKind, Cast, Clamp, Op, OpError, Unary, UnaryKind, Window};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("GlobalLpPool", global_norm),
    onnx("LRN", local_response),
    onnx("LpPool", norm),
];

/// A mean over all of a window, padding included as zeros.
fn mean(window: Window) -> Op {
    Op::AveragePool(AveragePool {
        window,
        count_include_pad: true,
        ceil_pads: [0, 0],
        clamp: Clamp::NONE,
    })
}

fn binary(
    call: &mut Call<'_>,
    kind: BinaryKind,
    a: Tensor,
    b: Tensor,
    role: &str,
) -> Result<Tensor, OpError> {
    let clamp = Clamp::NONE;
    call.graph.emit(Op::Binary(Binary { kind, clamp }), &[a, b], role)
}

/// One operand is a number.
fn with_number(
    call: &mut Call<'_>,
    kind: BinaryKind,
    x: Tensor,
    number: f64,
    role: &str,
) -> Result<Tensor, OpError> {
    let dtype = call.graph.ty(x).dtype;
    let number = Values::new([], Data::F64(vec![number]).cast(dtype));
    let number = call.graph.constant(number, "number");
    binary(call, kind, x, number, role)
}

/// The order of the norm: a real in opset 1, a positive integer later.
fn order(call: &Call<'_>) -> Result<f64, OpError> {
    let p = if call.version < 2 {
        f64::from(call.attrs.float("p", 2.0)?)
    } else {
        call.attrs.int("p", 2)? as f64
    };
    if p > 0.0 && p.is_finite() {
        Ok(p)
    } else {
        Err(OpError::new(format!("`p` above 0 wanted, {p} found")))
    }
}

/// Reals narrower than f32 in f32: powers of them would leave their range.
fn widened(call: &mut Call<'_>, x: Tensor) -> Result<Tensor, OpError> {
    if !matches!(call.graph.ty(x).dtype, DType::F16 | DType::BF16) {
        return Ok(x);
    }
    call.graph.emit(Op::Cast(Cast { to: DType::F32 }), &[x], "wide")
}

/// `|x|^p`.
fn raised(call: &mut Call<'_>, x: Tensor, p: f64) -> Result<Tensor, OpError> {
    if p == 2.0 {
        return binary(call, BinaryKind::Mul, x, x, "squares");
    }
    let kind = UnaryKind::Abs;
    let magnitude = call.graph.emit(Op::Unary(Unary { kind }), &[x], "magnitudes")?;
    if p == 1.0 {
        return Ok(magnitude);
    }
    with_number(call, BinaryKind::Pow, magnitude, p, "powers")
}

/// `(mean · taps)^(1/p)` in the given type.
fn rooted(call: &mut Call<'_>, mean: Tensor, taps: usize, p: f64, dtype: DType) -> Result<Tensor, OpError> {
    let mut y = with_number(call, BinaryKind::Mul, mean, taps as f64, "sums")?;
    if p == 2.0 {
        let kind = UnaryKind::Sqrt;
        y = call.graph.emit(Op::Unary(Unary { kind }), &[y], "roots")?;
    } else if p != 1.0 {
        y = with_number(call, BinaryKind::Pow, y, 1.0 / p, "roots")?;
    }
    if call.graph.ty(y).dtype != dtype {
        y = call.graph.emit(Op::Cast(Cast { to: dtype }), &[y], "narrow")?;
    }
    Ok(y)
}

fn norm(call: &mut Call<'_>) -> Made {
    let (x, extents) = input(call)?;
    let dtype = call.graph.ty(x).dtype;
    let p = order(call)?;
    let resolved = resolve(call, &extents)?;
    let wide = widened(call, x)?;
    let powers = raised(call, wide, p)?;
    let taps = resolved.kernel.iter().product();
    let finish: Finish<'_> = &|call, means| rooted(call, means, taps, p, dtype);
    Ok(vec![emit(call, powers, &resolved, finish, |window, _| {
        mean(window)
    })?])
}

fn global_norm(call: &mut Call<'_>) -> Made {
    let (x, extents) = input(call)?;
    let dtype = call.graph.ty(x).dtype;
    let p = order(call)?;
    let wide = widened(call, x)?;
    let powers = raised(call, wide, p)?;
    let taps = extents.iter().product();
    let finish: Finish<'_> = &|call, means| rooted(call, means, taps, p, dtype);
    Ok(vec![global(call, powers, finish, mean)?])
}

/// `x / (bias + alpha · mean of the squares of the channels around)^beta`.
fn local_response(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let ty = call.graph.ty(x).clone();
    let &[n, c, ref spatial @ ..] = &ty.shape[..] else {
        return Err(OpError::new(format!(
            "an input of rank 2 or more wanted, {ty} found"
        )));
    };
    let size = call.attrs.required_int("size")?;
    let size = usize::try_from(size)
        .ok()
        .filter(|_| (1..=MOST).contains(&size))
        .ok_or_else(|| OpError::new(format!("`size` from 1 to {MOST} wanted, {size} found")))?;
    let (alpha, beta) = (call.attrs.float("alpha", 1e-4)?, call.attrs.float("beta", 0.75)?);
    let bias = call.attrs.float("bias", 1.0)?;
    let wide = widened(call, x)?;
    let squares = raised(call, wide, 2.0)?;
    // The channels are the rows of an image, so that nothing moves.
    let columns = spatial.first().copied().unwrap_or(1);
    let behind = spatial.iter().skip(1).product();
    let image = reshaped(call, squares, &[n, c, columns, behind], "rows")?;
    let window = Window {
        kernel: [size, 1],
        strides: [1, 1],
        dilations: [1, 1],
        pads: [(size - 1) / 2, 0, size / 2, 0],
    };
    let means = call.graph.emit(mean(window), &[image], "means")?;
    let means = reshaped(call, means, &ty.shape, "around")?;
    let scaled = with_number(call, BinaryKind::Mul, means, alpha.into(), "scaled")?;
    let sums = with_number(call, BinaryKind::Add, scaled, bias.into(), "sums")?;
    let divisors = with_number(call, BinaryKind::Pow, sums, beta.into(), "divisors")?;
    let y = binary(call, BinaryKind::Div, wide, divisors, "normalized")?;
    if ty.dtype == call.graph.ty(y).dtype {
        return Ok(vec![y]);
    }
    Ok(vec![call.graph.emit(
        Op::Cast(Cast { to: ty.dtype }),
        &[y],
        "narrow",
    )?])
}
