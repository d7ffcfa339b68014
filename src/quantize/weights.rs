//! Symmetric integer weights, and int32 biases in steps of the input's scale times the weights'.

use std::sync::Arc;

use rayon::prelude::*;

use super::weight_form::WeightForm;
use super::weight_grid::WeightGrid;
use crate::op::quant::Quantization;
use crate::op::tensor::{Data, Narrow, Values};

/// A layer's weights and bias as integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weights {
    /// What the codes are, and what they are worth.
    pub(super) grid: WeightGrid,
    /// The weights, in the order given.
    pub(super) codes: Vec<i8>,
    /// One bias per output channel, in steps of exactly `input_scale · scales[o]`.
    pub(super) bias: Vec<i32>,
    /// Channels whose weights take fewer steps than their codes have, because their bias would leave int32 otherwise.
    pub(super) coarser: Vec<usize>,
}

impl Weights {
    /// The weights in the shape given and the biases, as the reals they stand for.
    pub(super) fn reals(&self, shape: &[usize], input_scale: f32) -> [(usize, Arc<Values>); 2] {
        let row = self.row_len();
        let weights = self
            .codes
            .iter()
            .enumerate()
            .map(|(i, &code)| f32::from(code) * self.grid.step(i / row, i % row));
        let bias = self
            .bias
            .iter()
            .zip(&self.grid.scales)
            .map(|(&bias, &scale)| (f64::from(bias) * f64::from(input_scale) * f64::from(scale)) as f32);
        let weights = Values::f32(shape, weights.collect());
        let bias = Values::f32([self.bias.len()], bias.collect());
        [(1, Arc::new(weights)), (2, Arc::new(bias))]
    }

    /// The weights in the shape given, as a quantized graph has them.
    pub(super) fn stored(&self, shape: &[usize]) -> (Values, Quantization) {
        let scales = self.grid.scales.clone();
        let data = if self.grid.form.is_int4() {
            let codes = self.codes.iter().map(|&code| code as u8 & 15);
            Data::Narrow(Narrow::I4, codes.collect())
        } else {
            Data::I8(self.codes.clone())
        };
        let quantization = match self.grid.form.block() {
            None => Quantization::PerChannel { axis: 0, scales },
            Some(block) => Quantization::PerBlock {
                scales,
                block,
                factors: self.grid.factors.clone(),
            },
        };
        (Values::new(shape, data), quantization)
    }

    /// The same weights with other biases, in reals; `None` where one of those leaves int32.
    pub(super) fn with_bias(&self, bias: &[f64], input_scale: f32) -> Option<Self> {
        let steps = |(channel, bias): (usize, &f64)| {
            let scale = f64::from(self.grid.scales[channel]);
            let steps = libm::rint(bias / (f64::from(input_scale) * scale));
            let row = &self.codes[channel * self.row_len()..][..self.row_len()];
            fits(self.grid.form, steps, self.grid.taken(channel, row)).then_some(steps as i32)
        };
        Some(Self {
            bias: bias.iter().enumerate().map(steps).collect::<Option<_>>()?,
            ..self.clone()
        })
    }

    /// Weights of an output channel; at least 1.
    pub(super) fn row_len(&self) -> usize {
        (self.codes.len() / self.grid.scales.len().max(1)).max(1)
    }
}

/// The most steps of a bias of int4 weights. Their steps are coarse beside those of the output, so that sums may have to be shifted
/// left for the rescale; a channel with hardly any weights must leave the others room for that.
const MOST_INT4_BIAS: f64 = (1 << 25) as f64;

/// Whether sums stay in int32: whatever the zero point, |bias − zero_point·Σw| + 128·Σ|w| stays below this, and so does
/// |bias| + 255·Σ|w|.
fn fits(form: WeightForm, bias_steps: f64, taken: f64) -> bool {
    let leaves_room = !form.is_int4() || bias_steps.abs() <= MOST_INT4_BIAS;
    leaves_room && bias_steps.abs() + 256.0 * taken <= f64::from(i32::MAX)
}

/// Where the bias of a channel without weights lies in its steps: fine enough for any output, far from overflow.
const LONE_BIAS: f64 = (1 << 20) as f64;

