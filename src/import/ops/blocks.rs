//! Stored integers with a scale for each block of an axis, as integers with one scale per channel: exactly, or not at all.

use crate::op::tensor::{Data, Values, row_major_strides};

/// Blocks' scales are tried as multiples of the least one, and of up to this part of it.
const MOST_PARTS: u32 = 255;

/// Codes around zero, int8 or else int16, with a scale for each index of an axis.
pub(super) struct PerChannel {
    pub(super) codes: Values,
    pub(super) scales: Vec<f32>,
    pub(super) axis: usize,
}

impl PerChannel {
    /// The same reals as `(codes − zeros) · scales`, with a scale and a zero point for every `block` elements along `axis`:
    /// the scales of a channel are whole multiples of one, and the codes take these factors. `None` where they are not,
    /// where the codes then leave int16, or where more than one other axis has an extent.
    pub(super) fn of_blocks(
        codes: &Values,
        scales: &Values,
        zeros: Option<&Values>,
        axis: usize,
        block: usize,
    ) -> Option<Self> {
        let shape = &codes.shape;
        let others = || (0..shape.len()).filter(|&other| other != axis);
        let mut wide = others().filter(|&other| shape[other] > 1);
        let channel_axis = wide.next().or_else(|| others().next())?;
        let mut wanted = shape.clone();
        wanted[axis] = shape[axis].div_ceil(block.max(1));
        // Scales of another shape are refused, with words, by the operator that takes blocks as they are.
        if wide.next().is_some() || scales.shape != wanted || block == 0 {
            return None;
        }
        let (integers, steps) = (codes.to_i64()?, scales.as_f32()?);
        let zeros = match zeros {
            Some(zeros) => zeros.to_i64().filter(|zeros| zeros.len() == steps.len())?,
            None => vec![0; steps.len()],
        };
        let (strides, block_strides) = (row_major_strides(shape), row_major_strides(&scales.shape));
        let blocks = scales.shape[axis];
        let mut out = vec![0_i16; integers.len()];
        let mut bases = Vec::with_capacity(shape[channel_axis]);
        for channel in 0..shape[channel_axis] {
            let parameter = |of: usize| of * block_strides[axis] + channel * block_strides[channel_axis];
            let own: Vec<f32> = (0..blocks).map(|of| steps[parameter(of)]).collect();
            let (base, factors) = common(&own)?;
            for place in 0..shape[axis] {
                let at = place * strides[axis] + channel * strides[channel_axis];
                let of = place / block;
                let code = (integers[at] - zeros[parameter(of)]) * factors[of];
                out[at] = i16::try_from(code).ok()?;
            }
            bases.push(base);
        }
        let bytes: Option<Vec<i8>> = out.iter().map(|&code| i8::try_from(code).ok()).collect();
        Some(Self {
            codes: Values::new(shape.clone(), bytes.map_or(Data::I16(out), Data::I8)),
            scales: bases,
            axis: channel_axis,
        })
    }
}

/// A number of which all these are whole multiples, exactly, and the multiples: the greatest one that is a part of the
/// least.
fn common(scales: &[f32]) -> Option<(f32, Vec<i64>)> {
    let least = scales.iter().copied().reduce(f32::min)?;
    (1..=MOST_PARTS).find_map(|parts| {
        let base = least / parts as f32;
        let multiple = |&scale: &f32| {
            // Both have 24 digits, and a factor eight.
            let factor = libm::rint(f64::from(scale) / f64::from(base));
            (factor <= 255.0 && factor * f64::from(base) == f64::from(scale)).then_some(factor as i64)
        };
        let factors: Option<Vec<i64>> = scales.iter().map(multiple).collect();
        Some((base, factors.filter(|_| base.is_normal())?))
    })
}
