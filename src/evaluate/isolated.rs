//! What one layer's quantization costs by itself: the float model with the weights and the output of that layer alone
//! made int8 and real again, judged at the model's outputs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::{EvaluateError, Subject, decibel, spread};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node, Progress, QuantGraph, Samples, TensorInfo};
use crate::op::quant::{QuantParams, QuantTensor, Quantization};
use crate::op::tensor::{DType, Data, TensorType, Values};
use crate::op::{DequantizeLinear, Op, QuantizeLinear};
use crate::reference::Executor;

/// Below this ratio of signal to noise, in decibels, a quantized graph's weights are not those of the float graph.
const LEAST_DB: f64 = 6.0;

/// Signal to noise at the worst of the model's outputs, in decibels, by the tensor that a layer gives: of every layer
/// with int8 parameters, over `wanted` samples, spread evenly. Layers whose float twin has other weights are left out,
/// and so is every layer of a model that brings its own quantization.
///
/// # Errors
/// Where a sample cannot be read or the float model does not run.
pub(super) fn measure(
    subject: Subject<'_>,
    samples: &dyn Samples,
    wanted: usize,
    progress: Progress<'_>,
) -> Result<BTreeMap<String, f64>, EvaluateError> {
    let positions = spread(wanted, samples.len());
    let layers = layers(subject.float, subject.quant);
    if positions.is_empty() || layers.is_empty() {
        return Ok(BTreeMap::new());
    }
    let run = |executor: &Executor<'_>, sample: usize| -> Result<Vec<Vec<f64>>, EvaluateError> {
        let outputs = executor.run(&samples.get(sample)?)?;
        let reals = outputs.iter().filter(|output| output.data.dtype().is_float());
        Ok(reals.map(Values::to_f64).collect())
    };
    let executor = Executor::new(subject.float)?;
    let float: Vec<Vec<Vec<f64>>> = positions
        .par_iter()
        .map(|&sample| run(&executor, sample))
        .collect::<Result<_, _>>()?;
    drop(executor);
    let done = AtomicUsize::new(0);
    let measured: Vec<Option<f64>> = layers
        .par_iter()
        .map(|layer| {
            let graph = layer.alone(subject.float);
            let executor = Executor::new(&graph)?;
            let noise = positions
                .par_iter()
                .zip(&float)
                .map(|(&sample, float)| {
                    let outputs = run(&executor, sample)?;
                    Ok(outputs
                        .iter()
                        .zip(float)
                        .map(|(found, wanted)| Noise::of(found, wanted))
                        .collect())
                })
                .collect::<Result<Vec<Vec<Noise>>, EvaluateError>>()?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            progress("isolating layers", done, layers.len());
            Ok(worst(&noise))
        })
        .collect::<Result<_, EvaluateError>>()?;
    let named = layers.iter().zip(measured);
    Ok(named
        .filter_map(|(layer, db)| Some((layer.tensor.name.clone(), db?)))
        .collect())
}

/// A layer with parameters, in both graphs.
struct Layer<'q> {
    /// The node's place in the float graph.
    node: usize,
    /// What it gives, quantized.
    tensor: &'q QuantTensor,
    params: QuantParams,
    /// Inputs of the node that are constants, as the quantized graph has them.
    constants: Vec<(usize, Values)>,
}

