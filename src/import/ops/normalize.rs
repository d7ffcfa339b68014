//! Normalization: by batch statistics, and to probabilities.

use super::super::layout::{channels_first, channels_last};
use super::{Call, Importer, Made, onnx, resolve_axis};
use crate::op::{BatchNormalization, Op, OpError, Reshape, Softmax, SoftmaxKind};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("BatchNormalization", batch),
    onnx("Hardmax", hardmax),
    onnx("LogSoftmax", log_softmax),
    onnx("Softmax", softmax),
];

/// Inference only: opset 7 could normalize every position apart, opset 14 could train.
fn batch(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let rank = call.graph.shape(x).len();
    if rank < 2 {
        return Err(OpError::new(format!(
            "an input of rank 2 or more wanted, {} found",
            call.graph.ty(x)
        )));
    }
    let epsilon = call.attrs.float("epsilon", 1e-5)?;
    call.attrs.ignore(&["momentum"]);
    if call.version < 9 && !call.attrs.flag("spatial", true)? {
        return Err(OpError::new("one mean per channel wanted, spatial=0 found"));
    }
    if call.version >= 14 && call.attrs.flag("training_mode", false)? {
        return Err(OpError::new("inference wanted, training_mode=1 found")
            .with_help("export the model in evaluation mode"));
    }
    let mut inputs = vec![x];
    for index in 1..5 {
        inputs.push(call.input(index)?);
    }
    let op = Op::BatchNormalization(BatchNormalization { epsilon });
    if rank == 2 {
        return Ok(vec![call.graph.emit(op, &inputs, "")?]);
    }
    inputs[0] = channels_last(call.graph, x)?;
    let y = call.graph.emit_as(op, &inputs, "", "channels_last")?;
    Ok(vec![channels_first(call.graph, y)?])
}

fn softmax(call: &mut Call<'_>) -> Made {
    lines(call, SoftmaxKind::Probability)
}

fn log_softmax(call: &mut Call<'_>) -> Made {
    lines(call, SoftmaxKind::Logarithm)
}

fn hardmax(call: &mut Call<'_>) -> Made {
    lines(call, SoftmaxKind::Greatest)
}

/// Along one axis from opset 13 on; before, over everything from the axis on.
fn lines(call: &mut Call<'_>, kind: SoftmaxKind) -> Made {
    let x = call.input(0)?;
    let shape = call.graph.shape(x).to_vec();
    let default = if call.version < 13 { 1 } else { -1 };
    let axis = call.attrs.int("axis", default)?;
    let flattens = call.version < 13;
    let rows = flattens && axis == shape.len() as i64; // every element on its own
    let axis = if rows {
        shape.len()
    } else {
        resolve_axis(axis, shape.len())?
    };
    if !flattens || !rows && shape[axis + 1..].iter().all(|&extent| extent == 1) {
        let op = Op::Softmax(Softmax { axis, kind });
        return Ok(vec![call.graph.emit(op, &[x], "")?]);
    }
    let matrix = vec![shape[..axis].iter().product(), shape[axis..].iter().product()];
    let flat = Op::Reshape(Reshape { shape: matrix });
    let flat = call.graph.emit(flat, &[x], "flat")?;
    let op = Op::Softmax(Softmax { axis: 1, kind });
    let y = call.graph.emit_as(op, &[flat], "", "matrix")?;
    let back = Op::Reshape(Reshape { shape });
    Ok(vec![call.graph.emit_as(back, &[y], "unflat", "")?])
}
