//! The matrix product behind convolution and dense layers.
//!
//! Every output is `Σ a[m, k]·b[k, n]`, summed strictly in the order of `k`, starting from zero, without fused
//! multiply-add, in f32 where the elements are reals of 16 bits. It is vectorised over `n` alone, so neither the width
//! of the vectors, nor the blocking, nor the number of threads can change a bit of it. A bias is added last: a layer
//! with a bias gives the bits of a product followed by an addition.
//!
//! The shape is the usual one: `b` is packed into panels of [`WIDTH`] columns, stored by `k`; a tile of a few rows
//! by a panel or two keeps its [`Sums`] in registers while `k` runs.

use std::ops::Range;

use super::Clamp;
use super::element::Element;
use super::sums::{LANES as WIDTH, Sums, Tile};
use super::vectors::{Set, Task};

/// Panels of a tile of one row: as many independent sums as hide the latency of an addition.
const ROW_PANELS: usize = 4;

/// Elements of `a` in a block of rows: small enough to stay in the first-level cache beside a panel.
pub(super) const BLOCK_ELEMENTS: usize = 4096;

/// The right-hand matrix, packed: `[panel][depth][WIDTH]`, zeros behind the last column.
#[derive(Clone, Debug)]
pub(crate) struct Packed<T> {
    depth: usize,
    columns: usize,
    panels: Vec<[T; WIDTH]>,
}

impl<T: Element> Packed<T> {
    /// Packs `[columns, depth]`, as the weights of layers are stored.
    pub(crate) fn from_columns(weights: &[T], columns: usize, depth: usize) -> Self {
        let mut packed = Self::empty(depth, columns);
        for n in 0..columns {
            let panel = &mut packed.panels[n / WIDTH * depth..][..depth];
            for (row, &weight) in panel.iter_mut().zip(&weights[n * depth..]) {
                row[n % WIDTH] = weight;
            }
        }
        packed
    }

    /// Packs `[depth, columns]`.
    pub(crate) fn from_rows(b: &[T], depth: usize, columns: usize) -> Self {
        let mut packed = Self::empty(depth, columns);
        for k in 0..depth {
            for (panel, part) in b[k * columns..][..columns].chunks(WIDTH).enumerate() {
                packed.panels[panel * depth + k][..part.len()].copy_from_slice(part);
            }
        }
        packed
    }

    fn empty(depth: usize, columns: usize) -> Self {
        Self {
            depth,
            columns,
            panels: vec![[T::default(); WIDTH]; depth * columns.div_ceil(WIDTH)],
        }
    }

    /// Rows of the packed matrix.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Columns of the packed matrix.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    fn panel(&self, index: usize) -> &[[T; WIDTH]] {
        &self.panels[index * self.depth..][..self.depth]
    }
}

/// What is done to sums once they are whole.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a, T> {
    /// Added to each row, column by column.
    pub(crate) bias: Option<&'a [T]>,
    /// What the results are limited to.
    pub(crate) clamp: Clamp,
}

impl<'a, T: Element> Finish<'a, T> {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        bias: None,
        clamp: Clamp::NONE,
    };

    /// The part for `columns`.
    pub(super) fn part(self, columns: Range<usize>) -> Self {
        Self {
            bias: self.bias.map(|bias| &bias[columns]),
            ..self
        }
    }

    /// Finishes sums of neighbouring columns, the first of which is `column`, into their place.
    #[inline(always)]
    pub(super) fn write<L: Sums<T>>(self, sums: L, column: usize, out: &mut [T]) {
        let mut last = [T::default(); WIDTH];
        let bias = self.bias.map(|bias| match bias[column..].first_chunk() {
            Some(bias) => bias,
            None => {
                let bias = &bias[column..];
                last[..bias.len()].copy_from_slice(bias);
                &last
            }
        });
        if let Some(out) = out.as_mut_array() {
            return sums.finish(bias, self.clamp, out);
        }
        let mut elements = [T::default(); WIDTH];
        sums.finish(bias, self.clamp, &mut elements);
        out.copy_from_slice(&elements[..out.len()]);
    }
}

/// `out[m, n] = finish(Σ a[m, k]·b[k, n])` for `rows` rows of `a`, which lie one after the other. Rows of `out` are
/// `stride` elements apart.
///
/// # Panics
/// Where a slice is too short for the shapes.
pub(crate) fn product<T: Element>(
    a: &[T],
    rows: usize,
    b: &Packed<T>,
    finish: Finish<'_, T>,
    out: &mut [T],
    stride: usize,
) {
    if b.columns == 0 {
        return;
    }
    T::run(Product {
        a,
        rows,
        b,
        finish,
        out,
        stride,
    });
}

/// A product to be computed.
struct Product<'a, T> {
    a: &'a [T],
    rows: usize,
    b: &'a Packed<T>,
    finish: Finish<'a, T>,
    out: &'a mut [T],
    stride: usize,
}