/// Quantizes weights with output channels outermost, and their bias (empty for none). All values are finite.
pub(super) fn quantize(
    weights: &[f32],
    channels: usize,
    bias: &[f32],
    input_scale: f32,
    form: WeightForm,
) -> Weights {
    let row_len = weights.len() / channels.max(1);
    let mut out = Weights {
        grid: WeightGrid {
            form,
            scales: Vec::with_capacity(channels),
            factors: Vec::new(),
        },
        codes: Vec::with_capacity(weights.len()),
        bias: Vec::with_capacity(channels),
        coarser: Vec::new(),
    };
    let sharing = form.channels_of_scale(channels);
    let chosen: Vec<(f32, Vec<u8>)> = (0..channels)
        .into_par_iter()
        .step_by(sharing)
        .map(|first| &weights[first * row_len..(first + sharing) * row_len])
        .map(|rows| WeightGrid::choose(form, rows, row_len))
        .collect();
    for (first, (full, factors)) in (0..channels).step_by(sharing).zip(chosen) {
        let together = first..first + sharing;
        let row = |channel: usize| &weights[channel * row_len..(channel + 1) * row_len];
        let bias = |channel: usize| f64::from(bias.get(channel).copied().unwrap_or(0.0));
        let mut scale = if full >= f32::MIN_POSITIVE {
            full
        } else {
            let most = together
                .clone()
                .fold(0.0f64, |most, channel| most.max(bias(channel).abs()));
            lone_scale(most, input_scale)
        };
        out.grid.factors.extend(factors);
        out.grid.scales.extend(together.clone().map(|_| scale));
        loop {
            let codes = |channel: usize| -> Vec<i8> {
                let row = row(channel).iter().enumerate();
                row.map(|(i, &weight)| out.grid.code(channel, i, weight))
                    .collect()
            };
            let layer: Vec<(f64, Vec<i8>)> = together
                .clone()
                .map(|channel| {
                    let steps = libm::rint(bias(channel) / (f64::from(input_scale) * f64::from(scale)));
                    (steps, codes(channel))
                })
                .collect();
            let all_fit = together
                .clone()
                .zip(&layer)
                .all(|(channel, (steps, codes))| fits(form, *steps, out.grid.taken(channel, codes)));
            if all_fit || scale > f32::MAX / 4.0 {
                for (steps, codes) in layer {
                    out.codes.extend(codes);
                    out.bias.push(steps as i32); // the cast saturates, where no scale is large enough
                }
                break;
            }
            scale *= 2.0;
            out.grid.scales[together.clone()].fill(scale);
        }
        if full >= f32::MIN_POSITIVE && scale > full {
            out.coarser.extend(together);
        }
    }
    out
}

/// The scale of channels whose weights are all zero.
fn lone_scale(most_bias: f64, input_scale: f32) -> f32 {
    let scale = (most_bias / (f64::from(input_scale) * LONE_BIAS)) as f32;
    if scale >= f32::MIN_POSITIVE && scale.is_finite() {
        scale
    } else {
        // Channels of zeros: any scale will do that needs no left shift beside channels of ordinary ones.
        1.0 / (1 << 20) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_use_all_127_steps() {
        let weights = quantize(&[0.5, -1.0, 0.25, 0.1], 2, &[1.0, -2.0], 0.5, WeightForm::Int8);
        assert_eq!(weights.codes, [64, -127, 127, 51]);
        assert_eq!(weights.grid.scales, [1.0 / 127.0, 0.25 / 127.0]);
        assert_eq!(weights.bias, [254, -2032]);
        assert!(weights.coarser.is_empty());
    }

    #[test]
    fn channels_of_zeros_keep_their_bias() {
        let weights = quantize(&[0.0; 4], 2, &[3.0, 0.0], 0.1, WeightForm::Int8);
        assert_eq!(weights.codes, [0; 4]);
        let back = f64::from(weights.bias[0]) * 0.1f32 as f64 * f64::from(weights.grid.scales[0]);
        assert!((back - 3.0).abs() < 1e-5);
        assert_eq!(weights.bias[1], 0);
        assert!(weights.grid.scales[1] > 0.0);
    }

    #[test]
    fn a_large_bias_coarsens_its_weights() {
        let weights = quantize(&[1e-7, 1.0], 2, &[100.0, 100.0], 1e-3, WeightForm::Int8);
        assert_eq!(weights.coarser, [0]);
        let sum = |o: usize| i64::from(weights.bias[o]).abs() + 256 * i64::from(weights.codes[o]).abs();
        assert!(sum(0) <= i64::from(i32::MAX));
        let back = f64::from(weights.bias[0]) * f64::from(1e-3f32) * f64::from(weights.grid.scales[0]);
        assert!((back - 100.0).abs() < 1e-4, "{back}");
    }

    #[test]
    fn a_bias_of_int4_weights_leaves_room_for_a_shift() {
        for form in [WeightForm::Int4, WeightForm::Int4Block32] {
            let weights = quantize(&[1e-7, 1.0], 2, &[100.0, 1.0], 1e-3, form);
            assert_eq!(weights.coarser, [0]);
            assert!(f64::from(weights.bias[0]) <= MOST_INT4_BIAS);
        }
    }

    #[test]
    fn one_scale_for_a_tensor_is_that_of_its_largest_weight() {
        let form = WeightForm::Int8PerTensor;
        let weights = quantize(&[0.5, -1.0, 0.25, 0.1], 2, &[1.0, -2.0], 0.5, form);
        assert_eq!(weights.codes, [64, -127, 32, 13]);
        assert_eq!(weights.grid.scales, [1.0 / 127.0; 2]);
        assert_eq!(weights.bias, [254, -508]);
        assert!(weights.coarser.is_empty());
        // What one channel's bias asks for, all take.
        let weights = quantize(&[1e-7, 1e-7], 2, &[100.0, 0.0], 1e-3, form);
        assert_eq!(weights.coarser, [0, 1]);
        assert_eq!(weights.grid.scales[0], weights.grid.scales[1]);
        // A bias without weights decides the scale too.
        let weights = quantize(&[0.0; 4], 2, &[0.0, 3.0], 0.1, form);
        let back = f64::from(weights.bias[1]) * 0.1f32 as f64 * f64::from(weights.grid.scales[1]);
        assert!((back - 3.0).abs() < 1e-5);
    }
}
