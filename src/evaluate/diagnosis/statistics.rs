//! What the float model's tensors hold over some samples: extremes, means and energies by channel, how large values
//! are, and what of them lies outside the quantized ranges.

use rayon::prelude::*;

use crate::evaluate::EvaluateError;
use crate::evaluate::codes::Codes;
use crate::evaluate::isolated::Place;
use crate::ir::{FloatGraph, Samples};
use crate::op::tensor::Values;
use crate::reference::Executor;

/// Samples whose statistics are held at a time.
const BATCH: usize = 8;

/// Sizes of values are told apart by exponent and first bit of the mantissa: two per octave.
const SIZES: usize = 512;

/// Bits of an f32 behind the ones that tell its size.
const FINER_BITS: u32 = 22;

/// A tensor over some samples.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    /// By index of the channel axis.
    pub(super) channels: Vec<Channel>,
    /// Energy of what is cut off beyond the ends of the quantized range.
    pub(super) clipped: f64,
    /// Values cut off by more than half a step.
    pub(super) outside: u64,
    /// How many values there are of each size.
    sizes: Vec<u64>,
}

/// A channel of a tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) min: f64,
    pub(super) max: f64,
    sum: f64,
    squares: f64,
    count: u64,
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            squares: 0.0,
            count: 0,
        }
    }
}

impl Channel {
    fn see(&mut self, x: f64) {
        self.min = self.min.min(x);
        self.max = self.max.max(x);
        self.sum += x;
        self.squares += x * x;
        self.count += 1;
    }

    fn join(&mut self, other: &Self) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.squares += other.squares;
        self.count += other.count;
    }

    pub(super) fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    /// Root of the mean square.
    pub(super) fn rms(&self) -> f64 {
        (self.squares / self.count.max(1) as f64).sqrt()
    }

    /// Standard deviation.
    pub(super) fn deviation(&self) -> f64 {
        let (mean, rms) = (self.mean(), self.rms());
        (rms * rms - mean * mean).max(0.0).sqrt()
    }
}

impl Statistics {
    fn new(channels: usize) -> Self {
        Self {
            channels: vec![Channel::default(); channels],
            clipped: 0.0,
            outside: 0,
            sizes: vec![0; SIZES],
        }
    }

    /// Takes values in; neighbours of the same channel lie `inner` apart or less.
    fn see(&mut self, values: &[f32], inner: usize, codes: Codes) {
        let (low, high) = codes.range();
        let half = f64::from(codes.scale()) / 2.0;
        for (block, values) in values.chunks(inner).enumerate() {
            let channels = self.channels.len();
            let channel = &mut self.channels[block % channels];
            for &value in values {
                let x = f64::from(value);
                channel.see(x);
                let beyond = (low - x).max(x - high).max(0.0);
                self.clipped += beyond * beyond;
                self.outside += u64::from(beyond > half);
                self.sizes[(value.abs().to_bits() >> FINER_BITS) as usize] += 1;
            }
        }
    }

    fn join(&mut self, other: &Self) {
        self.channels
            .iter_mut()
            .zip(&other.channels)
            .for_each(|(channel, other)| channel.join(other));
        self.clipped += other.clipped;
        self.outside += other.outside;
        self.sizes
            .iter_mut()
            .zip(&other.sizes)
            .for_each(|(count, other)| *count += other);
    }

    /// All channels as one.
    pub(super) fn whole(&self) -> Channel {
        let mut whole = Channel::default();
        self.channels.iter().for_each(|channel| whole.join(channel));
        whole
    }

