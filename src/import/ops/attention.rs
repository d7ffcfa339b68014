//! Attention, as products of matrices around a softmax, and rotary embeddings.

use super::super::builder::Tensor;
use super::super::heads::default_scale;
use super::super::tensors::dtype;
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{Gather, Op, OpError, Slice, Softmax, SoftmaxKind, UnaryKind};

pub(super) const IMPORTERS: &[Importer] = &[onnx("Attention", attention), onnx("RotaryEmbedding", rotary)];

/// A number of heads that divides the features.
fn heads(found: i64, attribute: &str, features: usize) -> Result<usize, OpError> {
    usize::try_from(found)
        .ok()
        .filter(|&heads| heads > 0 && features.is_multiple_of(heads))
        .ok_or_else(|| {
            OpError::new(format!(
                "`{attribute}` that divides {features} features wanted, {found} found"
            ))
        })
}

/// An input of rank 3 with its heads apart, or of rank 4 as it is.
fn with_heads(call: &mut Call<'_>, index: usize, attribute: &str, role: &str) -> Result<Tensor, OpError> {
    let x = call.input(index)?;
    match *call.graph.shape(x) {
        [_, _, features] => {
            let heads = heads(call.attrs.required_int(attribute)?, attribute, features)?;
            call.graph.split_heads(x, heads, role)
        }
        [_, _, _, _] => {
            call.attrs.maybe_int(attribute)?;
            Ok(x)
        }
        _ => Err(OpError::new(format!(
            "`{role}` of rank 3 or 4 wanted, {} found",
            call.graph.ty(x)
        ))),
    }
}

/// `softmax(Q·Kᵀ·scale + bias)·V`. The bias says what may be attended: it is −∞ elsewhere.
fn attention(call: &mut Call<'_>) -> Made {
    let is_flat = call.graph.rank(call.input(0)?) == 3;
    let q = with_heads(call, 0, "q_num_heads", "query")?;
    let new_k = with_heads(call, 1, "kv_num_heads", "key")?;
    let new_v = with_heads(call, 2, "kv_num_heads", "value")?;
    let past = match (call.optional(4), call.optional(5)) {
        (Some(k), Some(v)) => Some((k, v)),
        (None, None) => None,
        _ => {
            return Err(OpError::new(
                "past keys and values together wanted, one of them found",
            ));
        }
    };
    let (k, v) = match past {
        Some((past_k, past_v)) => (
            call.graph.concat(&[past_k, new_k], 2, "present_key")?,
            call.graph.concat(&[past_v, new_v], 2, "present_value")?,
        ),
        None => (new_k, new_v),
    };
    let (&[batch, q_heads, queries, size], &[_, _, keys, _]) = (call.graph.shape(q), call.graph.shape(k))
    else {
        return Err(OpError::new("queries, keys and values of one rank wanted"));
    };
    let mode = call.attrs.int("qk_matmul_output_mode", 0)?;
    let scale = match call.attrs.maybe_float("scale")? {
        Some(scale) => f64::from(scale),
        None => default_scale(size),
    };
    let mut shown = call.graph.scores(q, k, scale)?;
    let grid = [batch, q_heads, queries, keys];
    let softcap = f64::from(call.attrs.float("softcap", 0.0)?);
    let mut logits = shown;
    if softcap > 0.0 {
        let cap = call.graph.scalar_like(logits, softcap, "softcap");
        let small = call.graph.div(logits, cap, "below_cap")?;
        let bent = call.graph.unary(UnaryKind::Tanh, small, "bent")?;
        logits = call.graph.mul(bent, cap, "capped")?;
        if mode != 0 {
            shown = logits;
        }
    }
    let past_keys = past.map_or(0, |(past_k, _)| call.graph.shape(past_k)[2]);
    if let Some(bias) = bias(call, q, [batch, queries, keys], past.map(|_| past_keys))? {
        logits = call.graph.add(logits, bias, "biased")?;
    }
    if call.graph.shape(logits) != grid {
        return Err(OpError::new(format!(
            "a mask that broadcasts to {grid:?} wanted, one that makes {:?} found",
            call.graph.shape(logits)
        )));
    }
    let own = call.graph.ty(q).dtype;
    let precision = match call.attrs.maybe_int("softmax_precision")? {
        Some(number) => dtype(i32::try_from(number).unwrap_or(i32::MAX))?,
        None => own,
    };
    let exact = call.graph.cast(logits, precision, "precise")?;
    let softmax = Op::Softmax(Softmax {
        axis: 3,
        kind: SoftmaxKind::Attended,
    });
    let weights = call.graph.emit(softmax, &[exact], "weights")?;
    let weights = call.graph.cast(weights, own, "attended")?;
    match mode {
        0 | 1 => {}
        2 => shown = logits,
        3 => shown = weights,
        other => {
            return Err(OpError::new(format!(
                "`qk_matmul_output_mode` from 0 to 3 wanted, {other} found"
            )));
        }
    }
    let y = call.graph.mix_values(weights, v)?;
    let y = if is_flat { call.graph.join_heads(y)? } else { y };
    Ok(vec![y, k, v, shown])
}

