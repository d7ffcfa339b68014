//! Arithmetic and logic on several values, casts; and what changes nothing.

use super::super::builder::Tensor;
use super::activation::{clamp, exact};
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{BinaryKind, Cast, Op, OpError, Reshape, Unary, UnaryKind};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Add", |call| binary(call, BinaryKind::Add)),
    onnx("And", |call| binary(call, BinaryKind::And)),
    onnx("BitShift", bit_shift),
    onnx("BitwiseAnd", |call| binary(call, BinaryKind::And)),
    onnx("BitwiseNot", not),
    onnx("BitwiseOr", |call| binary(call, BinaryKind::Or)),
    onnx("BitwiseXor", |call| binary(call, BinaryKind::Xor)),
    onnx("Div", |call| binary(call, BinaryKind::Div)),
    onnx("Dropout", dropout),
    onnx("Identity", identity),
    onnx("Max", |call| variadic(call, BinaryKind::Max)),
    onnx("Mean", mean),
    onnx("Min", |call| variadic(call, BinaryKind::Min)),
    onnx("Mod", modulo),
    onnx("Mul", |call| binary(call, BinaryKind::Mul)),
    onnx("Not", not),
    onnx("Or", |call| binary(call, BinaryKind::Or)),
    onnx("PRelu", prelu),
    onnx("Pow", pow),
    onnx("Sub", |call| binary(call, BinaryKind::Sub)),
    onnx("Sum", |call| variadic(call, BinaryKind::Add)),
    onnx("Xor", |call| binary(call, BinaryKind::Xor)),
];

fn binary(call: &mut Call<'_>, kind: BinaryKind) -> Made {
    let inputs = operands(call)?;
    Ok(vec![call.graph.emit(Op::Binary(kind.into()), &inputs, "")?])
}

/// The two operands. Before opset 7, broadcasting had to be asked for, and the second operand could be put along any axis
/// of the first.
pub(super) fn operands(call: &mut Call<'_>) -> Result<[Tensor; 2], OpError> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    if call.version >= 7 {
        return Ok([a, b]);
    }
    call.attrs.ignore(&["consumed_inputs"]);
    let broadcasts = call.attrs.flag("broadcast", false)?;
    let axis = call.attrs.maybe_int("axis")?;
    let (a_shape, b_shape) = (call.graph.shape(a).to_vec(), call.graph.shape(b).to_vec());
    if !broadcasts {
        if a_shape != b_shape {
            return Err(OpError::new(format!(
                "equal shapes wanted without `broadcast` in opset {}, {} and {} found",
                call.version,
                call.graph.ty(a),
                call.graph.ty(b)
            )));
        }
        return Ok([a, b]);
    }
    let Some(axis) = axis else { return Ok([a, b]) };
    let axis = super::resolve_axis(axis, a_shape.len())?;
    let behind = (axis + b_shape.len() <= a_shape.len()).then(|| a_shape.len() - axis - b_shape.len());
    let behind = behind.ok_or_else(|| {
        OpError::new(format!(
            "a second operand that ends within {} wanted from axis {axis} on, {} found",
            call.graph.ty(a),
            call.graph.ty(b)
        ))
    })?;
    if behind == 0 {
        return Ok([a, b]);
    }
    let shape: Vec<usize> = b_shape
        .into_iter()
        .chain(std::iter::repeat_n(1, behind))
        .collect();
    let b = call
        .graph
        .emit(Op::Reshape(Reshape { shape }), &[b], "along_axis")?;
    Ok([a, b])
}

/// A chain over all inputs. A number among them, compared with reals, is one end of a clamp.
fn variadic(call: &mut Call<'_>, kind: BinaryKind) -> Made {
    call.attrs.ignore(&["consumed_inputs"]);
    let inputs: Vec<Tensor> = (0..call.inputs.len())
        .map(|index| call.input(index))
        .collect::<Result<_, _>>()?;
    let [mut y, ref others @ ..] = inputs[..] else {
        return Err(OpError::new("one input or more wanted, none found"));
    };
    for (i, &other) in others.iter().enumerate() {
        let role = if i + 1 == others.len() {
            String::new()
        } else {
            format!("of_{}", i + 2)
        };
        y = joined(call, kind, y, other, &role)?;
    }
    Ok(vec![y])
}

