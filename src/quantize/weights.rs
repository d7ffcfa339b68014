//! Symmetric integer weights, and int32 biases in steps of the input's scale times the weights'.

use std::sync::Arc;

use super::weight_form::WeightForm;
use crate::op::tensor::Values;

/// A layer's weights and bias as integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weights {
    /// What the codes are.
    pub(super) form: WeightForm,
    /// One scale per output channel.
    pub(super) scales: Vec<f32>,
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
            .map(|(i, &code)| f32::from(code) * self.scales[i / row]);
        let bias = self
            .bias
            .iter()
            .zip(&self.scales)
            .map(|(&bias, &scale)| (f64::from(bias) * f64::from(input_scale) * f64::from(scale)) as f32);
        let weights = Values::f32(shape, weights.collect());
        let bias = Values::f32([self.bias.len()], bias.collect());
        [(1, Arc::new(weights)), (2, Arc::new(bias))]
    }

    /// The same weights with other biases, in reals; `None` where one of those leaves int32.
    pub(super) fn with_bias(&self, bias: &[f64], input_scale: f32) -> Option<Self> {
        let steps = |(channel, bias): (usize, &f64)| {
            let scale = f64::from(self.scales[channel]);
            let steps = libm::rint(bias / (f64::from(input_scale) * scale));
            let row = &self.codes[channel * self.row_len()..][..self.row_len()];
            let taken: f64 = row.iter().map(|&code| f64::from(code).abs()).sum();
            fits(steps, taken).then_some(steps as i32)
        };
        Some(Self {
            bias: bias.iter().enumerate().map(steps).collect::<Option<_>>()?,
            ..self.clone()
        })
    }

    /// Weights of an output channel; at least 1.
    pub(super) fn row_len(&self) -> usize {
        (self.codes.len() / self.scales.len().max(1)).max(1)
    }
}

/// Whether sums stay in int32: whatever the zero point, |bias − zero_point·Σw| + 128·Σ|w| stays below this, and so does
/// |bias| + 255·Σ|w|.
fn fits(bias_steps: f64, taken: f64) -> bool {
    bias_steps.abs() + 256.0 * taken <= f64::from(i32::MAX)
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
        form,
        scales: Vec::with_capacity(channels),
        codes: Vec::with_capacity(weights.len()),
        bias: Vec::with_capacity(channels),
        coarser: Vec::new(),
    };
    let sharing = form.channels_of_scale(channels);
    for first in (0..channels).step_by(sharing) {
        let rows = &weights[first * row_len..(first + sharing) * row_len];
        let biases: Vec<f64> = (first..first + sharing)
            .map(|channel| f64::from(bias.get(channel).copied().unwrap_or(0.0)))
            .collect();
        let most = rows.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
        let full = most / f32::from(form.most());
        let mut scale = if full >= f32::MIN_POSITIVE {
            full
        } else {
            lone_scale(&biases, input_scale)
        };
        loop {
            let codes: Vec<i8> = rows.iter().map(|&weight| form.code(weight, scale)).collect();
            let steps = biases
                .iter()
                .map(|bias| libm::rint(bias / (f64::from(input_scale) * f64::from(scale))));
            let taken = |row: usize| {
                let row = &codes[row * row_len..(row + 1) * row_len];
                row.iter().map(|&code| f64::from(code).abs()).sum()
            };
            let all_fit = steps
                .clone()
                .enumerate()
                .all(|(row, steps)| fits(steps, taken(row)));
            if all_fit || scale > f32::MAX / 4.0 {
                // The cast saturates, where no scale is large enough.
                out.bias.extend(steps.map(|steps| steps as i32));
                out.codes.extend(codes);
                break;
            }
            scale *= 2.0;
        }
        if full >= f32::MIN_POSITIVE && scale > full {
            out.coarser.extend(first..first + sharing);
        }
        out.scales.extend(std::iter::repeat_n(scale, sharing));
    }
    out
}

/// The scale of channels whose weights are all zero.
fn lone_scale(biases: &[f64], input_scale: f32) -> f32 {
    let most = biases.iter().fold(0.0f64, |most, bias| most.max(bias.abs()));
    let scale = (most / (f64::from(input_scale) * LONE_BIAS)) as f32;
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
        assert_eq!(weights.scales, [1.0 / 127.0, 0.25 / 127.0]);
        assert_eq!(weights.bias, [254, -2032]);
        assert!(weights.coarser.is_empty());
    }

    #[test]
    fn channels_of_zeros_keep_their_bias() {
        let weights = quantize(&[0.0; 4], 2, &[3.0, 0.0], 0.1, WeightForm::Int8);
        assert_eq!(weights.codes, [0; 4]);
        let back = f64::from(weights.bias[0]) * 0.1f32 as f64 * f64::from(weights.scales[0]);
        assert!((back - 3.0).abs() < 1e-5);
        assert_eq!(weights.bias[1], 0);
        assert!(weights.scales[1] > 0.0);
    }

    #[test]
    fn a_large_bias_coarsens_its_weights() {
        let weights = quantize(&[1e-7, 1.0], 2, &[100.0, 100.0], 1e-3, WeightForm::Int8);
        assert_eq!(weights.coarser, [0]);
        let sum = |o: usize| i64::from(weights.bias[o]).abs() + 256 * i64::from(weights.codes[o]).abs();
        assert!(sum(0) <= i64::from(i32::MAX));
        let back = f64::from(weights.bias[0]) * f64::from(1e-3f32) * f64::from(weights.scales[0]);
        assert!((back - 100.0).abs() < 1e-4, "{back}");
    }

    #[test]
    fn one_scale_for_a_tensor_is_that_of_its_largest_weight() {
        let form = WeightForm::Int8PerTensor;
        let weights = quantize(&[0.5, -1.0, 0.25, 0.1], 2, &[1.0, -2.0], 0.5, form);
        assert_eq!(weights.codes, [64, -127, 32, 13]);
        assert_eq!(weights.scales, [1.0 / 127.0; 2]);
        assert_eq!(weights.bias, [254, -508]);
        assert!(weights.coarser.is_empty());
        // What one channel's bias asks for, all take.
        let weights = quantize(&[1e-7, 1e-7], 2, &[100.0, 0.0], 1e-3, form);
        assert_eq!(weights.coarser, [0, 1]);
        assert_eq!(weights.scales[0], weights.scales[1]);
        // A bias without weights decides the scale too.
        let weights = quantize(&[0.0; 4], 2, &[0.0, 3.0], 0.1, form);
        let back = f64::from(weights.bias[1]) * 0.1f32 as f64 * f64::from(weights.scales[1]);
        assert!((back - 3.0).abs() < 1e-5);
    }
}
