//! Attention as ONNX Runtime's optimizer of transformers writes it, out of products and a softmax:
//! <https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.Attention>.

use super::super::builder::Tensor;
use super::super::heads::default_scale;
use super::{Call, Importer, Made, of_domain};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{CompareKind, OpError};

pub(super) const IMPORTERS: &[Importer] = &[
    of_domain("com.microsoft", "Attention", attention),
    of_domain("com.microsoft", "MultiHeadAttention", multi_head_attention),
];

/// The number of heads.
fn heads(call: &Call<'_>) -> Result<usize, OpError> {
    let found = call.attrs.required_int("num_heads")?;
    usize::try_from(found)
        .ok()
        .filter(|&heads| heads > 0)
        .ok_or_else(|| OpError::new(format!("`num_heads` of 1 or more wanted, {found} found")))
}

/// `[batch, heads, sequence, size]` from `[batch, sequence, heads · size]`.
fn split(call: &mut Call<'_>, x: Tensor, heads: usize, role: &str) -> Result<Tensor, OpError> {
    match *call.graph.shape(x) {
        [_, _, features] if features.is_multiple_of(heads) => call.graph.split_heads(x, heads, role),
        _ => Err(OpError::new(format!(
            "`{role}` of rank 3, whose features {heads} heads divide, wanted, {} found",
            call.graph.ty(x)
        ))),
    }
}

/// Queries, keys and values from one product; what is asked of them may look back at earlier keys and values.
fn attention(call: &mut Call<'_>) -> Made {
    for attribute in ["do_rotary", "past_present_share_buffer"] {
        if call.attrs.flag(attribute, false)? {
            return Err(OpError::new(format!("{attribute}=0 wanted, 1 found"))
                .with_help("export the model without ONNX Runtime's optimization of attention"));
        }
    }
    call.attrs.ignore(&["rotary_embedding_dim"]);
    let heads = heads(call)?;
    let (x, weights) = (call.input(0)?, call.input(1)?);
    let mut product = call.graph.matmul(x, weights, "products_of_input")?;
    if let Some(bias) = call.optional(2) {
        product = call.graph.add(product, bias, "biased_products")?;
    }
    let &[batch, _, all] = call.graph.shape(product) else {
        return Err(OpError::new(format!(
            "an input of rank 3 wanted, {} found",
            call.graph.ty(x)
        )));
    };
    let sizes: Vec<usize> = match call.attrs.maybe_ints("qkv_hidden_sizes")?.unwrap_or_default() {
        [] => vec![all / 3; 3],
        given => given
            .iter()
            .map(|&size| usize::try_from(size).unwrap_or(usize::MAX))
            .collect(),
    };
    let whole = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
    if sizes.len() != 3 || whole != Some(all) {
        return Err(OpError::new(format!(
            "three sizes that make up {all} features wanted, {sizes:?} found"
        )));
    }
    let mut first = 0;
    let mut parts = Vec::with_capacity(3);
    for (&size, role) in sizes.iter().zip(["query", "key", "value"]) {
        let own = call.graph.part(product, 2, first..first + size, role)?;
        parts.push(split(call, own, heads, role)?);
        first += size;
    }
    let (q, mut k, mut v) = (parts[0], parts[1], parts[2]);
    if call.optional(6).is_some() {
        return Err(OpError::new("no `past_sequence_length` wanted, one found")
            .with_help("export the model without a shared buffer for past and present"));
    }
    if let Some(past) = call.optional(4) {
        let shape = call.graph.shape(past).to_vec();
        let fits = shape.len() == 5 && shape[..3] == [2, batch, heads];
        if !fits {
            return Err(OpError::new(format!(
                "a past of [2, {batch}, {heads}, positions, size] wanted, {} found",
                call.graph.ty(past)
            )));
        }
        for (which, own) in [&mut k, &mut v].into_iter().enumerate() {
            let earlier = call.graph.part(past, 0, which..which + 1, "past_part")?;
            let earlier = call.graph.reshape(earlier, &shape[1..], "past_heads")?;
            *own = call.graph.concat(&[earlier, *own], 2, "present_heads")?;
        }
    }
    let mut made = vec![attend(call, [q, k, v], 3, 5)?];
    if call.wants(1) {
        let mut lifted = Vec::with_capacity(2);
        for own in [k, v] {
            let shape = [&[1], call.graph.shape(own)].concat();
            lifted.push(call.graph.reshape(own, shape, "lifted")?);
        }
        made.push(call.graph.concat(&lifted, 0, "present")?);
    }
    Ok(made)
}

