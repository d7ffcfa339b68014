//! Which nodes to compute in reals first, where all of them in integers lose too much.
//!
//! Noise of different places adds up, being independent of each other: what a mix of precisions loses is the sum of what its
//! rounded tensors and constants lose one by one. A tensor is not rounded where all that make and read it compute in reals,
//! so nodes change together with their neighbours; of all such steps the one that saves most for what it costs comes first.

use super::Precision;
use super::noise::{Noise, Shares};
use super::precisions::{Precisions, carried};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node};
use crate::op::tensor::Values;

/// A step from integers to reals.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// The nodes that compute in reals from here on, by position.
    pub nodes: Vec<usize>,
    /// What the graph is expected to lose with this step and all before it: for each output the squared error in proportion to
    /// the output's square.
    pub noise: Vec<f64>,
}

/// How much less noise counts that is allowed.
const ALLOWED: f64 = 1e-3;

/// The steps from integers to reals, until nothing is left to gain. What brings outputs that lose more than `allowed` nearer
/// to it comes first.
pub(super) fn rungs(graph: &FloatGraph, precisions: &Precisions, noise: &Noise, allowed: f64) -> Vec<Rung> {
    let mut state = State::new(graph, precisions, noise, allowed);
    let computes = |position: &usize| carried(graph, &graph.nodes[*position]).is_empty();
    let singles = (0..graph.nodes.len()).filter(computes).map(|node| vec![node]);
    let stars = state.classes.iter().map(|class| class.around().collect());
    let mut moves: Vec<Vec<usize>> = singles.chain(stars).collect();
    let mut rungs = Vec::new();
    loop {
        for step in &mut moves {
            step.retain(|&node| !state.is_real[node]);
        }
        moves.retain(|step| !step.is_empty());
        let gains = moves.iter().map(|step| state.gain(step));
        let best = gains
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let Some((best, _)) = best.filter(|&(_, gain)| gain > 0.0) else {
            return rungs;
        };
        let mut nodes = moves.swap_remove(best);
        nodes.sort_unstable();
        nodes.dedup();
        state.take(&nodes);
        rungs.push(Rung {
            nodes,
            noise: state.noise.clone(),
        });
    }
}

/// A tensor that is rounded or not, with those that hold the same numbers moved.
#[derive(Clone, Debug, Default)]
struct Class {
    /// The node that makes it; `None` of an input.
    maker: Option<usize>,
    /// The nodes that compute with it.
    readers: Vec<usize>,
    /// What rounding it adds to each output.
    noise: Shares,
}

impl Class {
    fn around(&self) -> impl Iterator<Item = usize> {
        self.maker.into_iter().chain(self.readers.iter().copied())
    }
}

struct State {
    classes: Vec<Class>,
    /// The classes around each node.
    of_node: Vec<Vec<usize>>,
    /// By node, what rounding its constants adds to each output.
    constants: Vec<Shares>,
    /// By node, what reals cost more than integers: in parts of the model's work, weights and tensors.
    costs: Vec<f64>,
    is_real: Vec<bool>,
    /// What each output loses now.
    noise: Vec<f64>,
    allowed: f64,
}

impl State {
    fn new(graph: &FloatGraph, precisions: &Precisions, noise: &Noise, allowed: f64) -> Self {
        let classes = classes(graph, noise);
        let mut of_node = vec![Vec::new(); graph.nodes.len()];
        for (index, class) in classes.iter().enumerate() {
            for node in class.around() {
                of_node[node].push(index);
            }
        }
        let mut sum = vec![0.0; graph.outputs.len()];
        let nodes = 0..graph.nodes.len();
        let is_real: Vec<bool> = nodes
            .map(|position| precisions.node(position) == Precision::F32)
            .collect();
        let mut state = Self {
            of_node,
            constants: noise.constants.clone(),
            costs: costs(graph),
            noise: Vec::new(),
            allowed,
            is_real,
            classes,
        };
        let rounded = state
            .classes
            .iter()
            .filter(|class| !state.is_unrounded(class, &[]));
        for shares in rounded.map(|class| &class.noise).chain(&state.constants) {
            sum.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
        }
        state.noise = sum;
        state
    }

    /// Whether all around a tensor computes in reals, `step` included.
    fn is_unrounded(&self, class: &Class, step: &[usize]) -> bool {
        class
            .around()
            .all(|node| self.is_real[node] || step.contains(&node))
    }

