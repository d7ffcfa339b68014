//! The matrix product behind convolution and dense layers.
//!
//! Every output is `Σ a[m, k]·b[k, n]`, summed strictly in the order of `k`, starting from zero, without fused
//! multiply-add, in f32 where the elements are reals of 16 bits. It is vectorised over `n` alone, so neither the width
//! of the vectors, nor the blocking, nor the number of threads can change a bit of it. A bias is added last: a layer with a bias gives the bits of a product
//! followed by an addition.
//!
//! The shape is the usual one: `b` is packed into panels of [`WIDTH`] columns, stored by `k`; a tile of a few rows
//! by one panel keeps its sums in registers while `k` runs. Tiles are plain arrays, which the compiler turns into
//! vectors.

use std::ops::Range;

use super::Clamp;
use super::element::Element;
use super::vectors::{Task, Vectors};

/// Columns of a panel: one vector of 512 bits, two of 256, four of 128.
const WIDTH: usize = 16;

/// Panels of a tile of one row: as many independent sums as hide the latency of an addition.
const ROW_PANELS: usize = 4;

/// Elements of `a` in a block of rows: small enough to stay in the first-level cache beside a panel.
pub(super) const BLOCK_ELEMENTS: usize = 4096;

/// The right-hand matrix, packed: `[panel][depth][WIDTH]`, zeros behind the last column.
#[derive(Clone, Debug)]
pub struct Packed<T> {
    depth: usize,
    columns: usize,
    panels: Vec<[T; WIDTH]>,
}

impl<T: Element> Packed<T> {
    /// Packs `[columns, depth]`, as the weights of layers are stored.
    pub fn from_columns(weights: &[T], columns: usize, depth: usize) -> Self {
        Self::new(depth, columns, |k, n| weights[n * depth + k])
    }

    /// Packs `[depth, columns]`.
    pub fn from_rows(b: &[T], depth: usize, columns: usize) -> Self {
        Self::new(depth, columns, |k, n| b[k * columns + n])
    }

    fn new(depth: usize, columns: usize, element: impl Fn(usize, usize) -> T) -> Self {
        let mut panels = vec![[T::default(); WIDTH]; depth * columns.div_ceil(WIDTH)];
        for n in 0..columns {
            let panel = &mut panels[n / WIDTH * depth..][..depth];
            for (k, row) in panel.iter_mut().enumerate() {
                row[n % WIDTH] = element(k, n);
            }
        }
        Self {
            depth,
            columns,
            panels,
        }
    }

    /// Rows of the packed matrix.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Columns of the packed matrix.
    pub fn columns(&self) -> usize {
        self.columns
    }

    fn panel(&self, index: usize) -> &[[T; WIDTH]] {
        &self.panels[index * self.depth..][..self.depth]
    }
}

/// `out[m, n] = Σ a[m, k]·b[k, n]` for `rows` rows of `a`, which lie one after the other. Rows of `out` are
/// `stride` elements apart.
///
/// # Panics
/// Where a slice is too short for the shapes.
pub fn product<T: Element>(a: &[T], rows: usize, b: &Packed<T>, out: &mut [T], stride: usize) {
    if b.depth == 0 {
        for row in out.chunks_mut(stride).take(rows) {
            row[..b.columns].fill(T::default());
        }
        return;
    }
    Vectors::current().run(Product {
        a,
        rows,
        b,
        out,
        stride,
    });
}

/// A product to be computed.
struct Product<'a, T> {
    a: &'a [T],
    rows: usize,
    b: &'a Packed<T>,
    out: &'a mut [T],
    stride: usize,
}

impl<T: Element> Task for Product<'_, T> {
    #[inline(always)]
    fn run(self, vectors: Vectors) {
        let depth = self.b.depth;
        if self.rows == 1 {
            return single_row(&self.a[..depth], self.b, &mut self.out[..self.b.columns]);
        }
        // As many sums as the registers hold beside the operands.
        match vectors {
            Vectors::Baseline => self.in_tiles::<3, 1>(),
            Vectors::Avx2 => self.in_tiles::<6, 1>(),
            Vectors::Avx512 => self.in_tiles::<8, 2>(),
        }
    }
}

