//! What one place's quantization costs by itself: the float model with the weights and the output of that place alone
//! made int8 and real again, judged at the model's outputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::codes::Codes;
use super::{EvaluateError, Subject, decibel};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node, Samples, TensorInfo};
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::tensor::{DType, Data, TensorType, Values};
use crate::op::{DequantizeLinear, Op, QuantizeLinear};
use crate::reference::Executor;

/// Below this ratio of signal to noise, in decibels, a quantized graph's weights are not those of the float graph.
const LEAST_DB: f64 = 6.0;

/// A tensor that has codes in the quantized graph and real in the float one: an input of the model, or what a node gives.
pub(super) struct Place<'q> {
    /// What it is in the quantized graph.
    pub(super) tensor: &'q QuantTensor,
    pub(super) codes: Codes,
    /// What it is in the float graph.
    pub(super) handle: Handle<FloatTensor>,
    /// The node that gives it, in the float graph; `None` of an input.
    pub(super) node: Option<usize>,
    /// Inputs of the node that are quantized constants.
    pub(super) constants: Vec<Constant<'q>>,
}

/// A quantized constant.
pub(super) struct Constant<'q> {
    /// Which input of its node it is.
    pub(super) position: usize,
    /// As the quantized graph has it.
    pub(super) tensor: &'q QuantTensor,
    /// The reals that it stands for.
    pub(super) values: Values,
}

/// What of a place is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Its node's weights and bias.
    Constants,
    /// The tensor itself.
    Output,
    /// Both.
    All,
}

/// The places of a quantized graph that the float graph has too, inputs first, in the order of the nodes. Those whose
/// float twin has other weights are left out, and there are none in a model that brings its own quantization.
pub(super) fn places<'q>(subject: Subject<'q>) -> Vec<Place<'q>> {
    let (float, quant) = (subject.float, subject.quant);
    // The float side of a quantized model holds the integers already.
    if float
        .nodes
        .iter()
        .any(|node| matches!(node.op, Op::QuantizeLinear(_)))
    {
        return Vec::new();
    }
    let inputs = float
        .inputs
        .iter()
        .zip(&quant.inputs)
        .filter_map(|(&handle, &input)| {
            let tensor = &quant.tensors[input];
            let is_real = float.tensors[handle].ty.dtype == DType::F32;
            is_real.then_some(Place {
                tensor,
                codes: Codes::of(tensor)?,
                handle,
                node: None,
                constants: Vec::new(),
            })
        });
    let producers: BTreeMap<&str, usize> = float
        .nodes
        .iter()
        .enumerate()
        .map(|(place, node)| (float.tensors[node.outputs[0]].name(), place))
        .collect();
    let place = |node: &'q Node<QuantTensor>| {
        let tensor = &quant.tensors[node.outputs[0]];
        let codes = Codes::of(tensor)?;
        let place = *producers.get(tensor.name())?;
        let twin = &float.nodes[place];
        let handle = twin.outputs[0];
        let constants: Vec<Constant<'q>> = node
            .inputs
            .iter()
            .enumerate()
            .filter_map(|(position, &input)| {
                let tensor = &quant.tensors[input];
                let values = dequantized(tensor)?;
                Some(Constant {
                    position,
                    tensor,
                    values,
                })
            })
            .collect();
        let is_twin = |constant: &Constant<'_>| {
            let input = twin
                .inputs
                .get(constant.position)
                .map(|&input| &float.tensors[input]);
            input.is_some_and(|input| is_near(input, &constant.values))
        };
        let is_same = float.tensors[handle].ty.dtype == DType::F32
            && twin.inputs.len() == node.inputs.len()
            && constants.iter().all(is_twin);
        is_same.then_some(Place {
            tensor,
            codes,
            handle,
            node: Some(place),
            constants,
        })
    };
    inputs.chain(quant.nodes.iter().filter_map(place)).collect()
}

