//! Normalization of rows of reals: `ofm[r][i] = (ifm[r][i] − mean) / √(variance + epsilon) · scale[i] + bias[i]`, mean and
//! variance being the row's. Sums run in f64 in the order of `i`, all else in f32.
//!
//! Layouts: input and output `[rows][width]`, scale and bias `[width]`. May run in place.

use super::{Word, region, words, words_mut};
use crate::arena::Memory;
use crate::format::LayerNormF32;
use crate::kernels::FIRST_IN_PLACE;
use crate::kernels::kernel_of;
use crate::kernels::{Extent, Extents, Kernel, product, source, sources, work_of};

/// The kernel of [`LayerNormF32`].
pub const fn kernel() -> Kernel {
    kernel_of!(LayerNormF32, run)
}

fn run(fields: &[u8], memory: &mut Memory<'_>) -> Option<Extent> {
    let layer = LayerNormF32::read(fields)?;
    let extents = layer.extents()?;
    let width = (layer.width as usize).max(1);
    for row in words_mut(memory.output_from_source(&extents)?).chunks_exact_mut(width) {
        normalize(row, layer.epsilon);
    }
    let [_, scale, bias, _] = extents.sources;
    for i in 0..width {
        let scale = f32::from_le_bytes(*words(memory.source(scale?)?).get(i)?);
        let bias = f32::from_le_bytes(*words(memory.source(bias?)?).get(i)?);
        for row in words_mut(memory.output(extents.output)?).chunks_exact_mut(width) {
            let slot = row.get_mut(i)?;
            *slot = (f32::from_le_bytes(*slot) * scale + bias).to_le_bytes();
        }
    }
    Some(extents.output)
}

/// Makes a row's mean 0 and its variance 1, but for the epsilon.
fn normalize(row: &mut [Word], epsilon: f32) {
    let count = row.len() as f64;
    let sum = row
        .iter()
        .fold(0.0f64, |sum, &x| sum + f64::from(f32::from_le_bytes(x)));
    let mean = (sum / count) as f32;
    let mut squares = 0.0f64;
    for slot in row.iter_mut() {
        let centered = f32::from_le_bytes(*slot) - mean;
        squares += f64::from(centered * centered);
        *slot = centered.to_le_bytes();
    }
    let factor = 1.0 / libm::sqrtf((squares / count) as f32 + epsilon);
    for slot in row {
        *slot = (f32::from_le_bytes(*slot) * factor).to_le_bytes();
    }
}

impl LayerNormF32 {
    pub(crate) fn extents(&self) -> Option<Extents> {
        let elements = product(&[self.rows, self.width])?;
        Some(Extents {
            sources: sources([
                region(self.ifm, elements)?,
                region(self.scale, self.width)?,
                region(self.bias, self.width)?,
            ]),
            in_place: FIRST_IN_PLACE,
            output: region(self.ofm, elements)?,
            ..Extents::default()
        })
    }

    pub(crate) fn work(&self) -> Option<u64> {
        work_of(&[self.rows, self.width])
    }

    pub(crate) fn is_valid(&self, _constants: &[u8]) -> bool {
        // Not a number is not.
        self.epsilon >= 0.0
    }

    pub(crate) fn bind(&mut self, sources: &[u32], ofm: u32, _constants: u32, _state: u32) {
        self.ifm = source(sources, 0);
        self.scale = source(sources, 1);
        self.bias = source(sources, 2);
        self.ofm = ofm;
    }
}
