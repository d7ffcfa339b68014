//! Models of ai.onnx.ml that are linear, and what stands before them:
//! <https://onnx.ai/onnx/operators/index.html#ai-onnx-ml>. Where the page and ONNX Runtime differ, each function says so.

use super::super::builder::Tensor;
use super::post_transform::{Transform, label_above, label_of_greatest, labels};
use super::{Call, Importer, Made, of_domain};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{CompareKind, OpError, ReduceKind, UnaryKind};

const fn ml(operator: &'static str, import: fn(&mut Call<'_>) -> Made) -> Importer {
    of_domain("ai.onnx.ml", operator, import)
}

pub(super) const IMPORTERS: &[Importer] = &[
    ml("Binarizer", binarizer),
    ml("LinearClassifier", linear_classifier),
    ml("LinearRegressor", linear_regressor),
    ml("Normalizer", normalizer),
    ml("Scaler", scaler),
];

/// 1 where an element is above the threshold, 0 else, in the input's own type.
fn binarizer(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let dtype = call.graph.ty(x).dtype;
    let mut threshold = f64::from(call.attrs.float("threshold", 0.0)?);
    if !dtype.is_float() {
        // An integer is above a real where it is above the next integer below.
        threshold = threshold.floor();
    }
    let threshold = call.graph.scalar_like(x, threshold, "threshold");
    let above = call.graph.compare(CompareKind::Less, threshold, x, "above")?;
    Ok(vec![call.graph.cast(above, dtype, "binary")?])
}

/// The input as rows of f32 `[rows, features]`.
fn rows(call: &mut Call<'_>) -> Result<Tensor, OpError> {
    let x = call.input(0)?;
    let x = call.graph.cast(x, DType::F32, "real")?;
    match *call.graph.shape(x) {
        [_, _] => Ok(x),
        [features] => call.graph.reshape(x, [1, features], "row"),
        _ => Err(OpError::new(format!(
            "rows of features wanted, {} found",
            call.graph.ty(x)
        ))),
    }
}

/// A row, divided by its greatest element, or by its norm of sizes or of squares; by 1 where that is 0. The page has the
/// sum of the elements for `L1`; both ONNX's reference and ONNX Runtime take that of their sizes.
fn normalizer(call: &mut Call<'_>) -> Made {
    let shape = call.graph.shape(call.input(0)?).to_vec();
    let x = rows(call)?;
    let norm = call.attrs.word("norm", "MAX")?;
    let graph = &mut *call.graph;
    let divisor = match norm {
        "MAX" => graph.reduce(ReduceKind::Max, x, &[1], "greatest")?,
        "L1" => {
            let sizes = graph.unary(UnaryKind::Abs, x, "sizes")?;
            graph.reduce(ReduceKind::Sum, sizes, &[1], "size")?
        }
        "L2" => {
            let squares = graph.mul(x, x, "squares")?;
            let sum = graph.reduce(ReduceKind::Sum, squares, &[1], "square")?;
            graph.unary(UnaryKind::Sqrt, sum, "length")?
        }
        other => return Err(OpError::new(format!("norm MAX, L1 or L2 wanted, {other} found"))),
    };
    let zero = graph.scalar_like(x, 0.0, "zero");
    let is_zero = graph.compare(CompareKind::Equal, divisor, zero, "is_zero")?;
    let is_zero = graph.cast(is_zero, DType::F32, "one_for_zero")?;
    let divisor = graph.add(divisor, is_zero, "divisor")?;
    let y = graph.div(x, divisor, "normal")?;
    Ok(vec![graph.reshape(y, shape, "normalized")?])
}

/// `(x − offset) · scale` in f32, one for each feature or one for all.
fn scaler(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let x = call.graph.cast(x, DType::F32, "real")?;
    let features = call.graph.shape(x).last().copied().unwrap_or(1);
    let list = |call: &mut Call<'_>, name: &str| {
        let given = call.attrs.maybe_floats(name)?.unwrap_or_default();
        if given.len() != 1 && given.len() != features {
            return Err(OpError::new(format!(
                "`{name}` of 1 or {features} numbers wanted, {} found",
                given.len()
            )));
        }
        Ok(call
            .graph
            .constant(Values::f32([given.len()], given.to_vec()), name))
    };
    let (offset, scale) = (list(call, "offset")?, list(call, "scale")?);
    let shifted = call.graph.sub(x, offset, "shifted")?;
    Ok(vec![call.graph.mul(shifted, scale, "scaled")?])
}

