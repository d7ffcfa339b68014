//! The float graph and its quantized meaning side by side, node by node, over a part of the samples: where rounding errors
//! come about is where they are mended.
//!
//! The quantized side is the reference executor's arithmetic over tensors that `QuantizeLinear` and `DequantizeLinear` left
//! on their grids: what the integers mean, but for rounding in f32.

use std::sync::Arc;

use rayon::prelude::*;

use super::mend::{self, Layer};
use super::params::on_grid;
use super::scheme::{Constants, Scheme, rounded_operands};
use super::steps::{Step, Steps};
use super::subset::Subset;
use super::{Precision, QuantizeError};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node, Progress, Samples};
use crate::op::tensor::Values;
use crate::reference::ReferenceError;

/// One tensor's values of all samples.
type All = Vec<Arc<Values>>;

/// A tensor on both sides.
#[derive(Clone)]
struct Sides {
    float: All,
    quantized: All,
}

/// Goes through the nodes in their order and mends the weights and biases of every layer, where that brings its results on
/// the quantized side closer to the float ones. Gives how many layers it mended.
///
/// Samples run in parallel and are judged in their order, so one thread and many decide alike.
pub(super) fn run(
    graph: &FloatGraph,
    scheme: &mut Scheme,
    subset: &Subset<'_>,
    steps: Steps,
    progress: Progress<'_>,
) -> Result<usize, QuantizeError> {
    let mends = steps.has(Step::ReconstructWeights) || steps.has(Step::CorrectBias);
    if !mends || subset.len() < mend::FEWEST_SAMPLES {
        return Ok(0);
    }
    let mut sweep = Sweep {
        graph,
        tensors: vec![None; graph.tensors.len()],
        count: subset.len(),
    };
    sweep.start(scheme, subset)?;
    let dead_after = dead_after(graph);
    let mut mended = 0;
    for (position, node) in graph.nodes.iter().enumerate() {
        mended += usize::from(sweep.step(scheme, position, node, steps)?);
        for dead in &dead_after[position] {
            sweep.tensors[dead.index()] = None;
        }
        progress("mending layers", position + 1, graph.nodes.len());
    }
    Ok(mended)
}

/// What rounding everything as `scheme` says loses of the outputs: for each the squared error in proportion to its square.
pub(super) fn loss(
    graph: &FloatGraph,
    scheme: &mut Scheme,
    subset: &Subset<'_>,
) -> Result<Vec<f64>, QuantizeError> {
    let mut sweep = Sweep {
        graph,
        tensors: vec![None; graph.tensors.len()],
        count: subset.len(),
    };
    sweep.start(scheme, subset)?;
    let dead_after = dead_after(graph);
    for (position, node) in graph.nodes.iter().enumerate() {
        sweep.step(scheme, position, node, Steps::NONE)?;
        for dead in dead_after[position]
            .iter()
            .filter(|dead| !graph.outputs.contains(dead))
        {
            sweep.tensors[dead.index()] = None;
        }
    }
    let loss = |output: &Handle<FloatTensor>| {
        let Some(sides) = &sweep.tensors[output.index()] else {
            return 0.0;
        };
        let (mut error, mut square) = (0.0, 0.0);
        for (float, quantized) in sides.float.iter().zip(&sides.quantized) {
            for (float, quantized) in float.to_f64().into_iter().zip(quantized.to_f64()) {
                error += (float - quantized) * (float - quantized);
                square += float * float;
            }
        }
        if error > 0.0 {
            error / f64::max(square, f64::MIN_POSITIVE)
        } else {
            0.0
        }
    };
    Ok(graph.outputs.iter().map(loss).collect())
}

struct Sweep<'g> {
    graph: &'g FloatGraph,
    tensors: Vec<Option<Sides>>,
    /// Samples.
    count: usize,
}

