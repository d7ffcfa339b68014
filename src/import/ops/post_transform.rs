//! What models of ai.onnx.ml do with their scores at last: transforms, and labels of classes.

use super::super::builder::Tensor;
use super::Call;
use crate::op::tensor::{DType, Data, Values};
use crate::op::{CompareKind, Gather, Op, OpError, ReduceKind, Reshape, TopK, UnaryKind};

/// What scores `[rows, columns]` become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    /// They stay as they are.
    None,
    /// Each its sigmoid.
    Logistic,
    /// Each row its softmax.
    Softmax,
    /// Each row its softmax, but that zeros stay zero and have no part in it.
    SoftmaxZero,
}

/// Scores as near to zero as this count as zero.
const NOTHING: f64 = 1e-7;

impl Transform {
    /// Reads the attribute.
    pub(super) fn read(call: &Call<'_>) -> Result<Self, OpError> {
        match call.attrs.word("post_transform", "NONE")? {
            "NONE" => Ok(Self::None),
            "LOGISTIC" => Ok(Self::Logistic),
            "SOFTMAX" => Ok(Self::Softmax),
            "SOFTMAX_ZERO" => Ok(Self::SoftmaxZero),
            other => Err(OpError::new(format!(
                "post_transform NONE, LOGISTIC, SOFTMAX or SOFTMAX_ZERO wanted, {other} found"
            ))
            .with_help("export the model without it and compute it from the scores")),
        }
    }

    /// Applies it to one score per row, which runtimes leave as it is: only where there is none.
    pub(super) fn none_of_one(self) -> Result<(), OpError> {
        if self == Self::None {
            return Ok(());
        }
        Err(
            OpError::new("post_transform NONE of one score per row wanted, another found").with_help(
                "runtimes leave it out here: export the model without it, or with a node that does it",
            ),
        )
    }

    /// Applies it to two or more scores per row.
    pub(super) fn apply(self, call: &mut Call<'_>, scores: Tensor) -> Result<Tensor, OpError> {
        match self {
            Self::None => Ok(scores),
            Self::Logistic => call.graph.unary(UnaryKind::Sigmoid, scores, "logistic"),
            Self::Softmax => call.graph.softmax(scores, 1, "softmax"),
            Self::SoftmaxZero => softmax_zero(call, scores),
        }
    }
}

fn softmax_zero(call: &mut Call<'_>, x: Tensor) -> Result<Tensor, OpError> {
    let graph = &mut *call.graph;
    let size = graph.unary(UnaryKind::Abs, x, "sizes")?;
    let nothing = graph.scalar_like(x, NOTHING, "nothing");
    let counts = graph.compare(CompareKind::Less, nothing, size, "counts")?;
    let counts = graph.cast(counts, DType::F32, "counted")?;
    let one = graph.scalar_like(x, 1.0, "one");
    let rest = graph.sub(one, counts, "uncounted")?;
    let most = graph.reduce(ReduceKind::Max, x, &[1], "greatest")?;
    let below = graph.sub(x, most, "below_greatest")?;
    let powers = graph.unary(UnaryKind::Exp, below, "powers")?;
    let powers = graph.mul(powers, counts, "counted_powers")?;
    let least = graph.unary(UnaryKind::Neg, most, "negative_greatest")?;
    let least = graph.unary(UnaryKind::Exp, least, "power_of_zero")?;
    let rest = graph.mul(rest, x, "near_zero")?;
    let rest = graph.mul(rest, least, "powers_near_zero")?;
    let powers = graph.add(powers, rest, "all_powers")?;
    let sum = graph.reduce(ReduceKind::Sum, powers, &[1], "sum")?;
    graph.div(powers, sum, "softmax_zero")
}

/// The integer labels of an attribute; texts are refused.
pub(super) fn labels(call: &Call<'_>, ints: &str, strings: &str) -> Result<Vec<i64>, OpError> {
    if !call.attrs.words(strings)?.is_empty() {
        return Err(OpError::new(format!(
            "integers as labels wanted, `{strings}` found: string found"
        ))
        .with_help("export the model with classes by number, and give the names with --labels"));
    }
    let labels = call.attrs.maybe_ints(ints)?.unwrap_or_default().to_vec();
    if labels.is_empty() {
        return Err(OpError::new(format!("labels in `{ints}` wanted, none found")));
    }
    Ok(labels)
}

/// The label of the greatest score of each row, of equal ones the first: `[rows]` of i64.
pub(super) fn label_of_greatest(
    call: &mut Call<'_>,
    scores: Tensor,
    labels: &[i64],
) -> Result<Tensor, OpError> {
    let top = Op::TopK(TopK {
        axis: 1,
        count: 1,
        largest: true,
        last_of_equals: false,
    });
    let place = call.graph.emit(top, &[scores], "greatest_place")?;
    label_at(call, place, labels)
}

/// The second label where a row's one score is above a limit, the first else: `[rows]` of i64.
pub(super) fn label_above(
    call: &mut Call<'_>,
    score: Tensor,
    limit: f64,
    labels: &[i64],
) -> Result<Tensor, OpError> {
    let limit = call.graph.scalar_like(score, limit, "limit");
    let above = call.graph.compare(CompareKind::Less, limit, score, "above")?;
    let place = call.graph.cast(above, DType::I64, "place")?;
    label_at(call, place, labels)
}

/// The labels at places `[rows, 1]`.
fn label_at(call: &mut Call<'_>, place: Tensor, labels: &[i64]) -> Result<Tensor, OpError> {
    let rows = call.graph.shape(place)[0];
    let reshape = Op::Reshape(Reshape { shape: vec![rows] });
    let place = call.graph.emit(reshape, &[place], "places")?;
    if labels.iter().copied().eq(0..labels.len() as i64) {
        return Ok(place);
    }
    let table = Values::new([labels.len()], Data::I64(labels.to_vec()));
    let table = call.graph.constant(table, "labels");
    call.graph
        .emit(Op::Gather(Gather { axis: 0 }), &[table, place], "label")
}