    /// What each output loses with a step.
    fn after(&self, step: &[usize]) -> Vec<f64> {
        let mut touched: Vec<usize> = step
            .iter()
            .flat_map(|&node| &self.of_node[node])
            .copied()
            .collect();
        touched.sort_unstable();
        touched.dedup();
        let classes = touched.into_iter().map(|index| &self.classes[index]);
        let freed = classes
            .filter(|class| self.is_unrounded(class, step))
            .map(|class| &class.noise);
        let constants = step.iter().map(|&node| &self.constants[node]);
        let mut noise = self.noise.clone();
        for shares in freed.chain(constants) {
            noise
                .iter_mut()
                .zip(shares)
                .for_each(|(noise, share)| *noise = (*noise - share).max(0.0));
        }
        noise
    }

    /// What is too much, and a little of what is not.
    fn excess(&self, noise: &[f64]) -> f64 {
        let parts = noise.iter().map(|noise| noise / self.allowed);
        parts.map(|part| part.max(1.0) + ALLOWED * part.min(1.0)).sum()
    }

    /// What a step saves for what it costs.
    fn gain(&self, step: &[usize]) -> f64 {
        let cost: f64 = step.iter().map(|&node| self.costs[node]).sum();
        (self.excess(&self.noise) - self.excess(&self.after(step))) / cost
    }

    fn take(&mut self, step: &[usize]) {
        self.noise = self.after(step);
        for &node in step {
            self.is_real[node] = true;
        }
    }
}

/// Every tensor that is rounded, with the nodes that make it and compute with it, through what only moves it.
fn classes(graph: &FloatGraph, noise: &Noise) -> Vec<Class> {
    let mut of_tensor: Vec<Option<usize>> = vec![None; graph.tensors.len()];
    let mut classes: Vec<Class> = Vec::new();
    let mut add = |tensor: Handle<FloatTensor>, maker: Option<usize>, of_tensor: &mut Vec<Option<usize>>| {
        let noise = &noise.tensors[tensor.index()];
        if !noise.is_empty() {
            of_tensor[tensor.index()] = Some(classes.len());
            classes.push(Class {
                maker,
                readers: Vec::new(),
                noise: noise.clone(),
            });
        }
    };
    for &input in &graph.inputs {
        add(input, None, &mut of_tensor);
    }
    let mut readers: Vec<(usize, usize)> = Vec::new();
    for (position, node) in graph.nodes.iter().enumerate() {
        let moved = carried(graph, node);
        if let [moved] = moved[..] {
            for output in &node.outputs {
                of_tensor[output.index()] = of_tensor[moved.index()];
            }
            continue;
        }
        let read = node.inputs.iter().filter_map(|input| of_tensor[input.index()]);
        readers.extend(read.map(|class| (class, position)));
        for &output in &node.outputs {
            add(output, Some(position), &mut of_tensor);
        }
    }
    for (class, reader) in readers {
        if !classes[class].readers.contains(&reader) {
            classes[class].readers.push(reader);
        }
    }
    classes
}

/// What reals cost a node more than integers, in parts of the whole model: four times the work, four times the bytes.
fn costs(graph: &FloatGraph) -> Vec<f64> {
    let of = |node: &Node<FloatTensor>| -> [f64; 3] {
        let weights = node
            .inputs
            .iter()
            .filter_map(|&input| graph.tensors[input].data.as_deref());
        let weights: usize = weights.map(|values: &Values| values.data.len()).sum();
        let outputs = node.outputs.iter().map(|&output| graph.tensors[output].ty.len());
        [
            graph.node_macs(node) as f64,
            weights as f64,
            outputs.sum::<usize>() as f64,
        ]
    };
    let all: Vec<[f64; 3]> = graph.nodes.iter().map(of).collect();
    let total = all.iter().fold([1.0; 3], |mut total, parts| {
        total
            .iter_mut()
            .zip(parts)
            .for_each(|(total, part)| *total += part);
        total
    });
    // Every conversion costs something, even where there is nothing to compute.
    let least = 1.0 / (1.0 + all.len() as f64);
    all.iter()
        .map(|parts| {
            least
                + parts
                    .iter()
                    .zip(total)
                    .map(|(part, total)| part / total)
                    .sum::<f64>()
        })
        .collect()
}
