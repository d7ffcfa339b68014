//! Functions of one value.

use super::super::builder::Tensor;
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::{DType, Values, View};
use crate::op::{Binary, BinaryKind, Clamp, Op, OpError, Unary, UnaryKind};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Abs", |call| unary(call, UnaryKind::Abs)),
    onnx("Acos", |call| unary(call, UnaryKind::Acos)),
    onnx("Acosh", |call| unary(call, UnaryKind::Acosh)),
    onnx("Asin", |call| unary(call, UnaryKind::Asin)),
    onnx("Asinh", |call| unary(call, UnaryKind::Asinh)),
    onnx("Atan", |call| unary(call, UnaryKind::Atan)),
    onnx("Atanh", |call| unary(call, UnaryKind::Atanh)),
    onnx("Ceil", |call| unary(call, UnaryKind::Ceil)),
    onnx("Celu", celu),
    onnx("Clip", clip),
    onnx("Cos", |call| unary(call, UnaryKind::Cos)),
    onnx("Cosh", |call| unary(call, UnaryKind::Cosh)),
    onnx("Elu", |call| {
        let alpha = finite(call, "alpha", 1.0)?;
        unary(call, UnaryKind::Elu { alpha })
    }),
    onnx("Erf", |call| unary(call, UnaryKind::Erf)),
    onnx("Exp", |call| unary(call, UnaryKind::Exp)),
    onnx("Floor", |call| unary(call, UnaryKind::Floor)),
    onnx("Gelu", gelu),
    onnx("HardSigmoid", |call| {
        let alpha = finite(call, "alpha", 0.2)?;
        let beta = finite(call, "beta", 0.5)?;
        unary(call, UnaryKind::HardSigmoid { alpha, beta })
    }),
    onnx("HardSwish", |call| unary(call, UnaryKind::HardSwish)),
    onnx("LeakyRelu", |call| {
        let alpha = finite(call, "alpha", 0.01)?;
        unary(call, UnaryKind::LeakyRelu { alpha })
    }),
    onnx("Log", |call| unary(call, UnaryKind::Log)),
    onnx("Mish", |call| unary(call, UnaryKind::Mish)),
    onnx("Neg", |call| unary(call, UnaryKind::Neg)),
    onnx("Reciprocal", |call| unary(call, UnaryKind::Reciprocal)),
    onnx("Relu", |call| unary(call, UnaryKind::Clamp(Clamp::RELU))),
    onnx("Round", |call| unary(call, UnaryKind::Round)),
    onnx("Selu", selu),
    onnx("Shrink", |call| {
        let lambd = finite(call, "lambd", 0.5)?;
        let bias = finite(call, "bias", 0.0)?;
        unary(call, UnaryKind::Shrink { lambd, bias })
    }),
    onnx("Sigmoid", |call| unary(call, UnaryKind::Sigmoid)),
    onnx("Sign", |call| unary(call, UnaryKind::Sign)),
    onnx("Sin", |call| unary(call, UnaryKind::Sin)),
    onnx("Sinh", |call| unary(call, UnaryKind::Sinh)),
    onnx("Softplus", |call| unary(call, UnaryKind::Softplus)),
    onnx("Softsign", |call| unary(call, UnaryKind::Softsign)),
    onnx("Sqrt", |call| unary(call, UnaryKind::Sqrt)),
    onnx("Swish", |call| {
        let alpha = finite(call, "alpha", 1.0)?;
        unary(call, UnaryKind::Swish { alpha })
    }),
    onnx("Tan", |call| unary(call, UnaryKind::Tan)),
    onnx("Tanh", |call| unary(call, UnaryKind::Tanh)),
    onnx("ThresholdedRelu", |call| {
        let alpha = finite(call, "alpha", 1.0)?;
        unary(call, UnaryKind::ThresholdedRelu { alpha })
    }),
];

fn unary(call: &mut Call<'_>, kind: UnaryKind) -> Made {
    // Before opset 6, a hint to what may work in place.
    call.attrs.ignore(&["consumed_inputs"]);
    let x = call.input(0)?;
    Ok(vec![call.graph.emit(Op::Unary(Unary { kind }), &[x], "")?])
}

/// A parameter that is a number.
fn finite(call: &Call<'_>, name: &str, default: f32) -> Result<f32, OpError> {
    let value = call.attrs.float(name, default)?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(OpError::new(format!(
            "attribute `{name}` as a finite number wanted, {value} found"
        )))
    }
}

fn celu(call: &mut Call<'_>) -> Made {
    let alpha = finite(call, "alpha", 1.0)?;
    if alpha == 0.0 {
        return Err(OpError::new(
            "attribute `alpha` other than 0 wanted: Celu divides by it",
        ));
    }
    unary(call, UnaryKind::Celu { alpha })
}