/// Queries, keys and values apart; keys and values with their heads apart or not.
fn multi_head_attention(call: &mut Call<'_>) -> Made {
    let heads = heads(call)?;
    for (index, what) in [(8, "past_sequence_length"), (9, "cache_indirection")] {
        if call.optional(index).is_some() {
            return Err(OpError::new(format!("no `{what}` wanted, one found"))
                .with_help("export the model without a shared buffer for past and present"));
        }
    }
    let query = call.input(0)?;
    let [q, new_k, new_v] = match (call.optional(1), call.optional(2)) {
        (Some(k), Some(v)) if call.graph.rank(k) == 4 => {
            if call.optional(3).is_some() {
                return Err(OpError::new(
                    "no bias beside keys of which the heads are apart wanted, one found",
                )
                .with_help("export the model without ONNX Runtime's optimization of attention"));
            }
            [split(call, query, heads, "query")?, k, v]
        }
        (Some(k), Some(v)) => {
            let q = split(call, query, heads, "query")?;
            let k = split(call, k, heads, "key")?;
            let v = split(call, v, heads, "value")?;
            with_bias(call, [q, k, v])?
        }
        _ => {
            return Err(OpError::new(
                "queries, keys and values each of their own wanted, some packed into one found",
            )
            .with_help(
                "export the model without packed inputs of attention, as ONNX Runtime's CPU takes it",
            ));
        }
    };
    let (mut k, mut v) = (new_k, new_v);
    match (call.optional(6), call.optional(7)) {
        (Some(past_k), Some(past_v)) => {
            k = call.graph.concat(&[past_k, k], 2, "present_key")?;
            v = call.graph.concat(&[past_v, v], 2, "present_value")?;
        }
        (None, None) => {}
        _ => {
            return Err(OpError::new(
                "past keys and values together wanted, one of them found",
            ));
        }
    }
    Ok(vec![attend(call, [q, k, v], 4, 5)?, k, v])
}

/// Queries, keys and values by head, each with its part of the bias that is input 3, if given.
fn with_bias(call: &mut Call<'_>, mut parts: [Tensor; 3]) -> Result<[Tensor; 3], OpError> {
    let Some(bias) = call.optional(3) else {
        return Ok(parts);
    };
    let mut sizes = Vec::with_capacity(3);
    for &part in &parts {
        match *call.graph.shape(part) {
            [_, heads, _, size] => sizes.push([heads, size]),
            _ => return Err(OpError::new("queries, keys and values of rank 4 wanted")),
        }
    }
    let all: usize = sizes.iter().map(|[heads, size]| heads * size).sum();
    if call.graph.shape(bias) != [all] {
        return Err(OpError::new(format!(
            "a bias of {all} features wanted, {} found",
            call.graph.ty(bias)
        )));
    }
    let mut first = 0;
    for (part, [heads, size]) in parts.iter_mut().zip(sizes) {
        let own = call.graph.part(bias, 0, first..first + heads * size, "bias")?;
        let own = call.graph.reshape(own, [heads, 1, size], "bias_heads")?;
        *part = call.graph.add(*part, own, "biased")?;
        first += heads * size;
    }
    Ok(parts)
}

/// `softmax(Q·Kᵀ·scale + what is added)·V` as `[batch, sequence, heads · size]`. Inputs `mask` and `bias` say what is
/// added; so does causality.
fn attend(call: &mut Call<'_>, [q, k, v]: [Tensor; 3], mask: usize, bias: usize) -> Result<Tensor, OpError> {
    let (&[batch, _, queries, size], &[_, _, keys, _]) = (call.graph.shape(q), call.graph.shape(k)) else {
        return Err(OpError::new("queries and keys of rank 4 wanted"));
    };
    let scale = match call.attrs.float("scale", 0.0)? {
        0.0 => default_scale(size),
        given => given.into(),
    };
    let filter = call.attrs.float("mask_filter_value", -10_000.0)?;
    let causal = call.attrs.flag("unidirectional", false)?;
    let mut scores = call.graph.scores(q, k, scale)?;
    let grid = call.graph.shape(scores).to_vec();
    let mask = match call.optional(mask) {
        Some(mask) => Some(masked(call, mask, [batch, queries, keys])?),
        None => None,
    };
    if let Some(mask) = mask {
        let mask = call.graph.cast(mask, call.graph.ty(q).dtype, "mask_numbers")?;
        let added = call.graph.scale(mask, filter.into(), "mask_added")?;
        scores = call.graph.add(scores, added, "masked")?;
    }
    if causal {
        let allowed = causality(call, q, queries, keys)?;
        scores = call.graph.add(scores, allowed, "causal")?;
    }
    if let Some(bias) = call.optional(bias) {
        scores = call.graph.add(scores, bias, "biased_scores")?;
    }
    if call.graph.shape(scores) != grid {
        return Err(OpError::new(format!(
            "masks and biases that broadcast to {grid:?} wanted, some that make {:?} found",
            call.graph.shape(scores)
        )));
    }
    let weights = call.graph.softmax(scores, 3, "weights")?;
    let mixed = call.graph.mix_values(weights, v)?;
    call.graph.join_heads(mixed)
}

