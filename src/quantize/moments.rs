//! Second moments of a layer's inputs, and the weights that they make best.
//!
//! With inputs `x` on the float side and `z` on the quantized one, both less their means, the squared error of integer weights
//! `q` against weights `w` is `Σ (w·x − q·z)²`. Least squares give the real weights that are best for `z`; around those the error
//! is `|R·(v − q)|²` with `RᵀR = Σ z·zᵀ`, and rounding from the last weight to the first, each to the nearest after what the
//! later ones left, is Babai's nearest plane: the rounding of GPTQ (Frantar et al., <https://arxiv.org/abs/2210.17323>; Chen et
//! al., <https://arxiv.org/abs/2507.18553>).

use rayon::prelude::*;

use super::patches::Patches;
use super::scheme::Constants;
use super::weight_form::WeightForm;
use super::weight_grid::WeightGrid;
use super::weights::{self, Weights};
use crate::op::gemm;

/// How much of the mean square of the inputs is added to each square: what keeps few samples from deciding too much.
const DAMPING: f64 = 0.01;

/// The moments of every group.
pub(super) struct Moments(Vec<Group>);

/// Symmetric and cross moments of one group of channels, row-major `[depth][depth]`.
struct Group {
    depth: usize,
    /// `Σ z·zᵀ`
    own: Vec<f64>,
    /// `Σ z·xᵀ`
    cross: Vec<f64>,
}

impl Moments {
    /// Of the patches of both sides, which correspond.
    pub(super) fn of(float: &Patches, quantized: &Patches) -> Self {
        let groups = float.groups.par_iter().zip(&quantized.groups);
        Self(groups.map(|(x, z)| Group::of(x, z, float.depth)).collect())
    }

    /// The weights of a layer rounded so that their errors cancel; `moves` them first to where they do best on the
    /// quantized side. `None` where the moments do not decide them.
    pub(super) fn round(
        &self,
        constants: &Constants<'_>,
        input_scale: f32,
        form: WeightForm,
        moves: bool,
    ) -> Option<Weights> {
        let depth = self.0.first()?.depth;
        let rows = constants.channels() / self.0.len();
        let factors: Vec<Factor> = self.0.par_iter().map(Group::factor).collect::<Option<_>>()?;
        let mut reals: Vec<f64> = constants.weights.iter().copied().map(f64::from).collect();
        if moves {
            let groups = self.0.iter().zip(&factors);
            for ((group, factor), reals) in groups.zip(reals.chunks_exact_mut((rows * depth).max(1))) {
                let chunks = reals.par_chunks_mut((CHUNK * depth).max(1));
                chunks.for_each(|rows| group.moved(factor, rows));
            }
        }
        let nearest: Vec<f32> = reals.iter().map(|&real| real as f32).collect();
        let bias = constants.bias.unwrap_or(&[]);
        let mut made = weights::quantize(&nearest, constants.channels(), bias, input_scale, form);
        let chunk_rows = CHUNK.min(rows.max(1));
        let Weights { grid, codes, .. } = &mut made;
        for (group, factor) in factors.iter().enumerate() {
            let first = group * rows;
            let part = first * depth..(first + rows) * depth;
            let chunks = codes[part.clone()].par_chunks_mut(chunk_rows * depth);
            let reals = reals[part].par_chunks(chunk_rows * depth);
            chunks.zip(reals).enumerate().for_each(|(chunk, (codes, reals))| {
                factor.round(reals, grid, first + chunk * chunk_rows, codes);
            });
        }
        // Other codes may sum up to more.
        let bias: Vec<f64> = match constants.bias {
            Some(bias) => bias.iter().copied().map(f64::from).collect(),
            None => vec![0.0; constants.channels()],
        };
        made.with_bias(&bias, input_scale)
    }
}

/// Output channels that are worked on together.
const CHUNK: usize = 32;

impl Group {
    fn of(x: &[f32], z: &[f32], depth: usize) -> Self {
        let count = z.len() / depth.max(1);
        let (x, z) = (centered(x, depth), centered(z, depth));
        let mut turned = vec![0.0; z.len()];
        for (row, z) in z.chunks_exact(depth.max(1)).enumerate() {
            for (i, &z) in z.iter().enumerate() {
                turned[i * count + row] = z;
            }
        }
        let product = |right: &[f32]| -> Vec<f64> {
            let right = gemm::Packed::from_rows(right, count, depth);
            let mut out = vec![0.0f32; depth * depth];
            let rows = turned.par_chunks((CHUNK * count).max(1));
            out.par_chunks_mut((CHUNK * depth).max(1))
                .zip(rows)
                .for_each(|(out, rows)| {
                    gemm::product(
                        rows,
                        rows.len() / count.max(1),
                        &right,
                        gemm::Finish::NONE,
                        out,
                        depth,
                    );
                });
            out.into_iter().map(f64::from).collect()
        };
        Self {
            depth,
            own: product(&z),
            cross: product(&x),
        }
    }

    /// What is added to each square.
    fn damping(&self) -> f64 {
        let squares = (0..self.depth).map(|i| self.own[i * self.depth + i]);
        DAMPING * squares.sum::<f64>() / self.depth.max(1) as f64
    }

