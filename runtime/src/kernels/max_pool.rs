//! The largest of each window, clamped. Padding does not take part; a window of padding alone gives the least value.
//!
//! Layouts: input and output `[h][w][c]`. Never in place.

use super::{Extent, Extents, Kernel, source};
use crate::arena::Memory;
use crate::arith::clamp;
use crate::format::MaxPool;
use crate::kernels::kernel_of;
use crate::kernels::only;

/// Channels computed at once.
const BLOCK: usize = 32;

/// The kernel of [`MaxPool`].
pub const fn kernel() -> Kernel {
    kernel_of!(MaxPool, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = MaxPool::read(fields)?;
    let extents = layer.extents()?;
    let (ifm, ofm) = memory.source_and_output(&extents)?;
    let channels = usize::from(layer.channels).max(1);
    let mut pixels = ofm.chunks_exact_mut(channels);
    for y in 0..usize::from(layer.window.out_h) {
        let rows = layer.window.rows(y);
        for x in 0..usize::from(layer.window.out_w) {
            let columns = layer.window.columns(x);
            for (block, ofm) in pixels.next()?.chunks_mut(BLOCK).enumerate() {
                let mut largest = [i8::MIN; BLOCK];
                for ky in rows.first..rows.end {
                    for kx in columns.first..columns.end {
                        let pixel = layer.window.pixel(&rows, &columns, ky, kx);
                        let start = pixel
                            .wrapping_mul(channels)
                            .wrapping_add(block.wrapping_mul(BLOCK));
                        let values = ifm.get(start..)?.get(..ofm.len())?;
                        for (largest, &value) in largest.iter_mut().zip(values) {
                            *largest = (*largest).max(value as i8);
                        }
                    }
                }
                for (slot, largest) in ofm.iter_mut().zip(largest) {
                    *slot = clamp(largest.into(), layer.min, layer.max) as u8;
                }
            }
        }
    }
    Some(extents.output)
}

impl MaxPool {
    pub(crate) fn extents(&self) -> Option<Extents> {
        Some(Extents {
            sources: only(Extent {
                offset: self.ifm,
                bytes: self.window.ifm_bytes(self.channels)?,
            }),
            output: Extent {
                offset: self.ofm,
                bytes: self.window.ofm_bytes(self.channels)?,
            },
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        self.window.work(self.channels)
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        self.window.is_valid() && self.min <= self.max
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.ofm = ofm;
    }
}
