//! Classic machine learning over vectors of numbers, and counts of integer sequences.

use super::super::builder::Tensor;
use super::{Call, Importer, Made, of_domain, onnx};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{Binary, BinaryKind, Cast, Clamp, Gram, Lookup, MatMul, Op, OpError, TfIdf};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("TfIdfVectorizer", tf_idf_vectorizer),
    of_domain("ai.onnx.ml", "LabelEncoder", label_encoder),
    of_domain("ai.onnx.ml", "LinearRegressor", linear_regressor),
    of_domain("ai.onnx.ml", "Scaler", scaler),
];

/// Sequences of integers from the pool, of lengths within limits.
fn tf_idf_vectorizer(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let attrs = &call.attrs;
    if attrs.has("pool_strings") {
        return Err(OpError::new("a pool of integers wanted, string found"));
    }
    let length = |name: &str| -> Result<usize, OpError> {
        let number = attrs.required_int(name)?;
        usize::try_from(number)
            .map_err(|_| OpError::new(format!("`{name}` of at least 0 wanted, {number} found")))
    };
    let (shortest, longest) = (length("min_gram_length")?, length("max_gram_length")?);
    let most_skipped = length("max_skip_count")?;
    let (once, weighted) = match attrs.word("mode", "TF")? {
        "TF" => (false, false),
        "IDF" => (true, true),
        "TFIDF" => (false, true),
        other => {
            return Err(OpError::new(format!(
                "mode TF, IDF or TFIDF wanted, {other} found"
            )));
        }
    };
    let ints = |name: &str| Ok::<_, OpError>(attrs.maybe_ints(name)?.unwrap_or_default());
    let (pool, starts) = (ints("pool_int64s")?, ints("ngram_counts")?);
    let outputs = ints("ngram_indexes")?;
    let weights = attrs.maybe_floats("weights")?.unwrap_or_default();
    let misfit =
        || OpError::new("sequences that make up the pool, each with an output, wanted, others found");
    let mut grams = Vec::with_capacity(outputs.len());
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(pool.len() as i64);
        let start = usize::try_from(start).map_err(|_| misfit())?;
        let end = usize::try_from(end).map_err(|_| misfit())?;
        let of_length = pool.get(start..end).ok_or_else(misfit)?;
        let items = i + 1;
        if !of_length.len().is_multiple_of(items) {
            return Err(misfit());
        }
        for gram in of_length.chunks(items) {
            let number = grams.len();
            let output = *outputs.get(number).ok_or_else(misfit)?;
            let weight = if weighted {
                weights.get(number).copied()
            } else {
                None
            };
            grams.push(Gram {
                items: gram.to_vec(),
                output: usize::try_from(output).map_err(|_| misfit())?,
                weight: weight.unwrap_or(1.0),
            });
        }
    }
    if grams.len() != outputs.len() {
        return Err(misfit());
    }
    let extent = grams
        .iter()
        .map(|gram| gram.output.saturating_add(1))
        .max()
        .unwrap_or(0);
    grams.retain(|gram| (shortest..=longest).contains(&gram.items.len()));
    let op = TfIdf {
        grams,
        outputs: extent,
        most_skipped,
        once,
    };
    Ok(vec![call.graph.emit(Op::TfIdf(op), &[x], "")?])
}

/// Numbers to numbers; strings are refused. Version 4 may have both lists as tensors.
fn label_encoder(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let attrs = &call.attrs;
    for name in ["keys_strings", "values_strings", "classes_strings"] {
        if attrs.has(name) {
            return Err(OpError::new(format!(
                "labels that are numbers wanted, string found in `{name}`"
            )));
        }
    }
    attrs.ignore(&["default_string"]);
    let mut list = |side: &str| -> Result<Values, OpError> {
        if let Some(ints) = attrs.maybe_ints(&format!("{side}_int64s"))? {
            return Ok(Values::new([ints.len()], Data::I64(ints.to_vec())));
        }
        if let Some(reals) = attrs.maybe_floats(&format!("{side}_floats"))? {
            return Ok(Values::new([reals.len()], Data::F32(reals.to_vec())));
        }
        let tensor = attrs.maybe_tensor(&format!("{side}_tensor"))?;
        call.graph.values(
            tensor.ok_or_else(|| OpError::new(format!("{side} that are numbers wanted, none found")))?,
        )
    };
    let (keys, mut results) = (list("keys")?, list("values")?);
    let (int, real) = (
        attrs.int("default_int64", -1)?,
        attrs.float("default_float", -0.0)?,
    );
    let default = match attrs.maybe_tensor("default_tensor")? {
        Some(tensor) => call.graph.values(tensor)?.data,
        None if results.data.dtype().is_float() => Data::F32(vec![real]),
        None => Data::I64(vec![int]),
    };
    if default.len() != 1 || keys.data.len() != results.data.len() {
        return Err(OpError::new(format!(
            "a value for each of {} and one for all else wanted, {} found",
            keys.ty(),
            results.ty()
        )));
    }
    let dtype = results.data.dtype();
    results.data.append(&default.cast(dtype));
    let keys = Values::new([keys.data.len()], keys.data);
    let results = Values::new([results.data.len()], results.data);
    let keys = call.graph.constant(keys, "keys");
    let results = call.graph.constant(results, "values");
    Ok(vec![call.graph.emit(
        Op::Lookup(Lookup {}),
        &[x, keys, results],
        "",
    )?])
}