/// `x · coefficientsᵀ + intercepts` as `[rows, columns]`, and how many columns; the intercepts' number where none is
/// given.
fn scores(call: &mut Call<'_>, columns: Option<usize>) -> Result<(Tensor, usize), OpError> {
    let x = rows(call)?;
    let features = call.graph.shape(x)[1];
    let coefficients = call.attrs.maybe_floats("coefficients")?.unwrap_or_default();
    let intercepts = call.attrs.maybe_floats("intercepts")?.unwrap_or_default();
    let columns = columns.unwrap_or_else(|| coefficients.len() / features.max(1));
    let whole = columns > 0 && columns.checked_mul(features) == Some(coefficients.len());
    if !whole || !(intercepts.is_empty() || intercepts.len() == columns) {
        return Err(OpError::new(format!(
            "coefficients of {features} features for each of {columns} scores, and as many intercepts, wanted, {} and \
             {} found",
            coefficients.len(),
            intercepts.len()
        )));
    }
    // By feature, as a product takes them.
    let by_feature = |at: usize| coefficients[at % columns * features + at / columns];
    let by_feature = Data::F32((0..coefficients.len()).map(by_feature).collect());
    let weights = Values::new([features, columns], by_feature);
    let weights = call.graph.constant(weights, "coefficients");
    let mut y = call.graph.matmul(x, weights, "product")?;
    if !intercepts.is_empty() {
        let intercepts = Values::f32([columns], intercepts.to_vec());
        let intercepts = call.graph.constant(intercepts, "intercepts");
        y = call.graph.add(y, intercepts, "scores")?;
    }
    Ok((y, columns))
}

fn linear_regressor(call: &mut Call<'_>) -> Made {
    let transform = Transform::read(call)?;
    let targets = call.attrs.int("targets", 1)?;
    let targets = usize::try_from(targets)
        .map_err(|_| OpError::new(format!("one target or more wanted, {targets} found")))?;
    let (scores, columns) = scores(call, Some(targets))?;
    if columns == 1 {
        transform.none_of_one()?;
        return Ok(vec![scores]);
    }
    Ok(vec![transform.apply(call, scores)?])
}

/// The label of the greatest score, and all scores. One score for two labels stands for the second label: above 0 it
/// is that one, and the first label's score is the rest to 1, or, of sigmoids, that of the negative, as ONNX Runtime
/// has it.
fn linear_classifier(call: &mut Call<'_>) -> Made {
    call.attrs.ignore(&["multi_class"]);
    let labels = labels(call, "classlabels_ints", "classlabels_strings")?;
    let transform = Transform::read(call)?;
    let (scores, columns) = scores(call, None)?;
    if columns == 1 && labels.len() == 2 {
        let label = label_above(call, scores, 0.0, &labels)?;
        return Ok(vec![label, both(call, scores, transform, Rest::ToOne)?]);
    }
    if columns == 1 || columns != labels.len() {
        return Err(OpError::new(format!(
            "a label for each of {columns} scores, or two for one, wanted, {} found",
            labels.len()
        )));
    }
    let label = label_of_greatest(call, scores, &labels)?;
    Ok(vec![label, transform.apply(call, scores)?])
}

/// What the first of two classes has where the second one's score is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// What is missing to 1.
    ToOne,
    /// The negative.
    Negative,
}

/// Scores of both classes from that of the second.
pub(super) fn both(
    call: &mut Call<'_>,
    score: Tensor,
    transform: Transform,
    rest: Rest,
) -> Result<Tensor, OpError> {
    let graph = &mut *call.graph;
    let logistic = match transform {
        Transform::None => false,
        Transform::Logistic => true,
        Transform::Softmax | Transform::SoftmaxZero => {
            return Err(OpError::new(
                "post_transform NONE or LOGISTIC of one score for two classes wanted, another found",
            )
            .with_help(
                "runtimes leave it out here: export the model without it, or with a node that does it",
            ));
        }
    };
    let first = if logistic || rest == Rest::Negative {
        graph.unary(UnaryKind::Neg, score, "negative")?
    } else {
        let one = graph.scalar_like(score, 1.0, "one");
        graph.sub(one, score, "rest")?
    };
    let scores = graph.concat(&[first, score], 1, "both")?;
    if logistic {
        return graph.unary(UnaryKind::Sigmoid, scores, "logistic");
    }
    Ok(scores)
}