/// The reals that a quantized constant stands for; `None` of what is no constant or not quantized.
fn dequantized(tensor: &QuantTensor) -> Option<Values> {
    let codes = tensor.data.as_deref()?;
    let (axis, scales, zero_point) = match &tensor.quantization {
        Quantization::PerTensor(params) => (0, vec![params.scale], params.zero_point),
        Quantization::PerChannel { axis: 0, scales } if matches!(codes.data.dtype(), DType::Narrow(_)) => {
            let whole = codes.data.len().max(1);
            return Some(of_blocks(codes, scales, whole, &vec![1; scales.len()]));
        }
        Quantization::PerChannel { axis, scales } => (*axis, scales.clone(), 0),
        Quantization::PerBlock {
            scales,
            block,
            factors,
        } => return Some(of_blocks(codes, scales, *block, factors)),
        Quantization::Plain => return None,
    };
    let count = scales.len();
    let zero_points = Data::I32(vec![zero_point; count]).cast(codes.data.dtype());
    let operands = [
        codes,
        &Values::f32([count], scales),
        &Values::new([count], zero_points),
    ];
    let reals = Op::DequantizeLinear(DequantizeLinear { axis }).eval(&operands);
    reals.ok()?.into_iter().next()
}

/// The reals of codes in blocks.
fn of_blocks(codes: &Values, scales: &[f32], block: usize, factors: &[u8]) -> Values {
    let row = codes.data.len() / scales.len().max(1);
    let blocks = row.div_ceil(block.max(1));
    let real = |(i, code): (usize, f64)| {
        let (channel, place) = (i / row.max(1), i % row.max(1));
        let factor = factors[channel * blocks + place / block.max(1)];
        (code * f64::from(scales[channel]) * f64::from(factor)) as f32
    };
    let reals = codes.to_f64().into_iter().enumerate().map(real);
    Values::f32(codes.shape.clone(), reals.collect())
}

/// Whether the float graph has these values but for quantization.
fn is_near(tensor: &FloatTensor, values: &Values) -> bool {
    let Some(wanted) = &tensor.data else {
        return false;
    };
    wanted.ty() == values.ty() && Noise::of(&values.to_f64(), &wanted.to_f64()).db() >= LEAST_DB
}

/// The float model's outputs on some samples, and what becomes of them where one place is quantized.
pub(super) struct Trial<'t> {
    float: &'t FloatGraph,
    samples: &'t dyn Samples,
    /// Which samples.
    positions: Vec<usize>,
    /// The reals of all outputs, per sample.
    wanted: Vec<Vec<Vec<f64>>>,
}

impl<'t> Trial<'t> {
    /// # Errors
    /// Where a sample cannot be read or the float model does not run.
    pub(super) fn new(
        float: &'t FloatGraph,
        samples: &'t dyn Samples,
        positions: Vec<usize>,
    ) -> Result<Self, EvaluateError> {
        let executor = Executor::new(float)?;
        let wanted = positions
            .par_iter()
            .map(|&sample| run(&executor, samples, sample))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            float,
            samples,
            positions,
            wanted,
        })
    }

    /// Signal to noise in decibels where a part of a place alone is quantized, at the worst of the model's outputs,
    /// each taken over all samples; `None` where no output is real.
    ///
    /// # Errors
    /// Where a sample cannot be read or the float model does not run.
    pub(super) fn cost(&self, place: &Place<'_>, part: Part) -> Result<Option<f64>, EvaluateError> {
        let graph = alone(self.float, place, part);
        let executor = Executor::new(&graph)?;
        let noise = self
            .positions
            .par_iter()
            .zip(&self.wanted)
            .map(|(&sample, wanted)| {
                let found = run(&executor, self.samples, sample)?;
                let outputs = found.iter().zip(wanted);
                Ok(outputs.map(|(found, wanted)| Noise::of(found, wanted)).collect())
            })
            .collect::<Result<Vec<Vec<Noise>>, EvaluateError>>()?;
        Ok(worst(&noise))
    }
}

