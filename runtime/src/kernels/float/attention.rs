//! Attention of reals in one step: `ofm[i] = Σ_j softmax_j(q[i]·k[j]·scale + mask[i][j])·v[j]`, for every head, without room
//! for the scores.
//!
//! The softmax is the one of Milakov and Gimelshein, "Online normalizer calculation for softmax"
//! (<https://arxiv.org/abs/1805.02867>): the greatest score so far is subtracted, and what was summed is rescaled when a
//! greater one comes. Everything is computed in f32, keys in their order.
//!
//! Layouts: `[batch][heads][rows][features]`, or `[batch][rows][heads][features]` where the heads lie inside. Never in
//! place; sources may overlap.

use super::exp::exp;
use super::{Word, dot, region, words, words_mut};
use crate::arena::Memory;
use crate::format::AttentionF32;
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, product, source, sources, work_of};

/// The kernel of [`AttentionF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(AttentionF32, run)
}

/// Where rows of one operand lie.
#[derive(Clone, Copy)]
struct Rows {
    heads: usize,
    rows: usize,
    features: usize,
    is_inside: bool,
}

impl Rows {
    /// The elements of a row.
    fn range(self, sample: usize, head: usize, row: usize) -> core::ops::Range<usize> {
        let index = if self.is_inside {
            (sample.wrapping_mul(self.rows).wrapping_add(row))
                .wrapping_mul(self.heads)
                .wrapping_add(head)
        } else {
            (sample.wrapping_mul(self.heads).wrapping_add(head))
                .wrapping_mul(self.rows)
                .wrapping_add(row)
        };
        let first = index.wrapping_mul(self.features);
        first..first.wrapping_add(self.features)
    }
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = AttentionF32::read(fields)?;
    let extents = layer.extents()?;
    let ([q, k, v, mask], ofm) = memory.sources_and_output(&extents)?;
    let [q, k, v, mask] = [q, k, v, mask].map(words);
    let ofm = words_mut(ofm);
    let [q_rows, k_rows, v_rows, ofm_rows] = layer.rows();
    let strides = layer.mask_strides();
    let sharing = layer.heads.checked_div(layer.kv_heads)? as usize;
    for sample in 0..layer.batch as usize {
        for head in 0..layer.heads as usize {
            let kv_head = head.checked_div(sharing)?;
            for query in 0..layer.queries as usize {
                let q = q.get(q_rows.range(sample, head, query))?;
                let mut row = Row::new(ofm.get_mut(ofm_rows.range(sample, head, query))?);
                for key in 0..layer.keys as usize {
                    let k = k.get(k_rows.range(sample, kv_head, key))?;
                    let at = [sample, head, query, key].into_iter().zip(strides);
                    let at = at.fold(0, |at: usize, (i, stride)| {
                        at.wrapping_add(i.wrapping_mul(stride))
                    });
                    let score = dot(0.0, q, k) * layer.scale + f32::from_le_bytes(*mask.get(at)?);
                    row.attend(score, v.get(v_rows.range(sample, kv_head, key))?);
                }
                row.finish(layer.kind);
            }
        }
    }
    Some(extents.output)
}

/// A row of the output under way.
struct Row<'a> {
    /// `Σ exp(s − greatest)·v`.
    sums: &'a mut [Word],
    /// `Σ exp(s − greatest)`.
    weight: f32,
    /// The greatest score so far.
    greatest: f32,
}

impl<'a> Row<'a> {
    fn new(sums: &'a mut [Word]) -> Self {
        sums.fill(0.0f32.to_le_bytes());
        Self {
            sums,
            weight: 0.0,
            greatest: f32::NEG_INFINITY,
        }
    }

    fn attend(&mut self, score: f32, v: &[Word]) {
        if score == f32::NEG_INFINITY {
            return;
        }
        if score > self.greatest {
            let factor = exp(self.greatest - score);
            self.weight *= factor;
            self.map(|sum| sum * factor);
            self.greatest = score;
        }
        let weight = exp(score - self.greatest);
        self.weight += weight;
        for (sum, &v) in self.sums.iter_mut().zip(v) {
            let next = f32::from_le_bytes(*sum) + weight * f32::from_le_bytes(v);
            *sum = next.to_le_bytes();
        }
    }

    fn finish(mut self, kind: u8) {
        // Nothing attended: all is 0, or 0/0.
        if kind == 0 || self.weight != 0.0 {
            let weight = self.weight;
            self.map(|sum| sum / weight);
        }
    }

    fn map(&mut self, f: impl Fn(f32) -> f32) {
        for sum in self.sums.iter_mut() {
            *sum = f(f32::from_le_bytes(*sum)).to_le_bytes();
        }
    }
}

impl AttentionF32 {
    /// The layouts of queries, keys, values and output.
    fn rows(&self) -> [Rows; 4] {
        let rows = |bit: u8, heads: u32, rows: u32, features: u32| Rows {
            heads: heads as usize,
            rows: rows as usize,
            features: features as usize,
            is_inside: self.inside >> bit & 1 != 0,
        };
        [
            rows(0, self.heads, self.queries, self.depth),
            rows(1, self.kv_heads, self.keys, self.depth),
            rows(2, self.kv_heads, self.keys, self.width),
            rows(3, self.heads, self.queries, self.width),
        ]
    }

    /// Extents of the mask, 1 where it has no axis.
    fn mask_shape(&self) -> [u32; 4] {
        let mut shape = [self.batch, self.heads, self.queries, self.keys];
        for (axis, extent) in shape.iter_mut().enumerate() {
            if self.mask_axes >> axis & 1 == 0 {
                *extent = 1;
            }
        }
        shape
    }

    /// Elements of the mask from one index to the next, 0 where it has no axis.
    fn mask_strides(&self) -> [usize; 4] {
        let [_, heads, queries, keys] = self.mask_shape().map(|extent| extent as usize);
        let rows = queries.wrapping_mul(keys);
        let mut strides = [heads.wrapping_mul(rows), rows, keys, 1];
        for (axis, stride) in strides.iter_mut().enumerate() {
            if self.mask_axes >> axis & 1 == 0 {
                *stride = 0;
            }
        }
        strides
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let all =
            |offset, heads, rows, features| region(offset, product(&[self.batch, heads, rows, features])?);
        Some(Extents {
            sources: sources([
                all(self.q, self.heads, self.queries, self.depth)?,
                all(self.k, self.kv_heads, self.keys, self.depth)?,
                all(self.v, self.kv_heads, self.keys, self.width)?,
                region(self.mask, product(&self.mask_shape())?)?,
            ]),
            output: all(self.ofm, self.heads, self.queries, self.width)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        let scores = work_of(&[self.batch, self.heads, self.queries, self.keys])?;
        scores.checked_mul(u64::from(self.depth).checked_add(self.width.into())?)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        let sizes = [self.batch, self.queries, self.keys, self.depth, self.width];
        // Empty operands would leave loops without work.
        let is_whole = !sizes.contains(&0) && self.heads != 0 && self.kv_heads != 0;
        is_whole
            && self.heads.is_multiple_of(self.kv_heads)
            && self.inside < 16
            && self.mask_axes < 16
            && self.kind <= 1
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.q = source(sources, 0);
        self.k = source(sources, 1);
        self.v = source(sources, 2);
        self.mask = source(sources, 3);
        self.ofm = ofm;
    }
}
