//! Operators on single elements: arithmetic, activations; and those that change nothing.

use super::{Call, Importer, Made, onnx};
use crate::op::tensor::Data;
use crate::op::{Binary, BinaryKind, Clamp, Op, OpError, Unary, UnaryKind};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Add", add),
    onnx("Clip", clip),
    onnx("Div", div),
    onnx("Dropout", dropout),
    onnx("Identity", identity),
    onnx("Mul", mul),
    onnx("Relu", relu),
    onnx("Sigmoid", sigmoid),
    onnx("Sub", sub),
    onnx("Tanh", tanh),
];

fn binary(call: &mut Call<'_>, kind: BinaryKind) -> Made {
    let inputs = [call.input(0)?, call.input(1)?];
    let op = Op::Binary(Binary {
        kind,
        clamp: Clamp::NONE,
    });
    Ok(vec![call.graph.emit(op, &inputs, "")?])
}

fn add(call: &mut Call<'_>) -> Made {
    binary(call, BinaryKind::Add)
}

fn sub(call: &mut Call<'_>) -> Made {
    binary(call, BinaryKind::Sub)
}

fn mul(call: &mut Call<'_>) -> Made {
    binary(call, BinaryKind::Mul)
}

fn div(call: &mut Call<'_>) -> Made {
    binary(call, BinaryKind::Div)
}

fn unary(call: &mut Call<'_>, kind: UnaryKind) -> Made {
    let x = call.input(0)?;
    Ok(vec![call.graph.emit(Op::Unary(Unary { kind }), &[x], "")?])
}

fn relu(call: &mut Call<'_>) -> Made {
    unary(call, UnaryKind::Clamp(Clamp::RELU))
}

fn sigmoid(call: &mut Call<'_>) -> Made {
    unary(call, UnaryKind::Sigmoid)
}

fn tanh(call: &mut Call<'_>) -> Made {
    unary(call, UnaryKind::Tanh)
}

/// Opset 6 has the ends as attributes, opset 11 as inputs.
fn clip(call: &mut Call<'_>) -> Made {
    let (min, max) = if call.version < 11 {
        (call.attrs.maybe_float("min")?, call.attrs.maybe_float("max")?)
    } else {
        (bound(call, 1, "min")?, bound(call, 2, "max")?)
    };
    if [min, max].into_iter().flatten().any(f32::is_nan) {
        return Err(OpError::new("bounds that are numbers wanted, NaN found"));
    }
    // The largest floats are ONNX's way to leave an end open in older opsets.
    let clamp = Clamp {
        min: min.filter(|&min| min > f32::MIN),
        max: max.filter(|&max| max < f32::MAX),
    };
    unary(call, UnaryKind::Clamp(clamp))
}

/// One end of a clip, exact in f32.
fn bound(call: &Call<'_>, index: usize, what: &str) -> Result<Option<f32>, OpError> {
    let Some(values) = call.constant(index, what)? else {
        return Ok(None);
    };
    let (wanted, found) = (call.graph.ty(call.input(0)?).dtype, values.data.dtype());
    let &[bound] = values.to_f64().as_slice() else {
        return Err(OpError::new(format!(
            "one `{what}` wanted, {} found",
            values.ty()
        )));
    };
    if wanted != found {
        return Err(OpError::new(format!(
            "`{what}` of {wanted} wanted, {found} found"
        )));
    }
    let exact = bound as f32;
    // An i64 has not the precision of f64, so one beyond 2^53 may be another number than `bound`.
    let big = matches!(values.data, Data::I64(_)) && bound.abs() >= 2f64.powi(53);
    if f64::from(exact) != bound && !bound.is_nan() || big {
        return Err(OpError::new(format!(
            "`{what}` exact in f32 wanted, {bound} found"
        )));
    }
    Ok(Some(exact))
}

fn identity(call: &mut Call<'_>) -> Made {
    Ok(vec![call.input(0)?])
}

/// Nothing is dropped when inferring. Opset 12 has the ratio as an input, and a switch for training.
fn dropout(call: &mut Call<'_>) -> Made {
    if call.version < 12 {
        call.attrs.ignore(&["ratio"]);
    } else {
        call.attrs.ignore(&["seed"]);
        let training = call.constant(2, "training_mode")?;
        if training.is_some_and(|values| values.to_f64() != [0.0]) {
            return Err(OpError::new("inference wanted, training_mode found")
                .with_help("export the model in evaluation mode"));
        }
    }
    identity(call)
}