/// True where a key is masked, in a shape that broadcasts to `[batch, heads, queries, keys]`. Masks are integers by key
/// (`[batch, keys]` or `[batch, queries, keys]`, masked where not above 0), or how many keys come first (`[batch]`, or
/// those and how many are left out before them, `[2 · batch]`).
fn masked(call: &mut Call<'_>, mask: Tensor, [batch, queries, keys]: [usize; 3]) -> Result<Tensor, OpError> {
    let shape = call.graph.shape(mask).to_vec();
    let at_most = |call: &mut Call<'_>, a: Tensor, b: Tensor, role: &str| {
        call.graph.compare(CompareKind::LessOrEqual, a, b, role)
    };
    let by_key = match shape[..] {
        [b, k] if [b, k] == [batch, keys] => Some([batch, 1, 1, keys]),
        [b, q, k] if [b, q, k] == [batch, queries, keys] => Some([batch, 1, queries, keys]),
        _ => None,
    };
    if let Some(shape) = by_key {
        let zero = call.graph.scalar_like(mask, 0.0, "unmasked");
        let masked = at_most(call, mask, zero, "masked_keys")?;
        return call.graph.reshape(masked, shape, "mask_rows");
    }
    if shape != [batch] && shape != [2 * batch] {
        return Err(OpError::new(format!(
            "a mask of [{batch}], [{}], [{batch}, {keys}] or [{batch}, {queries}, {keys}] wanted, {} found",
            2 * batch,
            call.graph.ty(mask)
        )));
    }
    call.graph.take_bytes(keys.saturating_mul(8))?;
    let places = Data::I64((0..keys as i64).collect()).cast(call.graph.ty(mask).dtype);
    let places = call
        .graph
        .constant(Values::new([1, 1, 1, keys], places), "places");
    let ends = call.graph.part(mask, 0, 0..batch, "ends")?;
    let ends = call.graph.reshape(ends, [batch, 1, 1, 1], "end_rows")?;
    let behind = at_most(call, ends, places, "behind")?;
    if shape == [batch] {
        return Ok(behind);
    }
    let starts = call.graph.part(mask, 0, batch..2 * batch, "starts")?;
    let starts = call.graph.reshape(starts, [batch, 1, 1, 1], "start_rows")?;
    let after = at_most(call, starts, places, "after")?;
    // Masked before the start or behind the end: not both after the start and before the end.
    let [after, behind] = [(after, "after_number"), (behind, "behind_number")]
        .map(|(truth, role)| call.graph.cast(truth, DType::I32, role));
    let inside = call.graph.sub(after?, behind?, "inside")?;
    let zero = call.graph.scalar_like(inside, 0.0, "outside");
    at_most(call, inside, zero, "masked_keys")
}

/// 0 for keys that a query may see and the least number for those that come after it: `[queries, keys]`. The queries
/// are the last of the keys' positions.
fn causality(call: &mut Call<'_>, like: Tensor, queries: usize, keys: usize) -> Result<Tensor, OpError> {
    let dtype = call.graph.ty(like).dtype;
    let least = match dtype {
        DType::F16 => f64::from(half::f16::MIN),
        _ => f32::MIN.into(),
    };
    call.graph
        .take_bytes(queries.saturating_mul(keys).saturating_mul(dtype.bytes()))?;
    let earlier = keys.saturating_sub(queries);
    let sees = |at: usize| at % keys <= earlier + at / keys;
    let numbers = (0..queries * keys).map(|at| if sees(at) { 0.0 } else { least });
    let numbers = Data::F64(numbers.collect()).cast(dtype);
    Ok(call
        .graph
        .constant(Values::new([queries, keys], numbers), "causality"))
}
