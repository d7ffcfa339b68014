//! Groups of tensors between layers whose channels can be scaled together.

use std::collections::BTreeMap;

use super::scheme::Constants;
use super::steps::Step;
use crate::ir::{FloatGraph, FloatTensor, Handle, Node};
use crate::op::tensor::Values;
use crate::op::{BinaryKind, Clamp, Op, Pad, PadMode, ReduceKind, UnaryKind};

/// Tensors whose channels can be scaled together: all that makes them and all that reads them are layers, or nodes between
/// them that treat every channel alike and give back a multiple of what is multiplied.
pub(super) struct Group {
    pub(super) makers: Vec<usize>,
    pub(super) tensors: Vec<Handle<FloatTensor>>,
    /// Layers, and which of the tensors they read, by its place.
    pub(super) readers: Vec<(usize, usize)>,
    /// Whether one layer makes them, readers see no padding, and what lies between moves with a shift.
    pub(super) can_shift: bool,
}

/// What a node is to the tensors around it.
enum Part {
    /// It makes its output from weights, or scales it by channels.
    Maker,
    /// Its output is made of these inputs, channel by channel; whether it moves with a shift of those.
    Between(Vec<Handle<FloatTensor>>, bool),
    Other,
}

fn part(graph: &FloatGraph, node: &Node<FloatTensor>) -> Part {
    let first = || vec![node.inputs[0]];
    let is_open = |clamp: Clamp| clamp.max.is_none() && clamp.min.is_none_or(|min| min == 0.0);
    let channels = |tensor: Handle<FloatTensor>| graph.tensors[tensor].ty.shape.last().copied();
    let keeps_channels = channels(node.inputs[0]) == channels(node.outputs[0]);
    #[allow(clippy::wildcard_enum_match_arm, reason = "all other operators end a group")]
    match &node.op {
        op if clamp_of(op).is_some_and(is_open) && Constants::of(graph, node).is_some() => Part::Maker,
        Op::LayerNorm(_) if scale_of(graph, node).is_some() => Part::Maker,
        Op::Binary(binary) if binary.kind == BinaryKind::Add && is_open(binary.clamp) => {
            let types = node.inputs.iter().map(|&input| &graph.tensors[input]);
            let are_alike = types
                .clone()
                .all(|tensor| tensor.data.is_none() && tensor.ty == graph.tensors[node.outputs[0]].ty);
            if are_alike {
                Part::Between(node.inputs.clone(), false)
            } else {
                Part::Other
            }
        }
        Op::Binary(binary)
            if binary.kind == BinaryKind::PRelu
                && is_open(binary.clamp)
                && graph.tensors[node.inputs[1]].data.is_some() =>
        {
            Part::Between(first(), false)
        }
        Op::Unary(unary)
            if matches!(
                unary.kind,
                UnaryKind::Clamp(Clamp::RELU) | UnaryKind::LeakyRelu { .. }
            ) =>
        {
            Part::Between(first(), false)
        }
        Op::MaxPool(pool) if is_open(pool.clamp) => Part::Between(first(), pool.clamp.is_none()),
        Op::AveragePool(pool) if is_open(pool.clamp) => Part::Between(first(), false),
        Op::Pad(pad) if pad.mode == PadMode::Constant(0.0) && pads_no_channels(pad) => {
            Part::Between(first(), false)
        }
        Op::Reduce(reduce)
            if matches!(reduce.kind, ReduceKind::Mean | ReduceKind::Sum)
                && reduce
                    .axes
                    .iter()
                    .all(|&axis| axis + 1 < graph.tensors[node.inputs[0]].ty.shape.len()) =>
        {
            Part::Between(first(), false)
        }
        Op::Reshape(_) if keeps_channels => Part::Between(first(), true),
        _ => Part::Other,
    }
}

