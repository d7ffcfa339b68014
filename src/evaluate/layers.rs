//! Layer by layer: the quantized program's tensors against the reference executor's.

use std::collections::BTreeMap;

use super::codes::Codes;
use super::decibel;
use super::means::cosine_of;
use crate::ir::{Program, QuantGraph, TensorInfo};
use crate::op::quant::QuantTensor;
use crate::op::tensor::Values;

/// Below this a layer's output has more noise than it can bear.
pub const COLLAPSED_DB: f64 = 10.0;

/// How close a layer's output is to the float model's.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Name of the ONNX node.
    pub name: String,
    /// Name of the tensor compared: the node's output.
    pub tensor: String,
    /// Signal to quantization noise in decibels; infinite where there is no noise at all.
    pub sqnr_db: f64,
    /// The ratio at the worst of the model's outputs where this layer alone is quantized, its weights and its output;
    /// `None` where that was not measured.
    pub isolated_db: Option<f64>,
    /// Cosine of the angle to the float model's output.
    pub cosine: f64,
    /// Share of the elements that lie beyond the output's range of codes by more than a step.
    pub saturated: f64,
}

/// Tensors to compare: one per node of the quantized graph that has kernel calls.
pub(super) struct Probes<'p> {
    pub(super) probes: Vec<Probe<'p>>,
    /// Per step, the probe whose tensor it writes and the first byte within that tensor.
    by_step: Vec<Option<(usize, usize)>>,
    /// Probe of a tensor, by the name that both graphs have for it.
    pub(super) by_name: BTreeMap<&'p str, usize>,
}

/// A tensor to compare.
pub(super) struct Probe<'p> {
    node: &'p str,
    tensor: &'p QuantTensor,
    codes: Codes,
}

impl<'p> Probes<'p> {
    pub(super) fn new(graph: &'p QuantGraph, program: &Program) -> Self {
        let mut probes: Vec<Probe<'p>> = Vec::new();
        let mut by_step = vec![None; program.steps.len()];
        for (i, node) in graph.nodes.iter().enumerate() {
            let writes: Vec<usize> = (0..program.steps.len())
                .filter(|&s| program.steps[s].node == i && program.steps[s].within.is_none())
                .collect();
            let output = node.outputs[0];
            let tensor = &graph.tensors[output];
            let first_byte = writes.iter().map(|&s| program.steps[s].write.offset).min();
            let (Some(codes), Some(first_byte)) = (Codes::of(tensor), first_byte) else {
                continue;
            };
            for step in writes {
                let offset = (program.steps[step].write.offset - first_byte) as usize;
                by_step[step] = Some((probes.len(), offset));
            }
            probes.push(Probe {
                node: &node.name,
                tensor,
                codes,
            });
        }
        let by_name = probes
            .iter()
            .enumerate()
            .map(|(i, probe)| (probe.tensor.name(), i))
            .collect();
        Self {
            probes,
            by_step,
            by_name,
        }
    }

    /// Room for the bytes of every tensor.
    pub(super) fn buffers(&self) -> Vec<Vec<u8>> {
        self.probes
            .iter()
            .map(|probe| vec![0; probe.tensor.ty.bytes()])
            .collect()
    }

    /// Takes down what a step wrote. Several steps may write parts of one tensor.
    pub(super) fn record(&self, buffers: &mut [Vec<u8>], step: usize, output: &[u8]) {
        if let Some((probe, offset)) = self.by_step[step]
            && let Some(part) = buffers[probe].get_mut(offset..offset + output.len())
        {
            part.copy_from_slice(output);
        }
    }

    /// Compares a tensor's bytes with the reference executor's values; nothing where the two graphs differ in shape.
    pub(super) fn compare(&self, probe: usize, bytes: &[u8], reference: &Values) -> Sums {
        let Probe { tensor, codes, .. } = &self.probes[probe];
        if reference.shape != tensor.ty.shape {
            return Sums::default();
        }
        // Where the model is quantized already, the reference holds the integers.
        let is_float = reference.data.dtype().is_float();
        let wanted = reference.to_f64();
        let wanted = wanted
            .into_iter()
            .map(|x| if is_float { x } else { codes.real(x as i32) });
        let (least, greatest) = codes.bounds();
        let mut sums = Sums::default();
        for (found, wanted) in codes.reals(bytes).into_iter().zip(wanted) {
            sums.signal += wanted * wanted;
            sums.noise += (wanted - found) * (wanted - found);
            sums.found += found * found;
            sums.product += wanted * found;
            sums.saturated += u64::from(wanted < least || wanted > greatest);
            sums.elements += 1;
        }
        sums
    }

    /// The figures of every tensor that was compared, in the order of the program.
    pub(super) fn report(&self, sums: &[Sums]) -> Vec<Layer> {
        let mut layers = Vec::new();
        for (probe, sums) in self.probes.iter().zip(sums) {
            if sums.elements == 0 {
                continue;
            }
            let layer = Layer {
                name: probe.node.to_owned(),
                tensor: probe.tensor.name.clone(),
                sqnr_db: sums.sqnr_db(),
                isolated_db: None,
                cosine: cosine_of(sums.product, sums.signal, sums.found),
                saturated: sums.saturated as f64 / sums.elements as f64,
            };
            layers.push(layer);
        }
        layers
    }
}

/// Sums over the elements of a tensor and over samples.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    signal: f64,
    noise: f64,
    found: f64,
    product: f64,
    saturated: u64,
    elements: u64,
}

impl Sums {
    pub(super) fn add(&mut self, other: &Self) {
        self.signal += other.signal;
        self.noise += other.noise;
        self.found += other.found;
        self.product += other.product;
        self.saturated += other.saturated;
        self.elements += other.elements;
    }

    fn sqnr_db(&self) -> f64 {
        decibel(self.signal, self.noise)
    }
}