/// What is added to the scores: the mask, and what causality, windows and padding allow, which is known beforehand.
fn bias(
    call: &mut Call<'_>,
    like: Tensor,
    [batch, queries, keys]: [usize; 3],
    past: Option<usize>,
) -> Result<Option<Tensor>, OpError> {
    let mask = match call.optional(3) {
        Some(mask) => Some(additive(call, mask, like, keys)?),
        None => None,
    };
    let causal = call.attrs.flag("is_causal", false)?;
    let window = |name: &str| -> Result<Option<i64>, OpError> {
        let found = call.attrs.int(name, -1)?;
        Ok((found >= 0).then_some(found))
    };
    let (left, right) = (window("left_window_size")?, window("right_window_size")?);
    let filled = call.constant_ints(6, "the number of keys that are not padding")?;
    let plain = filled.is_none() && !causal && left.is_none() && right.is_none();
    if plain {
        return Ok(mask);
    }
    let per_batch: Vec<Option<i64>> = match &filled {
        Some(filled) if filled.len() == batch => filled.iter().copied().map(Some).collect(),
        Some(filled) => {
            return Err(OpError::new(format!(
                "one number of keys for each of {batch} wanted, {} found",
                filled.len()
            )));
        }
        None => vec![None],
    };
    call.graph.take_bytes(
        per_batch
            .len()
            .saturating_mul(queries)
            .saturating_mul(keys)
            .saturating_mul(8),
    )?;
    let mut allowed = Vec::new();
    for filled in &per_batch {
        let offset = match (past, filled) {
            (Some(past), _) => past as i64,
            (None, Some(filled)) => filled - queries as i64,
            (None, None) => 0,
        };
        for query in 0..queries as i64 {
            let position = offset + query;
            for key in 0..keys as i64 {
                let seen = (!causal || key <= position)
                    && left.is_none_or(|left| key >= position.saturating_sub(left))
                    && right.is_none_or(|right| key <= position.saturating_add(right))
                    && filled.is_none_or(|filled| key < filled);
                allowed.push(if seen { 0.0 } else { f64::NEG_INFINITY });
            }
        }
    }
    let data = Data::F64(allowed).cast(call.graph.ty(like).dtype);
    let allowed = Values::new([per_batch.len(), 1, queries, keys], data);
    let allowed = call.graph.constant(allowed, "allowed");
    Ok(Some(match mask {
        Some(mask) => call.graph.add(mask, allowed, "mask_and_allowed")?,
        None => allowed,
    }))
}

/// A mask as what is added: 0 and −∞ for true and false. Keys that it does not reach are not attended.
fn additive(call: &mut Call<'_>, mask: Tensor, like: Tensor, keys: usize) -> Result<Tensor, OpError> {
    let to = call.graph.ty(like).dtype;
    let mut mask = mask;
    if call.graph.ty(mask).dtype == DType::Bool {
        // 1 − 1/t is 0 for 1 and −∞ for 0.
        let truth = call.graph.cast(mask, to, "truth")?;
        let one = call.graph.scalar_like(truth, 1.0, "one");
        let inverse = call.graph.div(one, truth, "mask_inverse")?;
        mask = call.graph.sub(one, inverse, "mask_bias")?;
    }
    let mut shape = call.graph.shape(mask).to_vec();
    let Some(last) = shape.last_mut() else {
        return Ok(mask);
    };
    let missing = keys.saturating_sub(*last);
    if missing > 0 {
        *last = missing;
        let axis = shape.len() - 1;
        let beyond = Data::F64(vec![f64::NEG_INFINITY; shape.iter().product()]).cast(to);
        let beyond = call.graph.constant(Values::new(shape, beyond), "beyond_mask");
        mask = call.graph.concat(&[mask, beyond], axis, "whole_mask")?;
    }
    Ok(mask)
}

