//! The sliding window that convolutions and pools share.

use super::{product, work_of};
use crate::format::Window;

/// No window starts or reaches this far, so that positions fit `i32`.
const REACH: u32 = 1 << 30;

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
}