impl Sweep<'_> {
    fn start(&mut self, scheme: &Scheme, subset: &Subset<'_>) -> Result<(), QuantizeError> {
        let mut by_input: Vec<All> = vec![All::new(); self.graph.inputs.len()];
        for sample in 0..self.count {
            for (all, values) in by_input.iter_mut().zip(subset.get(sample)?) {
                all.push(Arc::new(values));
            }
        }
        for (&input, float) in self.graph.inputs.iter().zip(by_input) {
            let quantized = if scheme.precisions.tensor(input) != Precision::Int8 {
                float.clone()
            } else {
                self.rounded(scheme, input, float.clone())
            };
            self.tensors[input.index()] = Some(Sides { float, quantized });
        }
        Ok(())
    }

    /// Runs a node on both sides; tells whether it mended it.
    fn step(
        &mut self,
        scheme: &mut Scheme,
        position: usize,
        node: &Node<FloatTensor>,
        steps: Steps,
    ) -> Result<bool, QuantizeError> {
        // What int16 loses is nothing beside what int8 does.
        let precision = scheme.precisions.node(position);
        let is_real = precision != Precision::Int8;
        let float = self.eval(node, |sides| &sides.float, &[])?;
        let mut mended = false;
        let (mut replaced, mut reals) = (Vec::new(), Vec::new());
        if !is_real {
            reals = self.round_inputs(scheme, node);
            replaced = rounded_operands(self.graph, node);
        }
        let input = node.inputs.first();
        let input = input.and_then(|&input| scheme.params_in(precision, input));
        if let (Some(constants), Some(input), Some(weights)) =
            (Constants::of(self.graph, node), input, &scheme.layers[position])
            && let (Some(x), [float_out]) = (self.tensors[node.inputs[0].index()].as_ref(), &float[..])
        {
            let layer = Layer {
                node,
                constants,
                input_scale: input.scale,
                float_in: &x.float,
                quantized_in: &x.quantized,
                float_out,
            };
            let better = if steps == Steps::NONE {
                None
            } else {
                mend::better(&layer, weights, steps)?
            };
            mended = better.is_some();
            let weights = better.as_ref().unwrap_or(weights);
            replaced = weights.reals(constants.shape, input.scale).into();
            if mended {
                scheme.layers[position] = better;
            }
        }
        let quantized = self.eval(node, |sides| &sides.quantized, &replaced)?;
        for (input, all) in reals {
            if let Some(sides) = &mut self.tensors[input.index()] {
                sides.quantized = all;
            }
        }
        for ((&output, float), quantized) in node.outputs.iter().zip(float).zip(quantized) {
            let quantized = if is_real {
                quantized
            } else {
                self.rounded(scheme, output, quantized)
            };
            self.tensors[output.index()] = Some(Sides { float, quantized });
        }
        Ok(mended)
    }

    /// Rounds what a node in int8 reads of nodes in others. Gives the values as they were, for others that read them.
    fn round_inputs(&mut self, scheme: &Scheme, node: &Node<FloatTensor>) -> Vec<(Handle<FloatTensor>, All)> {
        let mut reals = Vec::new();
        for &input in &node.inputs {
            if scheme.precisions.tensor(input) == Precision::Int8 {
                continue;
            }
            if let Some(mut sides) = self.tensors[input.index()].take() {
                let rounded = self.rounded(scheme, input, sides.quantized.clone());
                reals.push((input, std::mem::replace(&mut sides.quantized, rounded)));
                self.tensors[input.index()] = Some(sides);
            }
        }
        reals.reverse();
        reals
    }

    /// The results of a node for all samples, by output. Some of its inputs are `replaced`, by index; there may be one
    /// more than it has.
    fn eval(
        &self,
        node: &Node<FloatTensor>,
        side: impl Fn(&Sides) -> &All + Sync,
        replaced: &[(usize, Arc<Values>)],
    ) -> Result<Vec<All>, QuantizeError> {
        let count = replaced.iter().map(|(index, _)| index + 1).max().unwrap_or(0);
        let operand = |index: usize, sample: usize| {
            let other = replaced.iter().find(|(position, _)| *position == index);
            let input = other.map(|(_, values)| &**values).or_else(|| {
                let &input = node.inputs.get(index)?;
                let known = self.graph.tensors[input].data.as_deref();
                known.or_else(|| Some(&*side(self.tensors[input.index()].as_ref()?)[sample]))
            });
            input.ok_or_else(|| ReferenceError::Unset {
                tensor: format!("input {index}"),
                reader: format!("node `{}`", node.name),
            })
        };
        let results: Vec<Result<Vec<Values>, ReferenceError>> = (0..self.count)
            .into_par_iter()
            .map(|sample| {
                let operands = (0..count.max(node.inputs.len())).map(|index| operand(index, sample));
                let operands: Vec<&Values> = operands.collect::<Result<_, _>>()?;
                node.op.eval(&operands).map_err(|source| ReferenceError::Node {
                    node: node.name.clone(),
                    operator: node.op.name(),
                    source,
                })
            })
            .collect();
        let mut outputs = vec![All::with_capacity(self.count); node.outputs.len()];
        for result in results {
            for (all, values) in outputs.iter_mut().zip(result?) {
                all.push(Arc::new(values));
            }
        }
        Ok(outputs)
    }

    /// A tensor behind its own `QuantizeLinear` and `DequantizeLinear`; as it is where it holds no reals.
    fn rounded(&self, scheme: &Scheme, tensor: Handle<FloatTensor>, all: All) -> All {
        let Some(params) = scheme.params[tensor.index()] else {
            return all;
        };
        let round = |values: Arc<Values>| match values.as_f32() {
            Some(reals) => Arc::new(Values::f32(values.shape.clone(), on_grid(reals, params))),
            None => values,
        };
        all.into_par_iter().map(round).collect()
    }
}

/// Per node, the tensors that no later node reads.
fn dead_after(graph: &FloatGraph) -> Vec<Vec<Handle<FloatTensor>>> {
    let mut dead_after = vec![Vec::new(); graph.nodes.len()];
    let mut seen = vec![false; graph.tensors.len()];
    for (position, node) in graph.nodes.iter().enumerate().rev() {
        for &tensor in node.inputs.iter().chain(&node.outputs) {
            if !std::mem::replace(&mut seen[tensor.index()], true) {
                dead_after[position].push(tensor);
            }
        }
    }
    dead_after
}