/// Pairs of features, turned by angles whose cosines and sines are given by position.
fn rotary(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let shape = call.graph.shape(x).to_vec();
    let given_heads = call.attrs.int("num_heads", 0)?;
    // `[batch, sequence, heads, size]`
    let x = match shape[..] {
        [_, _, _, _] => call.graph.transpose(x, &[0, 2, 1, 3], "positions")?,
        [batch, sequence, features] => {
            let heads = heads(given_heads, "num_heads", features)?;
            call.graph
                .reshape(x, [batch, sequence, heads, features / heads], "heads")?
        }
        _ => {
            return Err(OpError::new(format!(
                "an input of rank 3 or 4 wanted, {shape:?} found"
            )));
        }
    };
    let split = call.graph.shape(x).to_vec();
    let size = split[3];
    let turned = match call.attrs.int("rotary_embedding_dim", 0)? {
        0 => size,
        found => usize::try_from(found)
            .ok()
            .filter(|&turned| turned <= size)
            .ok_or_else(|| {
                OpError::new(format!("at most {size} features to rotate wanted, {found} found"))
            })?,
    };
    let half = turned / 2;
    let [cos, sin] = [1, 2].map(|index| angles(call, index, half));
    let (cos, sin) = (cos?, sin?);
    let interleaved = call.attrs.flag("interleaved", false)?;
    let side = |call: &mut Call<'_>, side: usize, role: &str| {
        let mut starts = vec![0; 4];
        let mut steps = vec![1; 4];
        let mut extents = split.clone();
        extents[3] = half;
        if interleaved {
            starts[3] = side;
            steps[3] = 2;
        } else {
            starts[3] = side * half;
        }
        let slice = Slice {
            starts,
            steps,
            shape: extents,
        };
        call.graph.emit(Op::Slice(slice), &[x], role)
    };
    let (a, b) = (side(call, 0, "first")?, side(call, 1, "second")?);
    let (a_cos, b_sin) = (
        call.graph.mul(a, cos, "first_cos")?,
        call.graph.mul(b, sin, "second_sin")?,
    );
    let real = call.graph.sub(a_cos, b_sin, "real")?;
    let (a_sin, b_cos) = (
        call.graph.mul(a, sin, "first_sin")?,
        call.graph.mul(b, cos, "second_cos")?,
    );
    let imaginary = call.graph.add(a_sin, b_cos, "imaginary")?;
    let mut y = if interleaved {
        let mut column = split.clone();
        column[3] = half;
        column.push(1);
        let real = call.graph.reshape(real, column.clone(), "real_column")?;
        let imaginary = call.graph.reshape(imaginary, column, "imaginary_column")?;
        let pairs = call.graph.concat(&[real, imaginary], 4, "pairs")?;
        let mut flat = split.clone();
        flat[3] = 2 * half;
        call.graph.reshape(pairs, flat, "rotated")?
    } else {
        call.graph.concat(&[real, imaginary], 3, "rotated")?
    };
    if turned < size {
        let rest = call.graph.part(x, 3, turned..size, "unrotated")?;
        y = call.graph.concat(&[y, rest], 3, "whole")?;
    }
    Ok(vec![if shape.len() == 4 {
        call.graph.transpose(y, &[0, 2, 1, 3], "heads_first")?
    } else {
        call.graph.reshape(y, shape, "joined")?
    }])
}

/// A cache of cosines or sines as `[batch, sequence, 1, half]`, at the positions where those are given.
fn angles(call: &mut Call<'_>, index: usize, half: usize) -> Result<Tensor, OpError> {
    let mut cache = call.input(index)?;
    if let Some(positions) = call.optional(3) {
        let gather = Op::Gather(Gather { axis: 0 });
        cache = call.graph.emit(gather, &[cache, positions], "angles")?;
    }
    match *call.graph.shape(cache) {
        [batch, sequence, found] if found == half => {
            call.graph
                .reshape(cache, [batch, sequence, 1, half], "angle_rows")
        }
        ref other => Err(OpError::new(format!(
            "angles of [batch, sequence, {half}] wanted, {other:?} found"
        ))),
    }
}
