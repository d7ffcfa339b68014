//! Losses over classes: the logarithms of probabilities, picked by comparing classes with labels.

use super::super::builder::Tensor;
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::{Data, Values};
use crate::op::{CompareKind, Op, OpError, ReduceKind, Softmax, SoftmaxKind};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("NegativeLogLikelihoodLoss", likelihood),
    onnx("SoftmaxCrossEntropyLoss", cross_entropy),
];

fn likelihood(call: &mut Call<'_>) -> Made {
    let log_probabilities = call.input(0)?;
    Ok(vec![loss(call, log_probabilities)?])
}

/// The logarithms of the probabilities are an output too.
fn cross_entropy(call: &mut Call<'_>) -> Made {
    let scores = call.input(0)?;
    if call.graph.rank(scores) < 2 {
        return Err(OpError::new(format!(
            "scores of rank 2 or more wanted, {} found",
            call.graph.ty(scores)
        )));
    }
    let softmax = Op::Softmax(Softmax {
        axis: 1,
        kind: SoftmaxKind::Logarithm,
    });
    let logs = call.graph.emit(softmax, &[scores], "log_probability")?;
    Ok(vec![loss(call, logs)?, logs])
}

/// `−w[label] · x[label]` of `x` as `[n, classes, …]`; then the sum of all, or their mean weighted by `w`. Labels to be
/// ignored weigh nothing.
fn loss(call: &mut Call<'_>, x: Tensor) -> Result<Tensor, OpError> {
    let labels = call.input(1)?;
    let reduction = call.attrs.word("reduction", "mean")?;
    let ignored = call.attrs.maybe_int("ignore_index")?;
    let shape = call.graph.shape(x).to_vec();
    let label_ty = call.graph.ty(labels).clone();
    let mut wanted = shape.clone();
    if wanted.len() >= 2 {
        wanted.remove(1);
    }
    if shape.len() < 2 || label_ty.shape != wanted {
        return Err(OpError::new(format!(
            "one label per row of classes wanted, {label_ty} for {shape:?} found"
        )));
    }
    let classes = shape[1];
    let mut spread = shape.clone();
    spread[1] = 1;
    let spread_labels = call.graph.reshape(labels, spread, "labels")?;
    let mut column = vec![1; shape.len() - 1];
    column[0] = classes;
    let numbers = Data::I64((0..classes as i64).collect()).cast(label_ty.dtype);
    let numbers = Values::new(column.clone(), numbers);
    let numbers = call.graph.constant(numbers, "classes");
    let picked = call
        .graph
        .compare(CompareKind::Equal, spread_labels, numbers, "picked")?;

    // Weights by class, 0 for the one ignored.
    let to = call.graph.ty(x).dtype;
    let mut weights = match call.optional(2) {
        Some(weights) => Some(call.graph.reshape(weights, column.clone(), "weights")?),
        None => None,
    };
    let inside = ignored
        .and_then(|ignored| usize::try_from(ignored).ok())
        .filter(|&i| i < classes);
    if let Some(ignored) = inside {
        let mask = (0..classes)
            .map(|class| f64::from(u8::from(class != ignored)))
            .collect();
        let mask = Values::new(column, Data::F64(mask).cast(to));
        let mask = call.graph.constant(mask, "counted");
        weights = Some(match weights {
            Some(weights) => call.graph.mul(weights, mask, "counted_weights")?,
            None => mask,
        });
    }
    let zero = call.graph.scalar_like(x, 0.0, "zero");
    let one = call.graph.scalar_like(x, 1.0, "one");
    let pick = |call: &mut Call<'_>, values: Tensor, role: &str| -> Result<Tensor, OpError> {
        let chosen = call.graph.choose(picked, values, zero, role)?;
        let sum = call
            .graph
            .reduce(ReduceKind::Sum, chosen, &[1], &format!("{role}_kept"))?;
        call.graph
            .reshape(sum, label_ty.shape.clone(), &format!("{role}_picked"))
    };
    let log = pick(call, x, "log")?;
    let loss = call.graph.sub(zero, log, "loss")?;
    // Labels outside of the classes weigh nothing either; only the ignored one may be.
    let weight = if weights.is_some() || ignored.is_some() {
        Some(pick(call, weights.unwrap_or(one), "weight")?)
    } else {
        None
    };
    let loss = match weight {
        Some(weight) => call.graph.mul(loss, weight, "weighted")?,
        None => loss,
    };
    let axes: Vec<usize> = (0..label_ty.shape.len()).collect();
    let total = |call: &mut Call<'_>, kind: ReduceKind, x: Tensor, role: &str| -> Result<Tensor, OpError> {
        let kept = call.graph.reduce(kind, x, &axes, &format!("{role}_kept"))?;
        call.graph.reshape(kept, [], role)
    };
    match (reduction, weight) {
        ("none", _) => Ok(loss),
        ("sum", _) => total(call, ReduceKind::Sum, loss, "sum"),
        ("mean", None) => total(call, ReduceKind::Mean, loss, "mean"),
        ("mean", Some(weight)) => {
            let sum = total(call, ReduceKind::Sum, loss, "sum")?;
            let weight = total(call, ReduceKind::Sum, weight, "weight_sum")?;
            call.graph.div(sum, weight, "mean")
        }
        (other, _) => Err(OpError::new(format!(
            "`reduction` none, sum or mean wanted, {other} found"
        ))),
    }
}
