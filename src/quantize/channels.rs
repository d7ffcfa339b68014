//! What the channels of tensors were seen to be, over samples.

use rayon::prelude::*;

use super::groups::Group;
use super::ranges::run_sample;
use super::spread::Spread;
use super::subset::Subset;
use super::{QuantizeError, tally};
use crate::ir::{FloatGraph, FloatTensor, Handle, Progress, Samples};
use crate::reference::Executor;

/// What the channels of a tensor were seen to be.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    /// The least that a channel may be expected to hold.
    pub(super) min: Vec<f64>,
    /// The greatest.
    pub(super) max: Vec<f64>,
    pub(super) sum: Vec<f64>,
    pub(super) squares: Vec<f64>,
    /// Elements of a channel.
    pub(super) count: f64,
}

/// Sums over the samples, by channel.
struct Sums {
    low: Vec<Spread>,
    high: Vec<Spread>,
    sum: Vec<f64>,
    squares: Vec<f64>,
    count: f64,
}

impl Sums {
    fn new(channels: usize) -> Self {
        Self {
            low: vec![Spread::default(); channels],
            high: vec![Spread::default(); channels],
            sum: vec![0.0; channels],
            squares: vec![0.0; channels],
            count: 0.0,
        }
    }

    /// Adds a sample's tensor.
    fn see(&mut self, values: &[f32]) {
        let channels = self.sum.len();
        let (mut low, mut high) = (vec![f32::INFINITY; channels], vec![f32::NEG_INFINITY; channels]);
        for row in values.chunks_exact(channels.max(1)) {
            self.count += 1.0;
            for (c, &x) in row.iter().enumerate() {
                low[c] = low[c].min(x);
                high[c] = high[c].max(x);
                self.sum[c] += f64::from(x);
                self.squares[c] += f64::from(x) * f64::from(x);
            }
        }
        for (c, (low, high)) in low.into_iter().zip(high).enumerate() {
            self.low[c].add(low);
            self.high[c].add(high);
        }
    }

    fn merge(&mut self, other: &Self) {
        for c in 0..self.sum.len() {
            self.low[c].merge(&other.low[c]);
            self.high[c].merge(&other.high[c]);
            self.sum[c] += other.sum[c];
            self.squares[c] += other.squares[c];
        }
        self.count += other.count;
    }

    fn channels(self) -> Channels {
        Channels {
            min: self.low.iter().map(|low| low.least().into()).collect(),
            max: self.high.iter().map(|high| high.greatest().into()).collect(),
            sum: self.sum,
            squares: self.squares,
            count: self.count,
        }
    }
}

impl Channels {
    /// From the least to the greatest value, zero included.
    pub(super) fn span(&self) -> f64 {
        self.max.iter().copied().fold(0.0, f64::max) - self.min.iter().copied().fold(0.0, f64::min)
    }

    pub(super) fn shifted(&self, offsets: &[f64]) -> Self {
        let less = |values: &[f64]| values.iter().zip(offsets).map(|(x, offset)| x - offset).collect();
        let sums = self.sum.iter().zip(offsets);
        let squares = self.squares.iter().zip(sums.clone());
        Self {
            min: less(&self.min),
            max: less(&self.max),
            sum: sums.map(|(sum, offset)| sum - self.count * offset).collect(),
            squares: squares
                .map(|(square, (sum, offset))| square - 2.0 * offset * sum + self.count * offset * offset)
                .collect(),
            count: self.count,
        }
    }

    /// The same with some of the channels once more behind all.
    pub(super) fn grown(&self, added: &[usize]) -> Self {
        let with = |values: &[f64]| {
            values
                .iter()
                .copied()
                .chain(added.iter().map(|&c| values[c]))
                .collect()
        };
        Self {
            min: with(&self.min),
            max: with(&self.max),
            sum: with(&self.sum),
            squares: with(&self.squares),
            count: self.count,
        }
    }

    pub(super) fn divided(&self, factors: &[f64]) -> Self {
        let by = |values: &[f64]| values.iter().zip(factors).map(|(x, factor)| x / factor).collect();
        Self {
            min: by(&self.min),
            max: by(&self.max),
            sum: by(&self.sum),
            squares: self
                .squares
                .iter()
                .zip(factors)
                .map(|(x, factor)| x / (factor * factor))
                .collect(),
            count: self.count,
        }
    }
}

/// Runs the samples past the tensors of the groups; by group and tensor.
pub(super) fn observe(
    graph: &FloatGraph,
    subset: &Subset<'_>,
    groups: &[Group],
    progress: Progress<'_>,
) -> Result<Vec<Vec<Channels>>, QuantizeError> {
    let tensors: Vec<Handle<FloatTensor>> = groups
        .iter()
        .flat_map(|group| group.tensors.iter().copied())
        .collect();
    let mut places = vec![None; graph.tensors.len()];
    for (place, tensor) in tensors.iter().enumerate() {
        places[tensor.index()] = Some(place);
    }
    let none = || -> Vec<Sums> {
        let shapes = tensors.iter().map(|&tensor| &graph.tensors[tensor].ty.shape);
        shapes
            .map(|shape| Sums::new(shape.last().copied().unwrap_or(1)))
            .collect()
    };
    let executor = Executor::new(graph)?;
    let done = tally(progress, "observing channels", subset.len());
    let results: Vec<Result<Vec<Sums>, QuantizeError>> = (0..subset.len())
        .into_par_iter()
        .map(|sample| {
            let mut found = none();
            run_sample(graph, &executor, subset, sample, &mut |tensor, values| {
                if let (Some(place), Some(values)) = (places[tensor.index()], values.as_f32()) {
                    found[place].see(values);
                }
            })?;
            done();
            Ok(found)
        })
        .collect();
    // In the order of the samples, so that sums of reals are the same at any number of threads.
    let mut total = none();
    for found in results {
        for (total, found) in total.iter_mut().zip(&found?) {
            total.merge(found);
        }
    }
    let mut channels = total.into_iter().map(Sums::channels);
    let of_group = |group: &Group| channels.by_ref().take(group.tensors.len()).collect();
    Ok(groups.iter().map(of_group).collect())
}
