//! The two products of attention, head by head, for all operators that attend.

use super::builder::{Builder, Tensor};
use crate::op::OpError;
use crate::op::tensor::DType;

/// A tensor, or why there is none.
type Made = Result<Tensor, OpError>;

/// The factor of `Q·Kᵀ` where none is given: `1/√size`, for features of this size per head.
pub(super) fn default_scale(size: usize) -> f64 {
    1.0 / (size as f64).sqrt()
}

impl Builder {
    /// `[batch, heads, sequence, size]` from `[batch, sequence, heads · size]`; the caller has seen that the number of
    /// heads divides the features.
    pub(super) fn split_heads(&mut self, x: Tensor, heads: usize, role: &str) -> Made {
        let &[batch, sequence, features] = self.shape(x) else {
            return Err(OpError::new(format!("rank 3 wanted, {} found", self.ty(x))));
        };
        let split = [batch, sequence, heads, features / heads];
        let x = self.reshape(x, split, &format!("{role}_split"))?;
        self.transpose(x, &[0, 2, 1, 3], &format!("{role}_heads"))
    }

    /// `[batch, sequence, heads · size]` from `[batch, heads, sequence, size]`.
    pub(super) fn join_heads(&mut self, x: Tensor) -> Made {
        let x = self.transpose(x, &[0, 2, 1, 3], "positions")?;
        let shape = self.shape(x);
        let joined = [shape[0], shape[1], shape[2] * shape[3]];
        self.reshape(x, joined, "joined")
    }

    /// `Q·Kᵀ·scale` as `[batch, heads, queries, keys]`, from `q [batch, heads, queries, size]` and `k [batch, kv_heads,
    /// keys, size]`: heads that share keys lie side by side. Half of the scale goes to either side where products of 16
    /// bits could overflow.
    pub(super) fn scores(&mut self, q: Tensor, k: Tensor, scale: f64) -> Made {
        let (&[batch, q_heads, queries, size], &[_, kv_heads, keys, k_size]) = (self.shape(q), self.shape(k))
        else {
            return Err(OpError::new(format!(
                "queries and keys of rank 4 wanted, {} and {} found",
                self.ty(q),
                self.ty(k)
            )));
        };
        if kv_heads == 0 || !q_heads.is_multiple_of(kv_heads) {
            return Err(OpError::new(format!(
                "query heads as a multiple of the {kv_heads} key heads wanted, {q_heads} found"
            )));
        }
        let (q, k) = match self.ty(q).dtype {
            DType::F16 | DType::BF16 => {
                let root = scale.sqrt();
                (
                    self.scale(q, root, "scaled_query")?,
                    self.scale(k, root, "scaled_key")?,
                )
            }
            _ => (self.scale(q, scale, "scaled_query")?, k),
        };
        let grouped = [batch, kv_heads, q_heads / kv_heads, queries, size];
        let grouped = self.reshape(q, grouped, "query_groups")?;
        let turned = self.transpose_matrix(k, "turned_key")?;
        let shared = self.reshape(turned, [batch, kv_heads, 1, k_size, keys], "shared_key")?;
        let products = self.matmul(grouped, shared, "products")?;
        self.reshape(products, [batch, q_heads, queries, keys], "scores")
    }

    /// `weights·V` as `[batch, heads, queries, size]`, from `weights [batch, heads, queries, keys]` and `v [batch,
    /// kv_heads, keys, size]`.
    pub(super) fn mix_values(&mut self, weights: Tensor, v: Tensor) -> Made {
        let (&[batch, q_heads, queries, keys], &[_, kv_heads, _, size]) =
            (self.shape(weights), self.shape(v))
        else {
            return Err(OpError::new(format!(
                "values of rank 4 wanted, {} found",
                self.ty(v)
            )));
        };
        if kv_heads == 0 || !q_heads.is_multiple_of(kv_heads) {
            return Err(OpError::new(format!(
                "query heads as a multiple of the {kv_heads} value heads wanted, {q_heads} found"
            )));
        }
        let grouped = [batch, kv_heads, q_heads / kv_heads, queries, keys];
        let grouped = self.reshape(weights, grouped, "groups")?;
        let shared = self.reshape(v, [batch, kv_heads, 1, keys, size], "shared_value")?;
        let mixed = self.matmul(grouped, shared, "mixed")?;
        self.reshape(mixed, [batch, q_heads, queries, size], "mixed_heads")
    }
}
