//! What a layer's windows see: the rows of the matrix that its weights multiply.

use std::sync::Arc;

use crate::op::tensor::Values;
use crate::op::{Conv2d, Op};

/// Elements of all patches, at most.
const MOST_ELEMENTS: usize = 8 << 20;
/// Patches for each weight of a channel, at least where there are that many.
const PER_WEIGHT: usize = 24;
/// Patches, at least where there are that many.
const FEWEST: usize = 4096;
/// The most weights of one output channel whose moments are reckoned with.
const MOST_WEIGHTS: usize = 1536;

/// Some of the patches of a layer, in groups of channels: `[patch][taps · channels / groups]` for each group, in the order
/// of the weights.
pub(super) struct Patches {
    /// Elements of a patch in one group.
    pub(super) depth: usize,
    /// By group.
    pub(super) groups: Vec<Vec<f32>>,
}

/// Evenly spread patches of all samples; `None` of operators other than two-dimensional convolutions and dense layers, and
/// of layers with too many weights for one channel.
pub(super) fn patches(
    op: &Op,
    weights: &[usize],
    samples: &[Arc<Values>],
    output: &[usize],
) -> Option<Patches> {
    let channels = *output.last()?;
    let per_sample = output.iter().product::<usize>() / channels.max(1);
    let total = per_sample * samples.len();
    let (groups, depth) = match op {
        Op::Dense(_) => (1, *weights.get(1)?),
        Op::Conv2d(conv) => (conv.groups, weights.get(1..)?.iter().product()),
        _ => return None,
    };
    if depth == 0 || depth > MOST_WEIGHTS || total == 0 {
        return None;
    }
    let most = (depth * PER_WEIGHT)
        .max(FEWEST)
        .min(MOST_ELEMENTS / (depth * groups));
    let step = spread_step(total.div_ceil(most.max(1)), per_sample);
    let mut found = Patches {
        depth,
        groups: vec![Vec::new(); groups],
    };
    for at in (0..total).step_by(step) {
        let values = &samples[at / per_sample];
        let (x, position) = (values.as_f32()?, at % per_sample);
        match op {
            Op::Conv2d(conv) => found.take(conv, x, &values.shape, position, output),
            _ => found.groups[0].extend_from_slice(x.get(position * depth..(position + 1) * depth)?),
        }
    }
    Some(found)
}

/// The least step from `step` on that meets all positions of a sample in turn: one that has no divisor in common with their
/// number, or it would meet the same columns again and again.
fn spread_step(step: usize, positions: usize) -> usize {
    let has_common_divisor = |step: usize| {
        let (mut a, mut b) = (step, positions);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a > 1
    };
    let mut step = step.max(1);
    while has_common_divisor(step) && positions > 1 {
        step += 1;
    }
    step
}

impl Patches {
    /// Adds the window at one position of the output.
    fn take(&mut self, conv: &Conv2d, x: &[f32], shape: &[usize], position: usize, output: &[usize]) {
        let [_, h, w, channels] = *shape else { return };
        let (image, rest) = (
            position / (output[1] * output[2]),
            position % (output[1] * output[2]),
        );
        let (out_y, out_x) = (rest / output[2], rest % output[2]);
        let window = &conv.window;
        let size = channels / conv.groups.max(1);
        for tap_y in 0..window.kernel[0] {
            let y = (out_y * window.strides[0] + tap_y * window.dilations[0]).checked_sub(window.pads[0]);
            for tap_x in 0..window.kernel[1] {
                let x_at =
                    (out_x * window.strides[1] + tap_x * window.dilations[1]).checked_sub(window.pads[1]);
                let pixel = match (y, x_at) {
                    (Some(y), Some(x_at)) if y < h && x_at < w => {
                        Some(&x[((image * h + y) * w + x_at) * channels..][..channels])
                    }
                    _ => None,
                };
                for (group, rows) in self.groups.iter_mut().enumerate() {
                    match pixel {
                        Some(pixel) => rows.extend_from_slice(&pixel[group * size..][..size]),
                        None => rows.resize(rows.len() + size, 0.0),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_come_from_every_column() {
        assert_eq!(spread_step(4, 125), 4);
        assert_eq!(spread_step(5, 125), 6);
        assert_eq!(spread_step(2, 36), 5);
        assert_eq!(spread_step(0, 1), 1);
        assert_eq!(spread_step(3, 0), 3);
    }
}