/// The layers of a quantized graph that the float graph has too.
fn layers<'q>(float: &FloatGraph, quant: &'q QuantGraph) -> Vec<Layer<'q>> {
    // The float side of a quantized model holds the integers already.
    if float
        .nodes
        .iter()
        .any(|node| matches!(node.op, Op::QuantizeLinear(_)))
    {
        return Vec::new();
    }
    let producers: BTreeMap<&str, usize> = float
        .nodes
        .iter()
        .enumerate()
        .map(|(place, node)| (float.tensors[node.outputs[0]].name(), place))
        .collect();
    let layer = |node: &'q Node<QuantTensor>| {
        let tensor = &quant.tensors[node.outputs[0]];
        let params = tensor.params()?;
        let place = *producers.get(tensor.name())?;
        let twin = &float.nodes[place];
        let constants: Vec<(usize, Values)> = node
            .inputs
            .iter()
            .enumerate()
            .filter_map(|(position, &input)| Some((position, dequantized(&quant.tensors[input])?)))
            .collect();
        let is_twin = |(position, values): &(usize, Values)| {
            let input = twin.inputs.get(*position).map(|&input| &float.tensors[input]);
            input.is_some_and(|input| is_near(input, values))
        };
        let is_same = twin.inputs.len() == node.inputs.len() && constants.iter().all(is_twin);
        (is_same && !constants.is_empty()).then_some(Layer {
            node: place,
            tensor,
            params,
            constants,
        })
    };
    quant.nodes.iter().filter_map(layer).collect()
}

/// The reals that a quantized constant stands for; `None` of what is no constant or not quantized.
fn dequantized(tensor: &QuantTensor) -> Option<Values> {
    let codes = tensor.data.as_deref()?;
    let (axis, scales, zero_point) = match &tensor.quantization {
        Quantization::PerTensor(params) => (0, vec![params.scale], params.zero_point),
        Quantization::PerChannel { axis, scales } => (*axis, scales.clone(), 0),
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

/// Whether the float graph has these values but for quantization.
fn is_near(tensor: &FloatTensor, values: &Values) -> bool {
    let Some(wanted) = &tensor.data else {
        return false;
    };
    wanted.ty() == values.ty() && Noise::of(&values.to_f64(), &wanted.to_f64()).db() >= LEAST_DB
}

impl Layer<'_> {
    /// The float graph with this layer alone quantized.
    fn alone(&self, float: &FloatGraph) -> FloatGraph {
        let mut graph = float.clone();
        for (position, values) in &self.constants {
            let constant = graph.tensors.push(FloatTensor {
                name: format!("{}#{position}", self.tensor.name),
                ty: values.ty(),
                data: Some(Arc::new(values.clone())),
            });
            graph.nodes[self.node].inputs[*position] = constant;
        }
        let output = graph.nodes[self.node].outputs[0];
        let ty = graph.tensors[output].ty.clone();
        let name = |part: &str| format!("{}#{part}", self.tensor.name);
        let mut tensor = |part: &str, ty: TensorType, data: Option<Values>| {
            graph.tensors.push(FloatTensor {
                name: name(part),
                ty,
                data: data.map(Arc::new),
            })
        };
        let scale = Values::f32([1], vec![self.params.scale]);
        let zero_point = Values::new([1], Data::I8(vec![self.params.zero_point as i8]));
        let scale = tensor("scale", scale.ty(), Some(scale));
        let zero_point = tensor("zero_point", zero_point.ty(), Some(zero_point));
        let codes = tensor("codes", TensorType::new(DType::I8, ty.shape.clone()), None);
        let reals = tensor("reals", ty, None);
        let step = |op: Op, from: Handle<FloatTensor>, to: Handle<FloatTensor>| Node {
            name: self.tensor.name.clone(),
            op,
            inputs: vec![from, scale, zero_point],
            outputs: vec![to],
        };
        for input in graph.nodes[self.node + 1..]
            .iter_mut()
            .flat_map(|node| &mut node.inputs)
        {
            if *input == output {
                *input = reals;
            }
        }
        for graph_output in &mut graph.outputs {
            if *graph_output == output {
                *graph_output = reals;
            }
        }
        let steps = [
            step(Op::QuantizeLinear(QuantizeLinear { axis: 0 }), output, codes),
            step(Op::DequantizeLinear(DequantizeLinear { axis: 0 }), codes, reals),
        ];
        graph.nodes.splice(self.node + 1..self.node + 1, steps);
        graph
    }
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