impl<T: Element> Task for Product<'_, T> {
    #[inline(always)]
    fn run<S: Set>(self) {
        if self.b.depth == 0 {
            for row in self.out.chunks_mut(self.stride).take(self.rows) {
                single_row::<T, T::Sums<S>>(&[], self.b, self.finish, &mut row[..self.b.columns]);
            }
            return;
        }
        if self.rows == 1 {
            let out = &mut self.out[..self.b.columns];
            return single_row::<T, T::Sums<S>>(&self.a[..self.b.depth], self.b, self.finish, out);
        }
        match <T::Sums<S> as Sums<T>>::TILE {
            Tile::Small => self.in_tiles::<T::Sums<S>, 3, 1>(),
            Tile::Middle => self.in_tiles::<T::Sums<S>, 6, 1>(),
            Tile::Large => self.in_tiles::<T::Sums<S>, 8, 2>(),
        }
    }
}

impl<T: Element> Product<'_, T> {
    #[inline(always)]
    fn in_tiles<L: Sums<T>, const ROWS: usize, const PANELS: usize>(self) {
        let Self {
            a,
            rows,
            b,
            finish,
            out,
            stride,
        } = self;
        let depth = b.depth;
        let block_rows = (BLOCK_ELEMENTS / depth).next_multiple_of(ROWS).max(ROWS);
        for (block, a) in a[..rows * depth].chunks(block_rows * depth).enumerate() {
            let out = &mut out[block * block_rows * stride..];
            for panel in (0..b.columns.div_ceil(WIDTH)).step_by(PANELS) {
                let columns = panel * WIDTH..b.columns.min((panel + PANELS) * WIDTH);
                if columns.len() > (PANELS - 1) * WIDTH {
                    let panels = std::array::from_fn(|i| b.panel(panel + i));
                    tiles::<T, L, ROWS, PANELS>(a, panels, finish, out, stride, columns);
                    continue;
                }
                for first in columns.step_by(WIDTH) {
                    let columns = first..b.columns.min(first + WIDTH);
                    tiles::<T, L, ROWS, 1>(a, [b.panel(first / WIDTH)], finish, out, stride, columns);
                }
            }
        }
    }
}

/// The rows of `a` by some panels, which hold `columns` of the output.
#[inline(always)]
fn tiles<T: Element, L: Sums<T>, const ROWS: usize, const PANELS: usize>(
    a: &[T],
    panels: [&[[T; WIDTH]]; PANELS],
    finish: Finish<'_, T>,
    out: &mut [T],
    stride: usize,
    columns: Range<usize>,
) {
    let depth = panels[0].len();
    let mut tiles = a.chunks_exact(ROWS * depth);
    let mut row = 0;
    for tile in &mut tiles {
        for sums in sums::<T, L, ROWS, PANELS>(tile, panels) {
            write(
                sums,
                finish,
                columns.start,
                &mut out[row * stride..][columns.clone()],
            );
            row += 1;
        }
    }
    for a in tiles.remainder().chunks_exact(depth) {
        let [sums] = sums::<T, L, 1, PANELS>(a, panels);
        write(
            sums,
            finish,
            columns.start,
            &mut out[row * stride..][columns.clone()],
        );
        row += 1;
    }
}

/// Finishes the sums of panels, the first of which begins with `column`, as far as they have a place in `out`.
#[inline(always)]
fn write<T: Element, L: Sums<T>, const PANELS: usize>(
    sums: [L; PANELS],
    finish: Finish<'_, T>,
    column: usize,
    out: &mut [T],
) {
    for (panel, (sums, out)) in sums.into_iter().zip(out.chunks_mut(WIDTH)).enumerate() {
        finish.write(sums, column + panel * WIDTH, out);
    }
}

/// The product of one row: several panels at a time.
#[inline(always)]
fn single_row<T: Element, L: Sums<T>>(a: &[T], b: &Packed<T>, finish: Finish<'_, T>, out: &mut [T]) {
    for (group, out) in out.chunks_mut(ROW_PANELS * WIDTH).enumerate() {
        let first = group * ROW_PANELS;
        if out.len() > (ROW_PANELS - 1) * WIDTH {
            let panels = std::array::from_fn(|i| b.panel(first + i));
            let [sums] = sums::<T, L, 1, ROW_PANELS>(a, panels);
            write(sums, finish, first * WIDTH, out);
        } else {
            for (panel, out) in (first..).zip(out.chunks_mut(WIDTH)) {
                let [sums] = sums::<T, L, 1, 1>(a, [b.panel(panel)]);
                write(sums, finish, panel * WIDTH, out);
            }
        }
    }
}

/// The sums of `ROWS` rows by `PANELS` panels.
#[inline(always)]
fn sums<T: Element, L: Sums<T>, const ROWS: usize, const PANELS: usize>(
    a: &[T],
    panels: [&[[T; WIDTH]]; PANELS],
) -> [[L; PANELS]; ROWS] {
    let depth = panels[0].len();
    // Slices of one known length let the compiler drop the bounds checks inside the loop.
    let rows: [&[T]; ROWS] = std::array::from_fn(|row| &a[row * depth..][..depth]);
    let panels = panels.map(|panel| &panel[..depth]);
    let mut sums = [[L::zero(); PANELS]; ROWS];
    for k in 0..depth {
        for row in 0..ROWS {
            for panel in 0..PANELS {
                sums[row][panel] = sums[row][panel].add_scaled(rows[row][k], &panels[panel][k]);
            }
        }
    }
    sums
}
