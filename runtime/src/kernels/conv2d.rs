//! Convolution.

use super::{Extent, Extents, source, weights_block, work_of};
use crate::format::Conv2d;

impl Conv2d {
    /// Input channels of one filter; `None` where the groups do not divide the channels.
    fn filter_c(&self) -> Option<u32> {
        let rest = (
            self.in_c.checked_rem(self.groups)?,
            self.out_c.checked_rem(self.groups)?,
        );
        (rest == (0, 0)).then_some(())?;
        self.in_c.checked_div(self.groups).map(u32::from)
    }

    pub(crate) fn extents(&self) -> Option<Extents> {
        let filter = self.window.kernel_taps().checked_mul(self.filter_c()?)?;
        let weights = filter.checked_mul(self.out_c.into())?;
        Some(Extents {
            sources: [
                Some(Extent {
                    offset: self.ifm,
                    bytes: self.window.ifm_bytes(self.in_c)?,
                }),
                None,
            ],
            output: Extent {
                offset: self.ofm,
                bytes: self.window.ofm_bytes(self.out_c)?,
            },
            constants: Some(weights_block(self.constants, self.out_c.into(), weights)?),
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        let w = &self.window;
        work_of(&[
            w.out_h.into(),
            w.out_w.into(),
            self.out_c.into(),
            w.kernel_taps(),
            self.filter_c()?,
        ])
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
        self.constants = constants;
    }
}