/// The reals of all outputs.
fn run(
    executor: &Executor<'_>,
    samples: &dyn Samples,
    sample: usize,
) -> Result<Vec<Vec<f64>>, EvaluateError> {
    let outputs = executor.run(&samples.get(sample)?)?;
    let reals = outputs.iter().filter(|output| output.data.dtype().is_float());
    Ok(reals.map(Values::to_f64).collect())
}

/// The float graph with a part of a place quantized.
fn alone(float: &FloatGraph, place: &Place<'_>, part: Part) -> FloatGraph {
    let mut graph = float.clone();
    if let (Some(node), Part::Constants | Part::All) = (place.node, part) {
        for Constant { position, values, .. } in &place.constants {
            let constant = graph.tensors.push(FloatTensor {
                name: format!("{}#{position}", place.tensor.name),
                ty: values.ty(),
                data: Some(Arc::new(values.clone())),
            });
            graph.nodes[node].inputs[*position] = constant;
        }
    }
    if matches!(part, Part::Output | Part::All) {
        round(&mut graph, place);
    }
    graph
}

/// Puts a quantize and a dequantize step between a tensor and all who read it.
fn round(graph: &mut FloatGraph, place: &Place<'_>) {
    let ty = graph.tensors[place.handle].ty.clone();
    let mut tensor = |part: &str, ty: TensorType, data: Option<Values>| {
        graph.tensors.push(FloatTensor {
            name: format!("{}#{part}", place.tensor.name),
            ty,
            data: data.map(Arc::new),
        })
    };
    let scale = Values::f32([1], vec![place.codes.scale()]);
    let zero_point = Values::new([1], place.codes.zero_point());
    let scale = tensor("scale", scale.ty(), Some(scale));
    let zero_point = tensor("zero_point", zero_point.ty(), Some(zero_point));
    let codes = tensor(
        "codes",
        TensorType::new(place.codes.dtype(), ty.shape.clone()),
        None,
    );
    let reals = tensor("reals", ty, None);
    let behind = place.node.map_or(0, |node| node + 1);
    let readers = graph.nodes[behind..].iter_mut().flat_map(|node| &mut node.inputs);
    for reader in readers.chain(&mut graph.outputs) {
        if *reader == place.handle {
            *reader = reals;
        }
    }
    let step = |op: Op, from: Handle<FloatTensor>, to: Handle<FloatTensor>| Node {
        name: place.tensor.name.clone(),
        op,
        inputs: vec![from, scale, zero_point],
        outputs: vec![to],
    };
    let steps = [
        step(
            Op::QuantizeLinear(QuantizeLinear { axis: 0 }),
            place.handle,
            codes,
        ),
        step(Op::DequantizeLinear(DequantizeLinear { axis: 0 }), codes, reals),
    ];
    graph.nodes.splice(behind..behind, steps);
}

/// Energies of a signal and of what disturbs it.
#[derive(Clone, Copy, Debug, Default)]
struct Noise {
    signal: f64,
    noise: f64,
}

impl Noise {
    fn of(found: &[f64], wanted: &[f64]) -> Self {
        let signal = wanted.iter().map(|x| x * x).sum();
        let noise = found.iter().zip(wanted).map(|(x, y)| (x - y) * (x - y)).sum();
        Self { signal, noise }
    }

    fn db(self) -> f64 {
        decibel(self.signal, self.noise)
    }
}

/// The ratio at the worst output, each taken over all samples; `None` without outputs.
fn worst(samples: &[Vec<Noise>]) -> Option<f64> {
    let outputs = samples.first()?.len();
    let of = |output: usize| {
        let all = samples.iter().map(|sample| sample[output]);
        let sum = all.fold(Noise::default(), |sum, noise| Noise {
            signal: sum.signal + noise.signal,
            noise: sum.noise + noise.noise,
        });
        sum.db()
    };
    (0..outputs).map(of).reduce(f64::min)
}