fn joined(
    call: &mut Call<'_>,
    kind: BinaryKind,
    a: Tensor,
    b: Tensor,
    role: &str,
) -> Result<Tensor, OpError> {
    for (x, end) in [(a, b), (b, a)] {
        let (x_ty, end_ty) = (call.graph.ty(x), call.graph.ty(end));
        let is_number = x_ty.dtype == DType::F32
            && end_ty.dtype == DType::F32
            && end_ty.shape.len() <= x_ty.shape.len()
            && call.graph.constant_of(x).is_none();
        let Some(end) = call.graph.constant_of(end).filter(|_| is_number) else {
            continue;
        };
        let end = exact(end).filter(|end| end.is_finite());
        let kind = match (kind, end) {
            (BinaryKind::Max, Some(end)) => UnaryKind::Clamp(clamp(Some(end), None)),
            (BinaryKind::Min, Some(end)) => UnaryKind::Clamp(clamp(None, Some(end))),
            _ => continue,
        };
        return call.graph.emit(Op::Unary(Unary { kind }), &[x], role);
    }
    call.graph.emit(Op::Binary(kind.into()), &[a, b], role)
}

/// The sum over the number of inputs.
fn mean(call: &mut Call<'_>) -> Made {
    let count = call.inputs.len();
    if count == 1 {
        return variadic(call, BinaryKind::Add);
    }
    let mut sum = call.input(0)?;
    call.attrs.ignore(&["consumed_inputs"]);
    for index in 1..count {
        let other = call.input(index)?;
        let role = format!("of_{}", index + 1);
        sum = call
            .graph
            .emit(Op::Binary(BinaryKind::Add.into()), &[sum, other], &role)?;
    }
    let count = call.graph.scalar_like(sum, count as f64, "count");
    Ok(vec![call.graph.emit(
        Op::Binary(BinaryKind::Div.into()),
        &[sum, count],
        "",
    )?])
}

/// `fmod` 0 is for integers.
fn modulo(call: &mut Call<'_>) -> Made {
    let fmod = call.attrs.flag("fmod", false)?;
    let ty = call.graph.ty(call.input(0)?);
    if !fmod && ty.dtype.is_float() {
        return Err(OpError::new(format!(
            "integers or `fmod` of 1 wanted, {ty} found"
        )));
    }
    binary(call, if fmod { BinaryKind::Fmod } else { BinaryKind::Mod })
}

/// The exponent may be of another type; the result has the base's.
fn pow(call: &mut Call<'_>) -> Made {
    let [base, exponent] = operands(call)?;
    let of = |tensor| call.graph.ty(tensor).dtype;
    let (to, from) = (of(base), of(exponent));
    let op = Op::Binary(BinaryKind::Pow.into());
    if to == from {
        return Ok(vec![call.graph.emit(op, &[base, exponent], "")?]);
    }
    if to.is_float() || from.is_integer() {
        let exponent = cast_to(call, exponent, to, "exponent")?;
        return Ok(vec![call.graph.emit(op, &[base, exponent], "")?]);
    }
    // An integer to the power of a real is computed in reals.
    let base = cast_to(call, base, DType::F64, "base")?;
    let exponent = cast_to(call, exponent, DType::F64, "exponent")?;
    let power = call.graph.emit(op, &[base, exponent], "power")?;
    Ok(vec![call.graph.emit(Op::Cast(Cast { to }), &[power], "")?])
}

fn cast_to(call: &mut Call<'_>, tensor: Tensor, to: DType, role: &str) -> Result<Tensor, OpError> {
    if call.graph.ty(tensor).dtype == to {
        return Ok(tensor);
    }
    call.graph.emit(Op::Cast(Cast { to }), &[tensor], role)
}

