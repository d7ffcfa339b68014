//! Product with constant int4 weights, in blocks that count a whole number of times each:
//! `ofm[y][x][o] = requantize(bias[o] + Σ_b factor[o][b] · Σ_{i in block b} ifm[…][i]·weights[o][i])`; `bias` already holds
//! `−zero_point · Σ factor·weight`.
//!
//! All of it is integers: a block's scale is its factor times the one scale of its output, which the rescale holds. Weights
//! lie two in a byte and are never unpacked to memory. Never in place.

use super::filters::{Filters, Output, is_known_packing};
use super::{Extent, Extents, Kernel, only, product, source, weights_block, work_of};
use crate::arena::Memory;
use crate::format::DenseInt4;
use crate::kernels::kernel_of;
use crate::lanes::DOT_CHANNELS;

/// The kernel of [`DenseInt4`].
pub const fn kernel() -> Kernel {
    kernel_of!(DenseInt4, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = DenseInt4::read(fields)?;
    let extents = layer.extents()?;
    let (in_features, out_features) = (layer.in_features as usize, layer.out_features as usize);
    let filters = Filters::new(memory.constants(extents.constants)?, out_features)?;
    let factors = filters.weights.get(layer.weight_bytes()? as usize..)?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let output = layer.output();
    let mut pixels = ofm.chunks_exact_mut(out_features.max(1));
    for y in 0..layer.rows as usize {
        for x in 0..layer.columns as usize {
            let start = y
                .wrapping_mul(layer.row_step as usize)
                .wrapping_add(x.wrapping_mul(layer.column_step as usize));
            let x = ifm.get(start..)?.get(..in_features)?;
            for (block, ofm) in pixels.next()?.chunks_mut(DOT_CHANNELS).enumerate() {
                let o = block.wrapping_mul(DOT_CHANNELS);
                let mut acc = filters.biases(o);
                let rows = filters.rows(layer.row_bytes() as usize, o, out_features.wrapping_sub(1))?;
                if layer.block == 0 {
                    dot(&mut acc, x, rows);
                } else {
                    layer.blocks(&mut acc, x, rows, factors, o);
                }
                filters.rescale(&output, o, &acc, ofm)?;
            }
        }
    }
    Some(extents.output)
}

/// `acc[o] += Σ_k x[k]·weights[o][k]`, two weights in a byte.
#[inline(always)]
fn dot(acc: &mut [i32; DOT_CHANNELS], x: &[u8], [a, b, c, d]: [&[u8]; DOT_CHANNELS]) {
    let [mut s0, mut s1, mut s2, mut s3] = *acc;
    let (pairs, rest) = x.as_chunks::<2>();
    for ((((&pair, &a), &b), &c), &d) in pairs.iter().zip(a).zip(b).zip(c).zip(d) {
        s0 = s0.wrapping_add(products(pair, a));
        s1 = s1.wrapping_add(products(pair, b));
        s2 = s2.wrapping_add(products(pair, c));
        s3 = s3.wrapping_add(products(pair, d));
    }
    if let &[x] = rest {
        let last = |row: &[u8]| products([x, 0], row.get(pairs.len()).copied().unwrap_or(0));
        s0 = s0.wrapping_add(last(a));
        s1 = s1.wrapping_add(last(b));
        s2 = s2.wrapping_add(last(c));
        s3 = s3.wrapping_add(last(d));
    }
    *acc = [s0, s1, s2, s3];
}

/// The products of two int8 values with the two weights of a byte.
#[inline(always)]
fn products([even, odd]: [u8; 2], weights: u8) -> i32 {
    let low = i32::from((weights << 4) as i8) >> 4;
    let high = i32::from(weights as i8) >> 4;
    let even = i32::from(even as i8).wrapping_mul(low);
    even.wrapping_add(i32::from(odd as i8).wrapping_mul(high))
}

impl DenseInt4 {
    /// Adds the products of every block, each as often as its factor says, for the outputs from `o` on.
    #[inline(always)]
    fn blocks(
        &self,
        acc: &mut [i32; DOT_CHANNELS],
        x: &[u8],
        rows: [&[u8]; DOT_CHANNELS],
        factors: &[u8],
        o: usize,
    ) {
        let (block, count) = (self.block.max(2) as usize, self.blocks_of_row() as usize);
        let mut rows = rows;
        for (b, x) in x.chunks(block).enumerate() {
            let mut sums = [0; DOT_CHANNELS];
            dot(&mut sums, x, rows);
            rows = rows.map(|row| row.get(block / 2..).unwrap_or_default());
            for (i, (acc, sum)) in acc.iter_mut().zip(sums).enumerate() {
                let at = o.wrapping_add(i).wrapping_mul(count).wrapping_add(b);
                // Behind the last output there are sums that nobody reads.
                let factor = i32::from(factors.get(at).copied().unwrap_or(0));
                *acc = acc.wrapping_add(sum.wrapping_mul(factor));
            }
        }
    }

    /// Bytes of one output's weights.
    pub const fn row_bytes(&self) -> u32 {
        self.in_features.div_ceil(2)
    }

    fn weight_bytes(&self) -> Option<u32> {
        product(&[self.row_bytes(), self.out_features])
    }

    /// Blocks of one output's weights; 0 without.
    pub const fn blocks_of_row(&self) -> u32 {
        match self.block {
            0 => 0,
            block => self.in_features.div_ceil(block),
        }
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let factors = product(&[self.blocks_of_row(), self.out_features])?;
        let weights = self.weight_bytes()?.checked_add(factors)?;
        let last_row = product(&[self.rows.checked_sub(1)?, self.row_step])?;
        let last_column = product(&[self.columns.checked_sub(1)?, self.column_step])?;
        let last = last_row.checked_add(last_column)?;
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: last.checked_add(self.in_features)?,
            }),
            output: Extent {
                offset: self.ofm,
                bytes: product(&[self.rows, self.columns, self.out_features])?,
            },
            constants: Some(weights_block(self.constants, self.out_features, weights)?),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.rows, self.columns, self.in_features, self.out_features])
    }

    fn output(&self) -> Output {
        Output {
            left_shift: self.left_shift,
            zero_point: self.ofm_zero_point,
            min: self.min,
            max: self.max,
        }
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let filters = Filters::new(constants, self.out_features as usize);
        self.in_features > 0
            && self.out_features > 0
            && self.block.is_multiple_of(2)
            && self.output().is_valid()
            && is_known_packing(self.packing)
            && filters.is_some_and(|filters| filters.are_valid())
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
