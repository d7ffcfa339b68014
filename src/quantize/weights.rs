//! Symmetric int8 weights per output channel, and int32 biases in steps of the input's scale times the weights'.

use std::sync::Arc;

use crate::op::tensor::Values;

/// A layer's weights and bias as integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weights {
    /// One scale per output channel.
    pub(super) scales: Vec<f32>,
    /// The weights, in the order given.
    pub(super) codes: Vec<i8>,
    /// One bias per output channel, in steps of exactly `input_scale · scales[o]`.
    pub(super) bias: Vec<i32>,
    /// Channels whose weights take fewer than 127 steps, because their bias would leave int32 otherwise.
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
pub(super) fn quantize(weights: &[f32], channels: usize, bias: &[f32], input_scale: f32) -> Weights {
    let row_len = weights.len() / channels.max(1);
    let mut out = Weights {
        scales: Vec::with_capacity(channels),
        codes: Vec::with_capacity(weights.len()),
        bias: Vec::with_capacity(channels),
        coarser: Vec::new(),
    };
    for channel in 0..channels {
        let row = &weights[channel * row_len..(channel + 1) * row_len];
        let bias = f64::from(bias.get(channel).copied().unwrap_or(0.0));
        let most = row.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
        let full = most / 127.0;
        let mut scale = if full >= f32::MIN_POSITIVE {
            full
        } else {
            lone_scale(bias, input_scale)
        };
        loop {
            let bias_steps = libm::rint(bias / (f64::from(input_scale) * f64::from(scale)));
            let codes = row.iter().map(|&weight| code(weight, scale));
            let taken: f64 = codes.clone().map(|code| f64::from(code).abs()).sum();
            if fits(bias_steps, taken) || scale > f32::MAX / 4.0 {
                out.codes.extend(codes);
                out.bias.push(bias_steps as i32); // the cast saturates, where no scale is large enough
                break;
            }
            scale *= 2.0;
        }
        if full >= f32::MIN_POSITIVE && scale > full {
            out.coarser.push(channel);
        }
        out.scales.push(scale);
    }
    out
}

/// The scale of a channel whose weights are all zero.
fn lone_scale(bias: f64, input_scale: f32) -> f32 {
    let scale = (bias.abs() / (f64::from(input_scale) * LONE_BIAS)) as f32;
    if scale >= f32::MIN_POSITIVE && scale.is_finite() {
        scale
    } else {
        // A channel of zeros: any scale will do that needs no left shift beside channels of ordinary ones.
        1.0 / (1 << 20) as f32
    }
}

/// A weight in steps of its channel's scale, ties to even.
pub(super) fn code(weight: f32, scale: f32) -> i8 {
    libm::rintf(weight / scale).clamp(-127.0, 127.0) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_use_all_127_steps() {
        let weights = quantize(&[0.5, -1.0, 0.25, 0.1], 2, &[1.0, -2.0], 0.5);
        assert_eq!(weights.codes, [64, -127, 127, 51]);
        assert_eq!(weights.scales, [1.0 / 127.0, 0.25 / 127.0]);
        assert_eq!(weights.bias, [254, -2032]);
        assert!(weights.coarser.is_empty());
    }

    #[test]
    fn channels_of_zeros_keep_their_bias() {
        let weights = quantize(&[0.0; 4], 2, &[3.0, 0.0], 0.1);
        assert_eq!(weights.codes, [0; 4]);
        let back = f64::from(weights.bias[0]) * 0.1f32 as f64 * f64::from(weights.scales[0]);
        assert!((back - 3.0).abs() < 1e-5);
        assert_eq!(weights.bias[1], 0);
        assert!(weights.scales[1] > 0.0);
    }

    #[test]
    fn a_large_bias_coarsens_its_weights() {
        let weights = quantize(&[1e-7, 1.0], 2, &[100.0, 100.0], 1e-3);
        assert_eq!(weights.coarser, [0]);
        let sum = |o: usize| i64::from(weights.bias[o]).abs() + 256 * i64::from(weights.codes[o]).abs();
        assert!(sum(0) <= i64::from(i32::MAX));
        let back = f64::from(weights.bias[0]) * f64::from(1e-3f32) * f64::from(weights.scales[0]);
        assert!((back - 100.0).abs() < 1e-4, "{back}");
    }
}