/// The groups of tensors that can be scaled together.
pub(super) fn groups(graph: &FloatGraph) -> Vec<Group> {
    let parts: Vec<Part> = graph.nodes.iter().map(|node| part(graph, node)).collect();
    let mut roots: Vec<usize> = (0..graph.tensors.len()).collect();
    for (node, part) in graph.nodes.iter().zip(&parts) {
        if let Part::Between(inputs, _) = part {
            let output = find(&mut roots, node.outputs[0].index());
            for input in inputs {
                let input = find(&mut roots, input.index());
                roots[input] = output;
            }
        }
    }
    let root_of: Vec<usize> = (0..roots.len()).map(|tensor| find(&mut roots, tensor)).collect();
    let mut is_closed = vec![true; roots.len()];
    let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
    for tensor in graph.inputs.iter().chain(&graph.outputs) {
        is_closed[root_of[tensor.index()]] = false;
    }
    for (position, (node, part)) in graph.nodes.iter().zip(&parts).enumerate() {
        for (index, &input) in node.inputs.iter().enumerate() {
            let root = root_of[input.index()];
            if matches!(part, Part::Between(inputs, _) if inputs.contains(&input))
                || graph.tensors[input].data.is_some()
            {
                continue;
            }
            let reads =
                matches!(node.op, Op::Conv2d(_) | Op::Dense(_)) && Constants::of(graph, node).is_some();
            if reads && index == 0 {
                let group = groups.entry(root).or_insert_with(Group::none);
                let place = group.place(input);
                group.readers.push((position, place));
                group.can_shift &= !matches!(&node.op, Op::Conv2d(conv) if conv.window.pads != [0; 4]);
            } else {
                is_closed[root] = false;
            }
        }
        let root = root_of[node.outputs[0].index()];
        let group = groups.entry(root).or_insert_with(Group::none);
        group.place(node.outputs[0]);
        match part {
            Part::Maker => group.makers.push(position),
            Part::Between(_, shifts) => group.can_shift &= shifts,
            Part::Other => is_closed[root] = false,
        }
    }
    let is_whole = |(root, group): (usize, Group)| {
        let channels = |tensor: &Handle<FloatTensor>| graph.tensors[*tensor].ty.shape.last().copied();
        let first = channels(group.tensors.first()?);
        let are_alike = group.tensors.iter().all(|tensor| channels(tensor) == first);
        (is_closed[root] && are_alike && !group.makers.is_empty() && !group.readers.is_empty())
            .then_some(group)
    };
    groups.into_iter().filter_map(is_whole).collect()
}

/// The one tensor that stands for all that are united with this one.
fn find(roots: &mut [usize], tensor: usize) -> usize {
    let mut root = tensor;
    while roots[root] != root {
        roots[root] = roots[roots[root]];
        root = roots[root];
    }
    root
}

/// The constants by which a layer normalization scales and shifts its channels, by input: scale and bias, or the scale alone;
/// `None` where it does not, or is none.
pub(super) fn scale_of<'g>(
    graph: &'g FloatGraph,
    node: &Node<FloatTensor>,
) -> Option<Vec<(usize, &'g [f32])>> {
    let Op::LayerNorm(norm) = &node.op else {
        return None;
    };
    let is_by_channel = norm.axis + 1 == graph.tensors[node.inputs[0]].ty.shape.len();
    let constants = node.inputs.iter().enumerate().skip(1).map(|(index, &input)| {
        let values = graph.tensors[input].data.as_deref().and_then(Values::as_f32)?;
        values
            .iter()
            .all(|value| value.is_finite())
            .then_some((index, values))
    });
    let constants = constants.collect::<Option<Vec<_>>>()?;
    (is_by_channel && !constants.is_empty()).then_some(constants)
}

/// The fused activation of a layer.
pub(super) fn clamp_of(op: &Op) -> Option<Clamp> {
    #[allow(clippy::wildcard_enum_match_arm, reason = "three operators have weights")]
    match op {
        Op::Conv2d(layer) => Some(layer.clamp),
        Op::ConvNd(layer) => Some(layer.clamp),
        Op::Dense(layer) => Some(layer.clamp),
        _ => None,
    }
}

impl Group {
    /// What makes the channels alike here: a step of its own where a layer normalization is among those that make them.
    pub(super) fn equalizing_step(&self, graph: &FloatGraph) -> Step {
        let is_norm = |&maker: &usize| matches!(graph.nodes[maker].op, Op::LayerNorm(_));
        if self.makers.iter().any(is_norm) {
            Step::SmoothActivations
        } else {
            Step::EqualizeChannels
        }
    }

    const fn none() -> Self {
        Self {
            makers: Vec::new(),
            tensors: Vec::new(),
            readers: Vec::new(),
            can_shift: true,
        }
    }

    /// The place of a tensor, which it gets if it has none.
    fn place(&mut self, tensor: Handle<FloatTensor>) -> usize {
        self.tensors
            .iter()
            .position(|&other| other == tensor)
            .unwrap_or_else(|| {
                self.tensors.push(tensor);
                self.tensors.len() - 1
            })
    }
}

/// Whether the channels keep their places.
fn pads_no_channels(pad: &Pad) -> bool {
    pad.before.last() == Some(&0) && pad.after.last() == Some(&0)
}