    /// Number of values.
    pub(super) fn count(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// Energy of all values.
    pub(super) fn energy(&self) -> f64 {
        self.channels.iter().map(|channel| channel.squares).sum()
    }

    /// A size that at most this share of the values exceeds, half an octave more than need be at most.
    pub(super) fn size_exceeded_by(&self, share: f64) -> f64 {
        let mut left = (share * self.count() as f64) as u64;
        for (size, &count) in self.sizes.iter().enumerate().rev() {
            if count > left {
                let end = f32::from_bits(((size as u32 + 1) << FINER_BITS).min(f32::MAX.to_bits()));
                return end.into();
            }
            left -= count;
        }
        0.0
    }
}

/// The statistics of every place over some samples, which are added up in their order.
///
/// # Errors
/// Where a sample cannot be read or the model does not run.
pub(super) fn gather(
    graph: &FloatGraph,
    places: &[Place<'_>],
    samples: &dyn Samples,
    positions: &[usize],
) -> Result<Vec<Statistics>, EvaluateError> {
    let executor = Executor::new(graph)?;
    let mut by_tensor = vec![None; graph.tensors.len()];
    let layouts: Vec<(usize, usize)> = places
        .iter()
        .enumerate()
        .map(|(index, place)| {
            by_tensor[place.handle.index()] = Some(index);
            channels(&graph.tensors[place.handle].ty.shape, place.node.is_none())
        })
        .collect();
    let empty = || -> Vec<Statistics> { layouts.iter().map(|&(count, _)| Statistics::new(count)).collect() };
    let mut total = empty();
    for batch in positions.chunks(BATCH) {
        let seen: Vec<Vec<Statistics>> = batch
            .par_iter()
            .map(|&sample| {
                let mut statistics = empty();
                executor.observe(&samples.get(sample)?, &mut |tensor, values: &Values| {
                    if let (Some(index), Some(values)) = (by_tensor[tensor.index()], values.as_f32()) {
                        statistics[index].see(values, layouts[index].1, places[index].codes);
                    }
                })?;
                Ok(statistics)
            })
            .collect::<Result<_, EvaluateError>>()?;
        for statistics in &seen {
            total
                .iter_mut()
                .zip(statistics)
                .for_each(|(total, statistics)| total.join(statistics));
        }
    }
    Ok(total)
}

/// How many channels a tensor has, and how many elements of one stand side by side. Inside the graph channels are
/// last; an input has the ONNX model's layout, where they are first but for pictures with one, three or four last.
fn channels(shape: &[usize], is_input: bool) -> (usize, usize) {
    let axis = match shape {
        [] => return (1, 1),
        [_] | [_, _] => shape.len() - 1,
        [_, first, _, 1 | 3 | 4] if is_input && !matches!(first, 1 | 3 | 4) => 3,
        _ if is_input => 1,
        _ => shape.len() - 1,
    };
    let inner: usize = shape[axis + 1..].iter().product();
    (shape[axis].max(1), inner.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::quant::QuantParams;

    const CODES: Codes = Codes::new(
        QuantParams {
            scale: 0.01,
            zero_point: 0,
        },
        false,
    );

    #[test]
    fn channels_are_where_the_layout_has_them() {
        assert_eq!(channels(&[1, 8, 8, 16], false), (16, 1));
        assert_eq!(channels(&[1, 3, 8, 8], true), (3, 64));
        assert_eq!(channels(&[1, 8, 8, 3], true), (3, 1));
        assert_eq!(channels(&[1, 16], true), (16, 1));
        assert_eq!(channels(&[], false), (1, 1));
    }

    #[test]
    fn values_are_taken_in_by_channel() {
        let mut statistics = Statistics::new(2);
        statistics.see(&[1.0, -1.0, 0.5, 0.5, 2.27, 0.0, 0.0, 0.0], 2, CODES);
        let [a, b] = statistics.channels[..] else { panic!() };
        assert_eq!((a.min, b.max), (-1.0, 0.5));
        assert_eq!(b.mean(), 0.25);
        assert!((b.deviation() - 0.25).abs() < 1e-12);
        // 2.27 − 1.27.
        assert!((statistics.clipped - 1.0).abs() < 1e-6 && statistics.outside == 1);
        assert_eq!(statistics.count(), 8);
        assert_eq!(statistics.size_exceeded_by(0.0), 3.0);
        // One of eight may be larger: the next is 1, of those up to 1.5.
        assert_eq!(statistics.size_exceeded_by(0.125), 1.5);
    }
}