    /// The triangular factor; `None` where nothing varies.
    fn factor(&self) -> Option<Factor> {
        let (depth, damping) = (self.depth, self.damping());
        if !(damping > 0.0 && damping.is_finite()) {
            return None;
        }
        // The inputs that vary most are rounded first, from the last on: what they leave, all others can mend.
        let mut order: Vec<usize> = (0..depth).collect();
        order.sort_by(|&a, &b| {
            self.own[a * depth + a]
                .total_cmp(&self.own[b * depth + b])
                .then(b.cmp(&a))
        });
        let mut r = vec![0.0; depth * depth];
        for (row, &i) in order.iter().enumerate() {
            for (column, &j) in order.iter().enumerate() {
                r[row * depth + column] = self.own[i * depth + j];
            }
            r[row * depth + row] += damping;
        }
        for i in 0..depth {
            let (done, rest) = r.split_at_mut((i + 1) * depth);
            let pivot_row = &mut done[i * depth..];
            let pivot = pivot_row[i];
            let is_positive = pivot > 0.0;
            if !is_positive {
                return None;
            }
            let root = pivot.sqrt();
            for x in &mut pivot_row[i..] {
                *x /= root;
            }
            let pivot_row = &pivot_row[i..];
            let eliminate = |(below, row): (usize, &mut [f64])| {
                let factor = pivot_row[below + 1];
                for (x, &pivot) in row[i + 1 + below..].iter_mut().zip(&pivot_row[below + 1..]) {
                    *x -= factor * pivot;
                }
            };
            if depth - i > PARALLEL_ROWS {
                rest.par_chunks_mut(depth)
                    .enumerate()
                    .with_min_len(PARALLEL_ROWS / 4)
                    .for_each(eliminate);
            } else {
                rest.chunks_mut(depth).enumerate().for_each(eliminate);
            }
        }
        Some(Factor { depth, order, r })
    }

    /// Moves rows of weights to where they do best on the quantized side.
    fn moved(&self, factor: &Factor, rows: &mut [f64]) {
        let (depth, damping) = (self.depth, self.damping());
        let count = rows.len() / depth.max(1);
        let mut b = vec![0.0; rows.len()];
        for (at, &i) in factor.order.iter().enumerate() {
            for (row, weights) in rows.chunks_exact(depth).enumerate() {
                let cross = &self.cross[i * depth..][..depth];
                let sum: f64 = cross
                    .iter()
                    .zip(weights)
                    .map(|(cross, weight)| cross * weight)
                    .sum();
                b[at * count + row] = sum + damping * weights[i];
            }
        }
        factor.solve(&mut b, count);
        for (at, &i) in factor.order.iter().enumerate() {
            for (row, weights) in rows.chunks_exact_mut(depth).enumerate() {
                weights[i] = b[at * count + row];
            }
        }
    }
}

/// Rows of a matrix below which threads are not worth it.
const PARALLEL_ROWS: usize = 256;

/// Upper triangular `r`, row-major, with `rᵀ·r` the damped moments of the inputs in this order.
struct Factor {
    depth: usize,
    order: Vec<usize>,
    r: Vec<f64>,
}

impl Factor {
    /// Solves `rᵀ·r·v = b` for `count` columns; `b` is `[depth][count]`, in the factor's order.
    fn solve(&self, b: &mut [f64], count: usize) {
        let depth = self.depth;
        for i in 0..depth {
            let (done, rest) = b.split_at_mut(i * count);
            let row = &mut rest[..count];
            for (j, done) in done.chunks_exact(count).enumerate() {
                subtract(row, self.r[j * depth + i], done);
            }
            row.iter_mut().for_each(|x| *x /= self.r[i * depth + i]);
        }
        for i in (0..depth).rev() {
            let (rest, done) = b.split_at_mut((i + 1) * count);
            let row = &mut rest[i * count..];
            for (j, done) in done.chunks_exact(count).enumerate() {
                subtract(row, self.r[i * depth + i + 1 + j], done);
            }
            row.iter_mut().for_each(|x| *x /= self.r[i * depth + i]);
        }
    }

    /// Rounds rows of weights, those of the channels from `first` on, to codes.
    fn round(&self, rows: &[f64], grid: &WeightGrid, first: usize, codes: &mut [i8]) {
        let (depth, count) = (self.depth, rows.len() / self.depth.max(1));
        // What each weight is off by, `[depth][count]` in the factor's order.
        let mut left = vec![0.0; rows.len()];
        for at in (0..depth).rev() {
            let i = self.order[at];
            let (rest, done) = left.split_at_mut((at + 1) * count);
            let own = &mut rest[at * count..];
            for (j, done) in done.chunks_exact(count).enumerate() {
                let factor = self.r[at * depth + at + 1 + j];
                own.iter_mut()
                    .zip(done)
                    .for_each(|(own, done)| *own += factor * done);
            }
            let pivot = self.r[at * depth + at];
            for (row, own) in own.iter_mut().enumerate() {
                let real = rows[row * depth + i];
                let code = grid.code(first + row, i, (real + *own / pivot) as f32);
                codes[row * depth + i] = code;
                *own = real - f64::from(code) * f64::from(grid.step(first + row, i));
            }
        }
    }
}

/// `row − factor · other`, element by element.
fn subtract(row: &mut [f64], factor: f64, other: &[f64]) {
    row.iter_mut()
        .zip(other)
        .for_each(|(x, other)| *x -= factor * other);
}

/// Rows less their mean.
fn centered(rows: &[f32], depth: usize) -> Vec<f32> {
    let mut means = vec![0.0f64; depth];
    for row in rows.chunks_exact(depth.max(1)) {
        means
            .iter_mut()
            .zip(row)
            .for_each(|(mean, &x)| *mean += f64::from(x));
    }
    let count = (rows.len() / depth.max(1)).max(1) as f64;
    let means: Vec<f32> = means.iter().map(|mean| (mean / count) as f32).collect();
    let rows = rows.chunks_exact(depth.max(1));
    rows.flat_map(|row| row.iter().zip(&means).map(|(x, mean)| x - mean))
        .collect()
}
