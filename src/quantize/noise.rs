//! What rounding one tensor, or the constants of one node, does to the outputs of a model that computes in reals otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::params::on_grid;
use super::scheme::{Constants, Scheme, rounded_operands};
use super::subset::Subset;
use super::{Precision, QuantizeError};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node, Progress, Samples};
use crate::op::tensor::Values;
use crate::reference::{Executor, ReferenceError};

/// Squared errors of the outputs in proportion to the outputs' squares: one number per output.
pub(super) type Shares = Vec<f64>;

/// Noise by where it comes about.
pub(super) struct Noise {
    /// Of rounding a tensor, by tensor; empty of one that is not rounded.
    pub(super) tensors: Vec<Shares>,
    /// Of rounding a node's constants, by node; empty of a node without any.
    pub(super) constants: Vec<Shares>,
}

/// Somewhere that noise comes about.
#[derive(Clone, Copy, Debug)]
enum Place {
    Tensor(Handle<FloatTensor>),
    Constants(usize),
}

/// Measures every place by itself over the samples of `subset`, as many as `macs` multiply-accumulates allow, but one at least.
///
/// Places run in parallel; the errors of each are summed in the samples' order.
pub(super) fn measure(
    graph: &FloatGraph,
    scheme: &Scheme,
    subset: &Subset<'_>,
    macs: u64,
    progress: Progress<'_>,
) -> Result<Noise, QuantizeError> {
    let executor = Executor::new(graph)?;
    let places = places(graph, scheme);
    // On average half of the nodes stand behind a place.
    let of_sample = graph.macs().max(1).saturating_mul(places.len() as u64 / 2 + 1);
    let affordable = usize::try_from(macs / of_sample).unwrap_or(usize::MAX);
    let samples = subset.len().min(affordable.max(1));
    let mut errors = vec![vec![0.0; graph.outputs.len()]; places.len()];
    let mut squares = vec![0.0; graph.outputs.len()];
    for sample in 0..samples {
        let mut values: Vec<Option<Arc<Values>>> = graph
            .tensors
            .iter()
            .map(|(_, tensor)| tensor.data.clone())
            .collect();
        executor.observe(&subset.get(sample)?, &mut |tensor, seen| {
            values[tensor.index()] = Some(Arc::new(seen.clone()));
        })?;
        let run = Run {
            graph,
            scheme,
            values,
        };
        for (square, &output) in squares.iter_mut().zip(&graph.outputs) {
            *square += run.reals(output).iter().map(|x| x * x).sum::<f64>();
        }
        let found: Vec<Result<Shares, QuantizeError>> =
            places.par_iter().map(|&place| run.errors(place)).collect();
        for (sums, found) in errors.iter_mut().zip(found) {
            for (sum, error) in sums.iter_mut().zip(found?) {
                *sum += error;
            }
        }
        progress("measuring what rounding costs", sample + 1, samples);
    }
    let mut noise = Noise {
        tensors: vec![Shares::new(); graph.tensors.len()],
        constants: vec![Shares::new(); graph.nodes.len()],
    };
    for (place, errors) in places.into_iter().zip(errors) {
        let share = |(&error, &square): (&f64, &f64)| {
            if error > 0.0 {
                error / square.max(f64::MIN_POSITIVE)
            } else {
                0.0
            }
        };
        let shares = errors.iter().zip(&squares).map(share).collect();
        match place {
            Place::Tensor(tensor) => noise.tensors[tensor.index()] = shares,
            Place::Constants(position) => noise.constants[position] = shares,
        }
    }
    Ok(noise)
}

fn places(graph: &FloatGraph, scheme: &Scheme) -> Vec<Place> {
    let nodes = graph.nodes.iter().enumerate();
    let nodes = nodes.filter(|&(position, _)| scheme.precisions.node(position) != Precision::F32);
    let made = nodes.clone().flat_map(|(_, node)| &node.outputs);
    let tensors = graph
        .inputs
        .iter()
        .chain(made)
        .filter(|tensor| scheme.params[tensor.index()].is_some());
    let constants = nodes.filter(|(_, node)| {
        node.inputs
            .iter()
            .any(|&input| graph.tensors[input].data.is_some())
    });
    let constants = constants.map(|(position, _)| Place::Constants(position));
    tensors
        .map(|&tensor| Place::Tensor(tensor))
        .chain(constants)
        .collect()
}

