//! The window over three spatial axes that convolutions of more than two axes and transposed ones share.

use super::work_of;
use crate::format::Window3;

/// What one tap of a window lies on.
#[derive(Clone, Copy)]
pub(super) struct Tap {
    /// Index of the tap, counted row-major.
    pub(super) tap: usize,
    /// Index of the input's pixel, row-major; `None` outside the input and between its elements.
    pub(super) pixel: Option<usize>,
}

impl Window3 {
    /// Extents with a further one before and one behind, as a product's factors.
    pub(super) fn around(outer: u32, [a, b, c]: [u16; 3], inner: u32) -> [u32; 5] {
        [outer, a.into(), b.into(), c.into(), inner]
    }

    /// Taps of the kernel; `None` beyond 32 bits.
    pub(super) fn taps(&self) -> Option<u32> {
        super::product(&self.kernel.map(u32::from))
    }

    /// Taps over all output positions of `images` images, times `each`.
    pub(super) fn work(&self, images: u32, each: u32) -> Option<u64> {
        let positions = work_of(&Self::around(images, self.ofm, each))?;
        positions.checked_mul(u64::from(self.taps()?))
    }

    /// Whether nothing is zero that must not be.
    pub(super) fn is_valid(&self) -> bool {
        let sides = [&self.kernel, &self.strides, &self.dilations, &self.spread];
        sides.iter().all(|side| side.iter().all(|&number| number > 0))
    }

    /// The element of the input under a tap along one axis.
    fn position(&self, axis: usize, out: u16, tap: u16) -> Option<usize> {
        let number = |side: &[u16; 3]| side.get(axis).copied().unwrap_or(1);
        // Products of 16 bits and pads of 32 stay far inside i64.
        let start = i64::from(out).wrapping_mul(number(&self.strides).into());
        let reach = i64::from(tap).wrapping_mul(number(&self.dilations).into());
        let pad = i64::from(self.pads.get(axis).copied().unwrap_or(0));
        let at = start.wrapping_add(reach).wrapping_sub(pad);
        // Beyond 32 bits, a quotient by 16 bits is beyond every extent.
        let at = u32::try_from(at).ok()?;
        let spread = u32::from(number(&self.spread));
        let (whole, rest) = (at.checked_div(spread)?, at.checked_rem(spread)?);
        (rest == 0 && whole < u32::from(number(&self.ifm))).then_some(whole as usize)
    }

    /// Every tap of the window at one output position, in their order. Stops where `visit` gives `None`.
    pub(super) fn visit(&self, at: [u16; 3], mut visit: impl FnMut(Tap) -> Option<()>) -> Option<()> {
        let [kernel_d, kernel_h, kernel_w] = self.kernel;
        let [_, in_h, in_w] = self.ifm.map(usize::from);
        let [out_d, out_h, out_w] = at;
        let mut tap = 0usize;
        for kd in 0..kernel_d {
            let plane = self.position(0, out_d, kd);
            for kh in 0..kernel_h {
                let row = plane.zip(self.position(1, out_h, kh));
                let row = row.map(|(plane, row)| plane.wrapping_mul(in_h).wrapping_add(row));
                for kw in 0..kernel_w {
                    let pixel = row.zip(self.position(2, out_w, kw));
                    let pixel = pixel.map(|(row, column)| row.wrapping_mul(in_w).wrapping_add(column));
                    visit(Tap { tap, pixel })?;
                    tap = tap.wrapping_add(1);
                }
            }
        }
        Some(())
    }

    /// Every output position of every image, in their order: index of the image and the position. Stops where `visit`
    /// gives `None`.
    pub(super) fn positions(
        &self,
        images: u32,
        mut visit: impl FnMut(usize, [u16; 3]) -> Option<()>,
    ) -> Option<()> {
        let [out_d, out_h, out_w] = self.ofm;
        for image in 0..images {
            for d in 0..out_d {
                for h in 0..out_h {
                    for w in 0..out_w {
                        visit(image as usize, [d, h, w])?;
                    }
                }
            }
        }
        Some(())
    }
}
