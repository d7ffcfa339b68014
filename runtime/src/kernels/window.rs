//! The sliding window that convolutions and pools share.

use super::{product, work_of};
use crate::format::Window;

/// No window starts or reaches this far, so that positions fit `i32`.
const REACH: u32 = 1 << 30;

/// The taps of one axis that lie inside the input, for one output index.
#[derive(Clone, Copy)]
pub(super) struct Taps {
    /// First tap inside.
    pub(super) first: usize,
    /// The tap behind the last one inside.
    pub(super) end: usize,
    /// Position of tap 0, perhaps outside.
    start: i32,
    dilation: u16,
}

impl Taps {
    fn new(out: usize, [stride, pad, dilation, kernel, extent]: [u16; 5]) -> Self {
        let start = (out as i32).wrapping_mul(stride.into()).wrapping_sub(pad.into());
        // The number of taps that lie before a position which is `distance` away from the first.
        let before = |distance: i32| {
            let distance = u32::try_from(distance).unwrap_or(0);
            let taps = if dilation == 1 {
                distance
            } else {
                let round = u32::from(dilation).wrapping_sub(1);
                distance
                    .wrapping_add(round)
                    .checked_div(dilation.into())
                    .unwrap_or(0)
            };
            (taps as usize).min(kernel.into())
        };
        let first = before(start.wrapping_neg());
        let end = before(i32::from(extent).wrapping_sub(start)).max(first);
        Self {
            first,
            end,
            start,
            dilation,
        }
    }

    /// Number of taps inside.
    pub(super) fn count(&self) -> usize {
        self.end.wrapping_sub(self.first)
    }

    /// Position of a tap inside the input.
    #[inline(always)]
    pub(super) fn position(&self, tap: usize) -> usize {
        let position = self
            .start
            .wrapping_add((tap as i32).wrapping_mul(self.dilation.into()));
        position as usize
    }
}

/// Neighbouring taps of one kernel row.
pub(super) struct Run {
    /// Index of the first tap, counted row by row.
    pub(super) tap: usize,
    /// How many.
    pub(super) taps: usize,
    /// Index of the input pixel under the first tap; `None` where all of them are padding.
    pub(super) pixel: Option<usize>,
}

impl Window {
    /// Bytes of the input.
    pub(super) fn ifm_bytes(&self, channels: u16) -> Option<u32> {
        product(&[self.in_h.into(), self.in_w.into(), channels.into()])
    }

    /// Bytes of the output.
    pub(super) fn ofm_bytes(&self, channels: u16) -> Option<u32> {
        product(&[self.out_h.into(), self.out_w.into(), channels.into()])
    }

    /// Taps of the kernel.
    pub(super) fn kernel_taps(&self) -> u32 {
        // Two 16-bit factors.
        u32::from(self.kernel_h).wrapping_mul(self.kernel_w.into())
    }

    /// Taps over all output positions of `channels`.
    pub(super) fn work(&self, channels: u16) -> Option<u64> {
        work_of(&[
            self.out_h.into(),
            self.out_w.into(),
            channels.into(),
            self.kernel_taps(),
        ])
    }

    /// Whether nothing is zero that must not be, and every position fits.
    pub(super) fn is_valid(&self) -> bool {
        let fits = |out: u16, stride: u16, kernel: u16, dilation: u16| {
            let start = u32::from(out).checked_mul(stride.into());
            let reach = u32::from(kernel).checked_mul(dilation.into());
            let end = start
                .zip(reach)
                .and_then(|(start, reach)| start.checked_add(reach));
            start != Some(0) && reach != Some(0) && end.is_some_and(|end| end < REACH)
        };
        fits(self.out_h, self.stride_h, self.kernel_h, self.dilation_h)
            && fits(self.out_w, self.stride_w, self.kernel_w, self.dilation_w)
    }

    /// Taps of the output row `y`.
    pub(super) fn rows(&self, y: usize) -> Taps {
        Taps::new(
            y,
            [
                self.stride_h,
                self.pad_top,
                self.dilation_h,
                self.kernel_h,
                self.in_h,
            ],
        )
    }

    /// Taps of the output column `x`.
    pub(super) fn columns(&self, x: usize) -> Taps {
        Taps::new(
            x,
            [
                self.stride_w,
                self.pad_left,
                self.dilation_w,
                self.kernel_w,
                self.in_w,
            ],
        )
    }

    /// Index of the input pixel under tap (`ky`, `kx`).
    #[inline(always)]
    pub(super) fn pixel(&self, rows: &Taps, columns: &Taps, ky: usize, kx: usize) -> usize {
        let row = rows.position(ky).wrapping_mul(self.in_w.into());
        row.wrapping_add(columns.position(kx))
    }

    /// Every run of taps under one output position, padding included. Stops where `visit` gives `None`.
    #[inline(always)]
    pub(super) fn runs(
        &self,
        rows: &Taps,
        columns: &Taps,
        mut visit: impl FnMut(Run) -> Option<()>,
    ) -> Option<()> {
        let kernel_w = usize::from(self.kernel_w);
        for ky in 0..usize::from(self.kernel_h) {
            let inside = rows.first <= ky && ky < rows.end;
            let (first, end) = if inside {
                (columns.first, columns.end)
            } else {
                (kernel_w, kernel_w)
            };
            for (from, to, inside) in [(0, first, false), (first, end, true), (end, kernel_w, false)] {
                if from < to {
                    let pixel = inside.then(|| self.pixel(rows, columns, ky, from));
                    let tap = ky.wrapping_mul(kernel_w).wrapping_add(from);
                    visit(Run {
                        tap,
                        taps: to.wrapping_sub(from),
                        pixel,
                    })?;
                }
            }
        }
        Some(())
    }
}
