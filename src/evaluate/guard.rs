//! What lies outside the calibrated ranges: values of the float model, input or on the way, that there are no codes for.

use std::collections::BTreeMap;

use super::codes::Codes;
use super::judge::Slots;
use crate::ir::{FloatGraph, FloatTensor, Handle, QuantGraph, TensorInfo};
use crate::op::tensor::Values;

/// What of a tensor lies outside the range that it was calibrated to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outside {
    /// The tensor.
    pub tensor: String,
    /// Whether it is an input of the model.
    pub is_input: bool,
    /// The least value that there is a code for.
    pub low: f64,
    /// The greatest.
    pub high: f64,
    /// Share of the elements over all samples that lie beyond by more than a step.
    pub share: f64,
    /// Samples that have such elements.
    pub samples: usize,
    /// The value that lies farthest out; NaN where there is one.
    pub worst: f64,
    /// The first sample that has the worst value.
    pub worst_sample: usize,
}

/// Watches the float model's tensors that have codes in the quantized one.
pub(super) struct Guard<'g> {
    watched: Vec<Watched<'g>>,
    /// By the float model's tensors.
    places: Vec<Option<usize>>,
    /// Per sample, what lies outside.
    seen: Slots<Vec<Excess>>,
}

struct Watched<'g> {
    name: &'g str,
    is_input: bool,
    codes: Codes,
    elements: usize,
}

/// What lies outside in one tensor of one sample.
pub(super) struct Excess {
    place: usize,
    count: usize,
    worst: f64,
}

impl<'g> Guard<'g> {
    pub(super) fn new(float: &'g FloatGraph, quant: &QuantGraph, samples: usize) -> Self {
        let codes: BTreeMap<&str, Codes> = quant
            .tensors
            .iter()
            .filter(|(_, tensor)| tensor.data.is_none())
            .filter_map(|(_, tensor)| Some((tensor.name(), Codes::of(tensor)?)))
            .collect();
        let mut watched = Vec::new();
        let mut places = vec![None; float.tensors.len()];
        let outputs = float.nodes.iter().flat_map(|node| &node.outputs);
        let tensors = float.inputs.iter().map(|&input| (input, true));
        for (handle, is_input) in tensors.chain(outputs.map(|&output| (output, false))) {
            let tensor = &float.tensors[handle];
            if let Some(&codes) = codes.get(tensor.name())
                && tensor.ty.dtype.is_float()
            {
                places[handle.index()] = Some(watched.len());
                watched.push(Watched {
                    name: tensor.name(),
                    is_input,
                    codes,
                    elements: tensor.ty.len(),
                });
            }
        }
        Self {
            watched,
            places,
            seen: Slots::new(samples),
        }
    }

    /// Looks at a tensor of a sample.
    pub(super) fn look(&self, found: &mut Vec<Excess>, tensor: Handle<FloatTensor>, values: &Values) {
        let (Some(place), Some(values)) = (self.places[tensor.index()], values.as_f32()) else {
            return;
        };
        let codes = self.watched[place].codes;
        let (low, high) = codes.bounds();
        // What is not a number is outside too.
        let is_inside = |x: f32| (low..=high).contains(&f64::from(x));
        let count = values.iter().filter(|&&x| !is_inside(x)).count();
        if count > 0 {
            let outside = values.iter().filter(|&&x| !is_inside(x));
            let worst = outside.map(|&x| f64::from(x)).reduce(|a, b| worse(codes, a, b));
            found.push(Excess {
                place,
                count,
                worst: worst.unwrap_or(f64::NAN),
            });
        }
    }

    /// Keeps what was found in a sample.
    pub(super) fn put(&self, sample: usize, found: Vec<Excess>) {
        self.seen.put(sample, found);
    }

    /// The tensors that left their ranges, inputs first, in the order of the model.
    pub(super) fn report(&self) -> Vec<Outside> {
        let mut outside: Vec<Option<Outside>> = self.watched.iter().map(|_| None).collect();
        for (sample, found) in self.seen.iter().enumerate() {
            for excess in found {
                let watched = &self.watched[excess.place];
                let (low, high) = watched.codes.range();
                let all = outside[excess.place].get_or_insert_with(|| Outside {
                    tensor: watched.name.to_owned(),
                    is_input: watched.is_input,
                    low,
                    high,
                    share: 0.0,
                    samples: 0,
                    worst: excess.worst,
                    worst_sample: sample,
                });
                all.share += excess.count as f64;
                all.samples += 1;
                if is_worse(watched.codes, excess.worst, all.worst) {
                    all.worst = excess.worst;
                    all.worst_sample = sample;
                }
            }
        }
        let samples = self.seen.len();
        for (outside, watched) in outside.iter_mut().zip(&self.watched) {
            if let Some(outside) = outside {
                outside.share /= (watched.elements * samples) as f64;
            }
        }
        outside.into_iter().flatten().collect()
    }
}

/// How far a value lies from the range; what is not a number lies farthest.
fn distance(codes: Codes, value: f64) -> f64 {
    if value.is_nan() {
        f64::INFINITY
    } else {
        let (low, high) = codes.range();
        (low - value).max(value - high)
    }
}

fn is_worse(codes: Codes, value: f64, than: f64) -> bool {
    !than.is_nan() && (value.is_nan() || distance(codes, value) > distance(codes, than))
}

fn worse(codes: Codes, a: f64, b: f64) -> f64 {
    if is_worse(codes, b, a) { b } else { a }
}