fn gelu(call: &mut Call<'_>) -> Made {
    match call.attrs.word("approximate", "none")? {
        "none" => unary(call, UnaryKind::Gelu),
        "tanh" => unary(call, UnaryKind::GeluTanh),
        other => Err(OpError::new(format!(
            "attribute `approximate` of none or tanh wanted, {other} found"
        ))),
    }
}

/// Opset 6 has more digits.
fn selu(call: &mut Call<'_>) -> Made {
    let (alpha, gamma) = if call.version < 6 {
        (1.6732, 1.0507)
    } else {
        (1.673_263_2, 1.050_701)
    };
    let alpha = finite(call, "alpha", alpha)?;
    let gamma = finite(call, "gamma", gamma)?;
    unary(call, UnaryKind::Selu { alpha, gamma })
}

/// Opset 6 has the ends as attributes, opset 11 as inputs. An end that is known and exact in f32 becomes part of a clamp,
/// any other an operation of its own.
fn clip(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let (min, max) = if call.version < 11 {
        let end = |name: &str| -> Result<End, OpError> {
            Ok(call.attrs.maybe_float(name)?.map_or(End::Open, End::Known))
        };
        let (min, max) = (end("min")?, end("max")?);
        if [min, max]
            .iter()
            .any(|end| matches!(end, End::Known(end) if end.is_nan()))
        {
            return Err(OpError::new("bounds that are numbers wanted, NaN found"));
        }
        (min, max)
    } else {
        (bound(call, 1, "min")?, bound(call, 2, "max")?)
    };
    if let (Some(min), Some(max)) = (min.known(), max.known()) {
        return unary(call, UnaryKind::Clamp(clamp(min, max)));
    }
    // The lower end first: where the two cross, the upper one wins.
    let mut y = x;
    for (end, kind, role) in [(min, BinaryKind::Max, "min"), (max, BinaryKind::Min, "")] {
        let role = if matches!(max, End::Open) { "" } else { role };
        y = match end {
            End::Open => y,
            End::Known(end) => {
                let clamp = if kind == BinaryKind::Max {
                    clamp(Some(end), None)
                } else {
                    clamp(None, Some(end))
                };
                let kind = UnaryKind::Clamp(clamp);
                call.graph.emit(Op::Unary(Unary { kind }), &[y], role)?
            }
            End::Tensor(end) => call.graph.emit(Op::Binary(Binary::from(kind)), &[y, end], role)?,
        };
    }
    Ok(vec![y])
}

/// One end of a clip.
#[derive(Clone, Copy)]
enum End {
    Open,
    /// Known now, exact in f32 and no NaN.
    Known(f32),
    Tensor(Tensor),
}

impl End {
    /// The end as a clamp has it; `None` where a clamp cannot have it.
    fn known(self) -> Option<Option<f32>> {
        match self {
            Self::Open => Some(None),
            Self::Known(end) => Some(Some(end)),
            Self::Tensor(_) => None,
        }
    }
}

/// A clamp whose ends do not cross: where ONNX's do, everything becomes the upper one.
pub(super) fn clamp(min: Option<f32>, max: Option<f32>) -> Clamp {
    // The largest floats are ONNX's way to leave an end open in older opsets.
    let min = min.filter(|&min| min > f32::MIN);
    let max = max.filter(|&max| max < f32::MAX);
    match (min, max) {
        (Some(low), Some(high)) if low.total_cmp(&high).is_gt() => Clamp { min: max, max },
        _ => Clamp { min, max },
    }
}

fn bound(call: &Call<'_>, index: usize, what: &str) -> Result<End, OpError> {
    let Some(end) = call.optional(index) else {
        return Ok(End::Open);
    };
    let (wanted, ty) = (call.graph.ty(call.input(0)?).dtype, call.graph.ty(end));
    if ty.len() != 1 || ty.shape.len() > 1 {
        return Err(OpError::new(format!("one `{what}` wanted, {ty} found")));
    }
    if ty.dtype != wanted {
        return Err(OpError::new(format!(
            "`{what}` of {wanted} wanted, {} found",
            ty.dtype
        )));
    }
    let known = call.graph.constant_of(end).and_then(|values| exact(values));
    Ok(known.map_or(End::Tensor(end), End::Known))
}

/// The value of a constant of one element, where f32 has it exactly; not of NaN.
pub(super) fn exact(values: &Values) -> Option<f32> {
    let &[value] = values.to_f64().as_slice() else {
        return None;
    };
    let exact = value as f32;
    // An i64 has not the precision of f64, so one beyond 2^53 may be another number than `value`.
    let is_long = matches!(values.data.view(), View::I64(_) | View::U64(_)) && value.abs() >= 2f64.powi(53);
    let is_number = values.data.dtype() != DType::Bool;
    (f64::from(exact) == value && !is_long && is_number).then_some(exact)
}