impl<T: Element> Product<'_, T> {
    #[inline(always)]
    fn in_tiles<const ROWS: usize, const PANELS: usize>(self) {
        let Self {
            a,
            rows,
            b,
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
                    tiles::<T, ROWS, PANELS>(
                        a,
                        std::array::from_fn(|i| b.panel(panel + i)),
                        out,
                        stride,
                        columns,
                    );
                    continue;
                }
                for first in columns.step_by(WIDTH) {
                    let columns = first..b.columns.min(first + WIDTH);
                    tiles::<T, ROWS, 1>(a, [b.panel(first / WIDTH)], out, stride, columns);
                }
            }
        }
    }
}

/// The rows of `a` by some panels, which hold `columns` of the output.
#[inline(always)]
fn tiles<T: Element, const ROWS: usize, const PANELS: usize>(
    a: &[T],
    panels: [&[[T; WIDTH]]; PANELS],
    out: &mut [T],
    stride: usize,
    columns: Range<usize>,
) {
    let depth = panels[0].len();
    let mut tiles = a.chunks_exact(ROWS * depth);
    let mut row = 0;
    for tile in &mut tiles {
        for sums in sums::<T, ROWS, PANELS>(tile, panels) {
            out[row * stride..][columns.clone()].copy_from_slice(&sums.as_flattened()[..columns.len()]);
            row += 1;
        }
    }
    for a in tiles.remainder().chunks_exact(depth) {
        let [sums] = sums::<T, 1, PANELS>(a, panels);
        out[row * stride..][columns.clone()].copy_from_slice(&sums.as_flattened()[..columns.len()]);
        row += 1;
    }
}

/// The product of one row: several panels at a time.
#[inline(always)]
fn single_row<T: Element>(a: &[T], b: &Packed<T>, out: &mut [T]) {
    for (group, out) in out.chunks_mut(ROW_PANELS * WIDTH).enumerate() {
        let first = group * ROW_PANELS;
        if out.len() > (ROW_PANELS - 1) * WIDTH {
            let panels = std::array::from_fn(|i| b.panel(first + i));
            let [sums] = sums::<T, 1, ROW_PANELS>(a, panels);
            out.copy_from_slice(&sums.as_flattened()[..out.len()]);
        } else {
            for (i, out) in out.chunks_mut(WIDTH).enumerate() {
                let [[sums]] = sums::<T, 1, 1>(a, [b.panel(first + i)]);
                out.copy_from_slice(&sums[..out.len()]);
            }
        }
    }
}

/// The sums of `ROWS` rows by `PANELS` panels.
#[inline(always)]
fn sums<T: Element, const ROWS: usize, const PANELS: usize>(
    a: &[T],
    panels: [&[[T; WIDTH]]; PANELS],
) -> [[[T; WIDTH]; PANELS]; ROWS] {
    let depth = panels[0].len();
    // Slices of one known length let the compiler drop the bounds checks inside the loop.
    let rows: [&[T]; ROWS] = std::array::from_fn(|row| &a[row * depth..][..depth]);
    let panels = panels.map(|panel| &panel[..depth]);
    let mut sums = [[[T::Sum::default(); WIDTH]; PANELS]; ROWS];
    for k in 0..depth {
        for row in 0..ROWS {
            let a = rows[row][k];
            for panel in 0..PANELS {
                for column in 0..WIDTH {
                    let b = panels[panel][k][column];
                    sums[row][panel][column] = T::accumulate(sums[row][panel][column], a, b);
                }
            }
        }
    }
    sums.map(|row| row.map(|panel| panel.map(T::from_sum)))
}

/// Adds the bias to every row of `out`, and clamps.
pub fn finish<T: Element>(out: &mut [T], columns: usize, bias: Option<&[T]>, clamp: Clamp) {
    if columns == 0 || bias.is_none() && clamp.is_none() {
        return;
    }
    for row in out.chunks_exact_mut(columns) {
        if let Some(bias) = bias {
            for (y, &b) in row.iter_mut().zip(bias) {
                *y = y.add(b);
            }
        }
        if !clamp.is_none() {
            for y in row {
                *y = y.clamped(clamp);
            }
        }
    }
}
