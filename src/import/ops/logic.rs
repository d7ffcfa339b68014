//! Comparisons and choices.

use super::elementwise::{negated, operands};
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::DType;
use crate::op::{Cast, Compare, CompareKind, Op, OpError, Select, Unary, UnaryKind};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("Equal", |call| compare(call, CompareKind::Equal, false)),
    onnx("Greater", |call| compare(call, CompareKind::Less, true)),
    onnx("GreaterOrEqual", |call| {
        compare(call, CompareKind::LessOrEqual, true)
    }),
    onnx("IsInf", is_inf),
    onnx("IsNaN", is_nan),
    onnx("Less", |call| compare(call, CompareKind::Less, false)),
    onnx("LessOrEqual", |call| {
        compare(call, CompareKind::LessOrEqual, false)
    }),
    onnx("Where", choose),
];

fn compare(call: &mut Call<'_>, kind: CompareKind, swapped: bool) -> Made {
    let mut inputs = operands(call)?;
    if swapped {
        inputs.reverse();
    }
    Ok(vec![call.graph.emit(
        Op::Compare(Compare { kind }),
        &inputs,
        "",
    )?])
}

/// Reals that comparisons take: what is narrower becomes f32, which has its NaNs and infinities.
fn reals(call: &mut Call<'_>) -> Result<super::super::builder::Tensor, OpError> {
    let x = call.input(0)?;
    match call.graph.ty(x).dtype {
        DType::Narrow(_) => call.graph.emit(Op::Cast(Cast { to: DType::F32 }), &[x], "reals"),
        dtype if dtype.is_float() => Ok(x),
        dtype => Err(OpError::new(format!("reals wanted, {dtype} found"))),
    }
}

/// What differs from itself.
fn is_nan(call: &mut Call<'_>) -> Made {
    let x = reals(call)?;
    let same = call.graph.compare(CompareKind::Equal, x, x, "is_number")?;
    Ok(vec![negated(call, same, "")?])
}

fn is_inf(call: &mut Call<'_>) -> Made {
    let negative = call.attrs.flag("detect_negative", true)?;
    let positive = call.attrs.flag("detect_positive", true)?;
    let mut x = reals(call)?;
    let wanted = match (negative, positive) {
        (true, true) => {
            let kind = UnaryKind::Abs;
            x = call.graph.emit(Op::Unary(Unary { kind }), &[x], "magnitude")?;
            f64::INFINITY
        }
        (true, false) => f64::NEG_INFINITY,
        (false, true) => f64::INFINITY,
        // Nothing is equal to NaN.
        (false, false) => f64::NAN,
    };
    let wanted = call.graph.scalar_like(x, wanted, "infinity");
    Ok(vec![call.graph.compare(CompareKind::Equal, x, wanted, "")?])
}

fn choose(call: &mut Call<'_>) -> Made {
    let inputs = [call.input(0)?, call.input(1)?, call.input(2)?];
    Ok(vec![call.graph.emit(Op::Select(Select {}), &inputs, "")?])
}
