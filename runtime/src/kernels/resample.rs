//! Weighted sums of int8 along two neighbouring axes at once:
//! `ofm[o][y][x][i] = requantize(Σ_s Σ_t wy[y][s]·wx[x][t]·(ifm[o][sy[y][s]][sx[x][t]][i] − ifm_zero_point))`, or the sum
//! divided by a whole number, ties to even.
//!
//! Layouts: input `[outer][extents…][inner]`, output `[outer][outputs…][inner]`. Never in place.

use super::{Extent, Extents, Kernel, only, product, source, work_of};
use crate::arena::Memory;
use crate::arith::{FixedScale, clamp, divide_half_even, requantize};
use crate::format::Resample;
use crate::kernels::kernel_of;

/// Elements summed at once, on the stack.
const BLOCK: usize = 32;

/// A tap: its source and its weight.
type Tap = [u8; 4];

/// The kernel of [`Resample`].
pub const fn kernel() -> Kernel {
    kernel_of!(Resample, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = Resample::read(fields)?;
    let extents = layer.extents()?;
    let [rows, columns] = layer.taps_of(memory.constants(extents.constants)?)?;
    let [row_taps, column_taps] = layer.taps.map(|taps| (taps as usize).max(1));
    let inner = (layer.inner as usize).max(1);
    let [height, width] = layer.extents;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let mut pixels = ofm.chunks_exact_mut(inner);
    for plane in ifm.chunks_exact((product(&[height, width])? as usize).checked_mul(inner)?.max(1)) {
        for rows in rows.chunks_exact(row_taps) {
            for columns in columns.chunks_exact(column_taps) {
                let mut first = 0usize;
                for block in pixels.next()?.chunks_mut(BLOCK) {
                    layer.block(plane, rows, columns, first, block)?;
                    first = first.wrapping_add(BLOCK);
                }
            }
        }
    }
    Some(extents.output)
}

/// Source and weight of a tap.
fn parts([a, b, c, d]: Tap) -> (usize, i32) {
    (
        usize::from(u16::from_le_bytes([a, b])),
        i16::from_le_bytes([c, d]).into(),
    )
}

impl Resample {
    /// Some elements of an output pixel, from the one of number `first` on.
    fn block(
        &self,
        plane: &[u8],
        rows: &[Tap],
        columns: &[Tap],
        first: usize,
        block: &mut [u8],
    ) -> Option<()> {
        let [_, width] = self.extents;
        let mut sums = [0i32; BLOCK];
        for &row in rows {
            let (y, row_weight) = parts(row);
            for &column in columns {
                let (x, column_weight) = parts(column);
                let weight = row_weight.wrapping_mul(column_weight);
                if weight == 0 {
                    continue;
                }
                let pixel = y.wrapping_mul(width as usize).wrapping_add(x);
                let at = pixel.wrapping_mul(self.inner as usize).wrapping_add(first);
                for (sum, &x) in sums.iter_mut().zip(plane.get(at..)?.get(..block.len())?) {
                    let steps = i32::from(x as i8).wrapping_sub(self.ifm_zero_point.into());
                    *sum = sum.wrapping_add(weight.wrapping_mul(steps));
                }
            }
        }
        let scale = self.scale();
        for (slot, sum) in block.iter_mut().zip(sums) {
            let code = if self.divisor > 0 {
                let mean = divide_half_even(sum, self.divisor).wrapping_add(self.ofm_zero_point.into());
                clamp(mean.into(), self.min, self.max)
            } else {
                let acc = sum.wrapping_shl(self.left_shift.into());
                requantize(acc, scale, self.ofm_zero_point, self.min, self.max)
            };
            *slot = code as u8;
        }
        Some(())
    }

    fn scale(&self) -> FixedScale {
        FixedScale::from_stored(self.multiplier, self.shift)
    }

    /// The taps of both axes in a constants block.
    fn taps_of<'a>(&self, block: &'a [u8]) -> Option<[&'a [Tap]; 2]> {
        let ([rows, _], [row_taps, _]) = (self.outputs, self.taps);
        let (taps, _) = block.as_chunks();
        let (rows, columns) = taps.split_at_checked(product(&[rows, row_taps])? as usize)?;
        Some([rows, columns])
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let plane = |[height, width]: [u32; 2]| product(&[self.outer, height, width, self.inner]);
        let ([rows, columns], [row_taps, column_taps]) = (self.outputs, self.taps);
        let taps = product(&[rows, row_taps])?.checked_add(product(&[columns, column_taps])?)?;
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: plane(self.extents)?,
            }),
            output: Extent {
                offset: self.ofm,
                bytes: plane(self.outputs)?,
            },
            constants: Some(Extent {
                offset: self.constants,
                bytes: taps.checked_mul(size_of::<Tap>() as u32)?,
            }),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.outer, self.inner])?
            .checked_mul(work_of(&self.outputs)?)?
            .checked_mul(work_of(&self.taps)?)
    }

    pub(crate) fn is_valid(&self, constants: &[u8]) -> bool {
        let are_inside =
            |(taps, extent): (&[Tap], u32)| taps.iter().all(|&tap| parts(tap).0 < extent as usize);
        self.scale().is_valid()
            && self.divisor < 1 << 30
            && self.left_shift < 24
            && self.min <= self.max
            // Empty rows would leave loops without work.
            && self.inner != 0
            && self
                .taps_of(constants)
                .is_some_and(|taps| taps.into_iter().zip(self.extents).all(are_inside))
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