/// The input as f32, which these operators compute in.
fn reals(call: &mut Call<'_>) -> Result<Tensor, OpError> {
    let x = call.input(0)?;
    if call.graph.ty(x).dtype == DType::F32 {
        return Ok(x);
    }
    call.graph.emit(Op::Cast(Cast { to: DType::F32 }), &[x], "f32")
}

/// One operand is a vector of the model, for the last axis.
fn with_vector(
    call: &mut Call<'_>,
    kind: BinaryKind,
    x: Tensor,
    vector: &[f32],
    role: &str,
) -> Result<Tensor, OpError> {
    let shape = if vector.len() == 1 {
        vec![]
    } else {
        vec![vector.len()]
    };
    let operand = call
        .graph
        .constant(Values::f32(shape, vector.to_vec()), "operand");
    let clamp = Clamp::NONE;
    call.graph
        .emit(Op::Binary(Binary { kind, clamp }), &[x, operand], role)
}

/// `(x − offset) · scale`, each one number for all or one for every column.
fn scaler(call: &mut Call<'_>) -> Made {
    let mut y = reals(call)?;
    let offset = call.attrs.maybe_floats("offset")?.unwrap_or_default();
    let scale = call.attrs.maybe_floats("scale")?.unwrap_or_default();
    if !offset.is_empty() {
        y = with_vector(call, BinaryKind::Sub, y, offset, "apart")?;
    }
    if !scale.is_empty() {
        y = with_vector(call, BinaryKind::Mul, y, scale, "")?;
    }
    Ok(vec![y])
}

/// A product with the coefficients, a row for each target, and the intercepts.
fn linear_regressor(call: &mut Call<'_>) -> Made {
    let transform = call.attrs.word("post_transform", "NONE")?;
    if transform != "NONE" {
        return Err(OpError::new(format!(
            "no transform of the targets wanted, {transform} found"
        )));
    }
    let x = reals(call)?;
    let targets = call.attrs.int("targets", 1)?;
    let coefficients = call.attrs.maybe_floats("coefficients")?.unwrap_or_default();
    let intercepts = call.attrs.maybe_floats("intercepts")?.unwrap_or_default();
    let shape = call.graph.shape(x).to_vec();
    let targets = usize::try_from(targets).ok().filter(|&targets| targets > 0);
    let (&[_, features], Some(targets)) = (shape.as_slice(), targets) else {
        return Err(OpError::new(format!("rows of features wanted, {shape:?} found")));
    };
    let fits = features.checked_mul(targets) == Some(coefficients.len());
    if !fits || ![0, targets].contains(&intercepts.len()) {
        return Err(OpError::new(format!(
            "a coefficient of {targets} targets for each of {features} features wanted, {} found",
            coefficients.len()
        )));
    }
    let columns = (0..features).flat_map(|feature| (0..targets).map(move |target| (target, feature)));
    let weights: Vec<f32> = columns
        .map(|(target, feature)| coefficients[target * features + feature])
        .collect();
    let weights = call
        .graph
        .constant(Values::f32([features, targets], weights), "coefficients");
    let y = call.graph.emit(Op::MatMul(MatMul {}), &[x, weights], "product")?;
    if intercepts.is_empty() {
        return Ok(vec![y]);
    }
    Ok(vec![with_vector(call, BinaryKind::Add, y, intercepts, "")?])
}