/// One slope for all is a LeakyRelu. Before opset 7, several slopes are one per channel.
fn prelu(call: &mut Call<'_>) -> Made {
    call.attrs.ignore(&["consumed_inputs"]);
    let (x, mut slope) = (call.input(0)?, call.input(1)?);
    let (x_ty, slope_ty) = (call.graph.ty(x).clone(), call.graph.ty(slope).clone());
    let one = call.graph.constant_of(slope).and_then(|values| exact(values));
    if let Some(alpha) = one.filter(|alpha| alpha.is_finite())
        && x_ty.dtype == DType::F32
        && slope_ty.dtype == DType::F32
        && slope_ty.shape.len() <= x_ty.shape.len()
    {
        let kind = UnaryKind::LeakyRelu { alpha };
        return Ok(vec![call.graph.emit(Op::Unary(Unary { kind }), &[x], "")?]);
    }
    if call.version < 7 && slope_ty.shape.len() == 1 && slope_ty.len() > 1 && x_ty.shape.len() > 2 {
        let behind = std::iter::repeat_n(1, x_ty.shape.len() - 2);
        let shape = slope_ty.shape.iter().copied().chain(behind).collect();
        slope = call
            .graph
            .emit(Op::Reshape(Reshape { shape }), &[slope], "along_axis")?;
    }
    let y = call
        .graph
        .emit(Op::Binary(BinaryKind::PRelu.into()), &[x, slope], "")?;
    if call.graph.shape(y) != x_ty.shape {
        return Err(OpError::new(format!(
            "a slope that broadcasts to {x_ty} wanted, {slope_ty} found"
        )));
    }
    Ok(vec![y])
}

fn bit_shift(call: &mut Call<'_>) -> Made {
    match call.attrs.word("direction", "")? {
        "LEFT" => binary(call, BinaryKind::ShiftLeft),
        "RIGHT" => binary(call, BinaryKind::ShiftRight),
        other => Err(OpError::new(format!(
            "attribute `direction` of LEFT or RIGHT wanted, `{other}` found"
        ))),
    }
}

/// Every bit turned: those that differ from ones.
fn not(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let y = negated(call, x, "")?;
    Ok(vec![y])
}

/// `x` with every bit turned, or the other truth value.
pub(super) fn negated(call: &mut Call<'_>, x: Tensor, role: &str) -> Result<Tensor, OpError> {
    let ones = Data::I8(vec![-1]).cast(call.graph.ty(x).dtype);
    let ones = call.graph.constant(Values::new([], ones), "ones");
    call.graph
        .emit(Op::Binary(BinaryKind::Xor.into()), &[x, ones], role)
}

fn identity(call: &mut Call<'_>) -> Made {
    call.attrs.ignore(&["consumed_inputs"]);
    Ok(vec![call.input(0)?])
}

/// Nothing is dropped when inferring, and the mask says so. Opset 6 and before have a switch for that, opset 12 has one
/// for training and the ratio as an input.
fn dropout(call: &mut Call<'_>) -> Made {
    let (trains, ratio) = if call.version < 7 {
        let trains = !call.attrs.flag("is_test", false)?;
        (trains, call.attrs.float("ratio", 0.5)?.into())
    } else if call.version < 12 {
        call.attrs.ignore(&["ratio"]);
        (false, 0.0)
    } else {
        call.attrs.ignore(&["seed"]);
        let trains = match call.optional(2).map(|training| call.graph.constant_of(training)) {
            None => false,
            Some(Some(training)) => training.to_f64() != [0.0],
            Some(None) => {
                let wanted = super::random::WANTED;
                return Err(
                    OpError::new(format!("{wanted}; training_mode known only when running found"))
                        .with_help("make training_mode a constant false, or leave it out"),
                );
            }
        };
        let ratio = if trains { call.constant(1, "ratio")? } else { None };
        let ratio = ratio.map_or(0.5, |values| values.to_f64().first().copied().unwrap_or(0.5));
        (trains, ratio)
    };
    if trains && ratio != 0.0 {
        return Err(
            OpError::new(format!("{}; training_mode found", super::random::WANTED))
                .with_help("export the model in evaluation mode"),
        );
    }
    let mut made = identity(call)?;
    if call.wants(1) {
        let ty = call.graph.ty(made[0]);
        let (shape, count) = (ty.shape.clone(), ty.len());
        // Masks were Boolean from opset 10 on.
        let dtype = if call.version < 10 { ty.dtype } else { DType::Bool };
        // One that nothing reads may be left out where it would take too much room.
        if call.graph.take_bytes(count.saturating_mul(dtype.bytes())).is_ok() {
            let mask = Data::Bool(vec![true; count]).cast(dtype);
            made.push(call.graph.constant(Values::new(shape, mask), "mask"));
        }
    }
    Ok(made)
}
