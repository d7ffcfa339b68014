//! A part of the samples, for what costs more than to run them once.

use crate::ir::{FloatGraph, SampleError, Samples};
use crate::op::tensor::Values;

/// What both sides of all samples may take at once.
const MOST_BYTES: usize = 192 << 20;

/// Samples, at least, where there are that many.
const FEWEST: usize = 8;
/// Samples, at most.
const MOST: usize = 512;

/// Evenly spread samples.
pub(super) struct Subset<'s> {
    samples: &'s dyn Samples,
    indices: Vec<usize>,
}

impl<'s> Subset<'s> {
    /// As many of the samples as take these multiply-accumulates, but a few at least; no more than fit into memory where
    /// all of them hold their tensors at once.
    pub(super) fn of(samples: &'s dyn Samples, graph: &FloatGraph, macs: u64) -> Self {
        let fits = MOST_BYTES / (2 * peak_bytes(graph)).max(1);
        let affordable = usize::try_from(macs / graph.macs().max(1)).unwrap_or(usize::MAX);
        let count = samples
            .len()
            .min(affordable.max(FEWEST))
            .min(fits.max(2))
            .min(MOST);
        let indices = (0..count).map(|i| i * samples.len() / count.max(1)).collect();
        Self { samples, indices }
    }

    /// These samples in two parts: all but one in so many, and those.
    pub(super) fn divided(&self, parts: usize) -> (Self, Self) {
        let of = |is_held_back: bool| Self {
            samples: self.samples,
            indices: self
                .indices
                .iter()
                .enumerate()
                .filter(|(place, _)| (place % parts == parts - 1) == is_held_back)
                .map(|(_, &index)| index)
                .collect(),
        };
        (of(false), of(true))
    }
}

impl Samples for Subset<'_> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        self.samples.get(self.indices[index])
    }
}

/// The most bytes that tensors take at once while the nodes run in their order.
fn peak_bytes(graph: &FloatGraph) -> usize {
    let mut last_read = vec![0; graph.tensors.len()];
    for (position, node) in graph.nodes.iter().enumerate() {
        for input in &node.inputs {
            last_read[input.index()] = position;
        }
    }
    for output in &graph.outputs {
        last_read[output.index()] = usize::MAX;
    }
    let mut live: Vec<usize> = graph.inputs.iter().map(|input| input.index()).collect();
    let bytes_of: Vec<usize> = graph
        .tensors
        .iter()
        .map(|(_, tensor)| tensor.ty.bytes())
        .collect();
    let mut peak = 0;
    for (position, node) in graph.nodes.iter().enumerate() {
        live.extend(node.outputs.iter().map(|output| output.index()));
        peak = peak.max(live.iter().map(|&tensor| bytes_of[tensor]).sum());
        live.retain(|&tensor| last_read[tensor] > position);
    }
    peak
}