/// One sample in reals.
struct Run<'g> {
    graph: &'g FloatGraph,
    scheme: &'g Scheme,
    /// By tensor.
    values: Vec<Option<Arc<Values>>>,
}

impl Run<'_> {
    fn reals(&self, tensor: Handle<FloatTensor>) -> Vec<f64> {
        self.values[tensor.index()]
            .as_deref()
            .map(Values::to_f64)
            .unwrap_or_default()
    }

    /// The squared error of each output where one place is rounded.
    fn errors(&self, place: Place) -> Result<Shares, QuantizeError> {
        // What differs from the run in reals, by tensor.
        let mut changed: BTreeMap<usize, Values> = BTreeMap::new();
        let first = match place {
            Place::Tensor(tensor) => {
                if let (Some(values), Some(params)) =
                    (&self.values[tensor.index()], self.scheme.params[tensor.index()])
                    && let Some(reals) = values.as_f32()
                {
                    changed.insert(
                        tensor.index(),
                        Values::f32(values.shape.clone(), on_grid(reals, params)),
                    );
                }
                0
            }
            Place::Constants(position) => {
                let node = &self.graph.nodes[position];
                let rounded = self.rounded_constants(position, node);
                if !rounded.is_empty() {
                    self.step(node, &mut changed, &rounded)?;
                }
                position + 1
            }
        };
        for node in &self.graph.nodes[first..] {
            if node
                .inputs
                .iter()
                .any(|input| changed.contains_key(&input.index()))
            {
                self.step(node, &mut changed, &[])?;
            }
        }
        let error = |&output: &Handle<FloatTensor>| {
            let Some(values) = changed.get(&output.index()) else {
                return 0.0;
            };
            let differences = values
                .to_f64()
                .into_iter()
                .zip(self.reals(output))
                .map(|(rounded, real)| rounded - real);
            differences.map(|difference| difference * difference).sum()
        };
        Ok(self.graph.outputs.iter().map(error).collect())
    }

    /// Runs a node over what has changed, with some of its inputs `replaced`.
    fn step(
        &self,
        node: &Node<FloatTensor>,
        changed: &mut BTreeMap<usize, Values>,
        replaced: &[(usize, Arc<Values>)],
    ) -> Result<(), QuantizeError> {
        let count = replaced.iter().map(|(index, _)| index + 1).max().unwrap_or(0);
        let operand = |index: usize| {
            let other = replaced.iter().find(|(position, _)| *position == index);
            let input = other.map(|(_, values)| &**values).or_else(|| {
                let input = node.inputs.get(index)?.index();
                changed.get(&input).or(self.values[input].as_deref())
            });
            input.ok_or_else(|| ReferenceError::Unset {
                tensor: format!("input {index}"),
                reader: format!("node `{}`", node.name),
            })
        };
        let operands: Vec<&Values> = (0..count.max(node.inputs.len()))
            .map(operand)
            .collect::<Result<_, _>>()?;
        let outputs = node.op.eval(&operands).map_err(|source| ReferenceError::Node {
            node: node.name.clone(),
            operator: node.op.name(),
            source,
        })?;
        for (&output, values) in node.outputs.iter().zip(outputs) {
            // Clamps, maxima and saturation stop noise.
            if self.values[output.index()].as_deref() != Some(&values) {
                changed.insert(output.index(), values);
            }
        }
        Ok(())
    }

    /// The constants of a node as integers leave them.
    fn rounded_constants(&self, position: usize, node: &Node<FloatTensor>) -> Vec<(usize, Arc<Values>)> {
        if let Some(weights) = &self.scheme.layers[position]
            && let Some(constants) = Constants::of(self.graph, node)
            && let Some(input) = self.scheme.params[node.inputs[0].index()]
        {
            return weights.reals(constants.shape, input.scale).into();
        }
        rounded_operands(self.graph, node)
    }
}
