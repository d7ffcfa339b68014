//! Linear attention: a state per head that every token changes in turn, unrolled.

use super::super::builder::Tensor;
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{OpError, UnaryKind};

pub(super) const IMPORTERS: &[Importer] = &[onnx("LinearAttention", linear_attention)];

/// The most tokens that are unrolled.
const MAX_TOKENS: usize = 1024;

/// `S ← exp(g)·S + β·k ⊗ (v − (exp(g)·S)ᵀk)` and `o = scale · Sᵀq` for every token, without decay `g` or correction
/// where the rule has none. Computed in f32 where the inputs have 16 bits.
fn linear_attention(call: &mut Call<'_>) -> Made {
    call.attrs.ignore(&["chunk_size"]);
    let rule = call.attrs.word("update_rule", "gated_delta")?;
    let (gated, corrected) = match rule {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => {
            return Err(OpError::new(format!(
                "`update_rule` linear, gated, delta or gated_delta wanted, {other} found"
            )));
        }
    };
    for (index, wanted, what) in [(4, gated, "decay"), (5, corrected, "beta")] {
        if call.optional(index).is_some() != wanted {
            let number = if wanted { "one" } else { "no" };
            return Err(OpError::new(format!(
                "{number} `{what}` for the rule {rule} wanted"
            )));
        }
    }
    let count = |name: &str| -> Result<usize, OpError> {
        let found = call.attrs.required_int(name)?;
        usize::try_from(found)
            .ok()
            .filter(|&heads| heads > 0)
            .ok_or_else(|| OpError::new(format!("`{name}` of at least 1 wanted, {found} found")))
    };
    let (q_heads, kv_heads) = (count("q_num_heads")?, count("kv_num_heads")?);
    let [query, key, value] = [call.input(0)?, call.input(1)?, call.input(2)?];
    let own = call.graph.ty(query).dtype;
    let state_type = call.optional(3).map_or(own, |past| call.graph.ty(past).dtype);
    let &[batch, tokens, features] = call.graph.shape(query) else {
        return Err(OpError::new(format!(
            "rank 3 wanted, {} found",
            call.graph.ty(query)
        )));
    };
    let v_features = call.graph.shape(value).last().copied().unwrap_or(0);
    if !q_heads.is_multiple_of(kv_heads)
        || !features.is_multiple_of(q_heads)
        || !v_features.is_multiple_of(kv_heads)
    {
        return Err(OpError::new(format!(
            "heads that divide one another and the features wanted, {q_heads} and {kv_heads} found"
        )));
    }
    if tokens > MAX_TOKENS {
        return Err(OpError::new(format!(
            "at most {MAX_TOKENS} tokens wanted, {tokens} found"
        )));
    }
    let (repeats, k_size, v_size) = (q_heads / kv_heads, features / q_heads, v_features / kv_heads);
    let scale = match call.attrs.float("scale", 0.0)? {
        0.0 => 1.0 / (k_size as f64).sqrt(),
        scale => f64::from(scale),
    };
    let wide = match own {
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    let unpacked = |call: &mut Call<'_>, x: Tensor, heads: usize, role: &str| {
        let x = call.graph.cast(x, wide, &format!("{role}_wide"))?;
        call.graph.split_heads(x, heads, role)
    };
    let q = unpacked(call, query, q_heads, "query")?;
    let q = call.graph.scale(q, scale, "scaled_query")?;
    // Queries that share a state are the rows of one matrix: `[batch, kv_heads, repeats, tokens, size]`.
    let q = call
        .graph
        .reshape(q, [batch, kv_heads, repeats, tokens, k_size], "query_groups")?;
    let k = unpacked(call, key, kv_heads, "key")?;
    let v = unpacked(call, value, kv_heads, "value")?;
    let decay = match call.optional(4) {
        Some(decay) => {
            let decay = unpacked(call, decay, kv_heads, "decay")?;
            Some(call.graph.unary(UnaryKind::Exp, decay, "kept")?)
        }
        None => None,
    };
    let beta = match call.optional(5) {
        Some(beta) => {
            let heads = call.graph.shape(beta).last().copied().unwrap_or(1);
            Some(unpacked(call, beta, heads, "beta")?)
        }
        None => None,
    };
    let mut state = match call.optional(3) {
        Some(past) => call.graph.cast(past, wide, "past_state_wide")?,
        None => {
            let zeros = Data::F64(vec![0.0; batch * kv_heads * k_size * v_size]).cast(wide);
            let zeros = Values::new([batch, kv_heads, k_size, v_size], zeros);
            call.graph.constant(zeros, "zero_state")
        }
    };
    let mut outputs = Vec::new();
    for token in 0..tokens {
        // Row vectors of this token, and the key as a column too.
        let at = |call: &mut Call<'_>, x: Tensor, role: &str| call.graph.part(x, 2, token..token + 1, role);
        let k_row = at(call, k, "key_row")?;
        let k_column = call
            .graph
            .reshape(k_row, [batch, kv_heads, k_size, 1], "key_column")?;
        let mut change = at(call, v, "value_row")?;
        if let Some(decay) = decay {
            let kept = at(call, decay, "kept_row")?;
            let entries = call.graph.shape(kept)[3];
            let kept = call
                .graph
                .reshape(kept, [batch, kv_heads, entries, 1], "kept_column")?;
            state = call.graph.mul(state, kept, "kept_state")?;
        }
        if let Some(beta) = beta {
            let recalled = call.graph.matmul(k_row, state, "recalled")?;
            let error = call.graph.sub(change, recalled, "error")?;
            let rate = at(call, beta, "rate")?;
            change = call.graph.mul(error, rate, "correction")?;
        }
        let update = call.graph.mul(k_column, change, "update")?;
        state = call.graph.add(state, update, "state")?;
        let q_rows = call.graph.part(q, 3, token..token + 1, "query_row")?;
        let q_rows = call
            .graph
            .reshape(q_rows, [batch, kv_heads, repeats, k_size], "query_rows")?;
        let y = call.graph.matmul(q_rows, state, "read")?;
        outputs.push(call.graph.reshape(y, [batch, q_heads, 1, v_size], "token")?);
    }
    let y = call.graph.concat(&outputs, 2, "tokens")?;
    let y = call.graph.join_heads(y)?;
    let y = call.graph.cast(y, own, "output")?;
    let state = call.graph.cast(state, state_type, "present_state")?;
    Ok(vec![y, state])
}
