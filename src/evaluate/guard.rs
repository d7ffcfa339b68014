//! What lies outside the calibrated ranges: values of the float model, input or on the way, that int8 has no codes for.

use std::collections::BTreeMap;

use super::judge::Slots;
use crate::ir::{FloatGraph, FloatTensor, Handle, QuantGraph, TensorInfo};
use crate::op::quant::QuantParams;
use crate::op::tensor::Values;

/// What of a tensor lies outside the range that it was calibrated to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outside {
    /// The tensor.
    pub tensor: String,
    /// Whether it is an input of the model.
    pub is_input: bool,
    /// The least value that int8 has a code for.
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

/// The range outside of which values count: a step beyond what the codes stand for, since rounding could lose as much.
pub(super) fn bounds(params: QuantParams) -> (f64, f64) {
    (real(params, -129), real(params, 128))
}

/// What a code stands for.
pub(super) fn real(params: QuantParams, code: i32) -> f64 {
    f64::from(code - params.zero_point) * f64::from(params.scale)
}

/// Watches the float model's tensors that are int8 in the quantized one.
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
    params: QuantParams,
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
        let params: BTreeMap<&str, QuantParams> = quant
            .tensors
            .iter()
            .filter(|(_, tensor)| tensor.data.is_none())
            .filter_map(|(_, tensor)| Some((tensor.name(), tensor.params()?)))
            .collect();
        let mut watched = Vec::new();
        let mut places = vec![None; float.tensors.len()];
        let outputs = float.nodes.iter().flat_map(|node| &node.outputs);
        let tensors = float.inputs.iter().map(|&input| (input, true));
        for (handle, is_input) in tensors.chain(outputs.map(|&output| (output, false))) {
            let tensor = &float.tensors[handle];
            if let Some(&params) = params.get(tensor.name())
                && tensor.ty.dtype.is_float()
            {
                places[handle.index()] = Some(watched.len());
                watched.push(Watched {
                    name: tensor.name(),
                    is_input,
                    params,
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
        let params = self.watched[place].params;
        let (low, high) = bounds(params);
        // What is not a number is outside too.
        let is_inside = |x: f32| (low..=high).contains(&f64::from(x));
        let count = values.iter().filter(|&&x| !is_inside(x)).count();
        if count > 0 {
            let outside = values.iter().filter(|&&x| !is_inside(x));
            let worst = outside.map(|&x| f64::from(x)).reduce(|a, b| worse(params, a, b));
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
                let all = outside[excess.place].get_or_insert_with(|| Outside {
                    tensor: watched.name.to_owned(),
                    is_input: watched.is_input,
                    low: real(watched.params, -128),
                    high: real(watched.params, 127),
                    share: 0.0,
                    samples: 0,
                    worst: excess.worst,
                    worst_sample: sample,
                });
                all.share += excess.count as f64;
                all.samples += 1;
                if is_worse(watched.params, excess.worst, all.worst) {
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
fn distance(params: QuantParams, value: f64) -> f64 {
    if value.is_nan() {
        f64::INFINITY
    } else {
        (real(params, -128) - value).max(value - real(params, 127))
    }
}

fn is_worse(params: QuantParams, value: f64, than: f64) -> bool {
    !than.is_nan() && (value.is_nan() || distance(params, value) > distance(params, than))
}

fn worse(params: QuantParams, a: f64, b: f64) -> f64 {
    if is_worse(params, b, a) { b } else { a }
}
