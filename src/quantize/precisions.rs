//! What every node of a graph computes in, and what follows for the tensors between them.

use super::Precision;
use super::params::{integer_params, passed_through};
use super::weight_form::WeightForm;
use crate::ir::{FloatGraph, FloatTensor, Handle, Node};
use crate::op::tensor::DType;
use crate::op::{BinaryKind, Op, OutputParams, ReduceKind};

/// The precision of every node, and of every tensor: that of the node which makes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Precisions {
    nodes: Vec<Precision>,
    tensors: Vec<Precision>,
}

impl Precisions {
    /// One `usual` precision, but where a node is `pinned` to another, by node. What only moves data stays with what made it,
    /// and an input of the graph comes in reals where nothing but reals are wanted of it.
    pub(super) fn of(graph: &FloatGraph, usual: Precision, pinned: &[Option<Precision>]) -> Self {
        let mut tensors = vec![usual; graph.tensors.len()];
        let wanted = wanted(graph, usual, pinned);
        for &input in &graph.inputs {
            tensors[input.index()] = if integer_params(graph.tensors[input].ty.dtype).is_some() {
                Precision::Int8
            } else {
                wanted[input.index()].unwrap_or(usual)
            };
        }
        let mut nodes = Vec::with_capacity(graph.nodes.len());
        for (position, node) in graph.nodes.iter().enumerate() {
            let moved = carried(graph, node);
            let precision = match (pinned.get(position).copied().flatten(), &moved[..]) {
                _ if passed_through(graph, node).is_some() => Precision::Int8,
                (Some(precision), _) => precision,
                (None, [first, rest @ ..]) => {
                    let precision = tensors[first.index()];
                    let agree = rest.iter().all(|tensor| tensors[tensor.index()] == precision);
                    if agree { precision } else { usual }
                }
                (None, []) => usual,
            };
            let precision = if precision == Precision::Int16x8 && !has_wide_form(graph, node) {
                Precision::F32
            } else {
                precision
            };
            for output in &node.outputs {
                tensors[output.index()] = precision;
            }
            nodes.push(precision);
        }
        Self { nodes, tensors }
    }

    /// Has nodes on int16 take int8 weights where int4 is wished for; says so.
    pub(super) fn settle_weights(&self, wished: &mut [WeightForm]) -> Option<String> {
        let mut settled = false;
        for (precision, wished) in self.nodes.iter().zip(wished) {
            if wished.is_int4() && *precision == Precision::Int16x8 {
                *wished = WeightForm::Int8;
                settled = true;
            }
        }
        settled.then(|| "layers on int16 keep int8 weights: int4 weights go with int8 alone".to_owned())
    }

    /// What has to be said of nodes on int16: which have no such form, and which functions come from tables.
    pub(super) fn notes(&self, graph: &FloatGraph) -> Vec<String> {
        if !self.nodes.contains(&Precision::Int16x8) {
            return Vec::new();
        }
        let is_without = |(node, precision): &(&Node<FloatTensor>, &Precision)| {
            **precision == Precision::F32 && !has_wide_form(graph, node)
        };
        let nodes = graph.nodes.iter().zip(&self.nodes);
        let without: Vec<String> = nodes
            .filter(is_without)
            .map(|(node, _)| format!("{} `{}`", node.op.name(), node.name))
            .collect();
        if without.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "computed in f32, having no int16 form: {}",
            without.join(", ")
        )]
    }

    /// Of the node at `position`.
    pub(super) fn node(&self, position: usize) -> Precision {
        self.nodes[position]
    }

    /// Of a tensor where it is made.
    pub(super) fn tensor(&self, tensor: Handle<FloatTensor>) -> Precision {
        self.tensors[tensor.index()]
    }
}

/// Whether an operator computes on int16.
fn has_wide_form(graph: &FloatGraph, node: &Node<FloatTensor>) -> bool {
    let constant = |position: usize| {
        node.inputs
            .get(position)
            .and_then(|&input| graph.tensors[input].data.as_ref())
    };
    let is_float = node
        .outputs
        .iter()
        .all(|&output| graph.tensors[output].ty.dtype == DType::F32);
    is_float
        && match &node.op {
            Op::Conv2d(_) | Op::ConvNd(_) | Op::Dense(_) => {
                constant(1).is_some() && (node.inputs.len() < 3 || constant(2).is_some())
            }
            Op::Binary(binary) => match binary.kind {
                BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul | BinaryKind::Min | BinaryKind::Max => {
                    true
                }
                BinaryKind::PRelu => constant(1).is_some_and(|slopes| slopes.data.len() == 1),
                BinaryKind::Div
                | BinaryKind::Pow
                | BinaryKind::Mod
                | BinaryKind::Fmod
                | BinaryKind::And
                | BinaryKind::Or
                | BinaryKind::Xor
                | BinaryKind::ShiftLeft
                | BinaryKind::ShiftRight => false,
            },
            Op::Reduce(reduce) => {
                let shape = &graph.tensors[node.inputs[0]].ty.shape;
                matches!(reduce.kind, ReduceKind::Mean | ReduceKind::Max) && reduce.run(shape).is_some()
            }
            Op::AveragePool(_)
            | Op::MaxPool(_)
            | Op::Unary(_)
            | Op::Concat(_)
            | Op::Delay(_)
            | Op::Expand(_)
            | Op::Gather(_)
            | Op::GatherElements(_)
            | Op::GatherNd(_)
            | Op::Pad(_)
            | Op::Reshape(_)
            | Op::Slice(_)
            | Op::Transpose(_)
            | Op::Trilu(_) => true,
            Op::Attention(_)
            | Op::BatchNormalization(_)
            | Op::BitCast(_)
            | Op::Cast(_)
            | Op::Compare(_)
            | Op::Cumulate(_)
            | Op::DequantizeLinear(_)
            | Op::DequantizeTo(_)
            | Op::GridSample(_)
            | Op::LayerNorm(_)
            | Op::Lookup(_)
            | Op::Lstm(_)
            | Op::MatMul(_)
            | Op::MaxPoolIndices(_)
            | Op::NarrowCast(_)
            | Op::NonMaxSuppression(_)
            | Op::NonZero(_)
            | Op::QuantizeLinear(_)
            | Op::QuantizeTo(_)
            | Op::Recurrent(_)
            | Op::Repeat(_)
            | Op::Resample(_)
            | Op::RoiAlign(_)
            | Op::Scatter(_)
            | Op::Select(_)
            | Op::Softmax(_)
            | Op::TfIdf(_)
            | Op::TopK(_)
            | Op::TreeEnsemble(_)
            | Op::Unique(_) => false,
        }
}

/// What all who compute with a tensor compute in, through what only moves it, by tensor; `usual` where they differ, `None` where
/// nobody does.
fn wanted(graph: &FloatGraph, usual: Precision, pinned: &[Option<Precision>]) -> Vec<Option<Precision>> {
    let mut wanted: Vec<Option<Precision>> = vec![None; graph.tensors.len()];
    for (position, node) in graph.nodes.iter().enumerate().rev() {
        let pinned = pinned.get(position).copied().flatten();
        let own = if pinned.is_none() && !carried(graph, node).is_empty() {
            node.outputs.first().and_then(|output| wanted[output.index()])
        } else {
            Some(pinned.unwrap_or(usual))
        };
        for input in &node.inputs {
            let all = &mut wanted[input.index()];
            *all = match (*all, own) {
                (Some(all), Some(own)) if all != own => Some(usual),
                (all, own) => all.or(own),
            };
        }
    }
    wanted
}

/// The reals that a node only moves; none of a node that computes.
pub(super) fn carried(graph: &FloatGraph, node: &Node<FloatTensor>) -> Vec<Handle<FloatTensor>> {
    let moved = match node.op.output_params() {
        OutputParams::SameAsInput(input) => &node.inputs[input..=input],
        OutputParams::Observed if matches!(node.op, Op::Concat(_)) => &node.inputs[..],
        OutputParams::Observed | OutputParams::Fixed(_) => &[],
    };
    let is_real = |tensor: &&Handle<FloatTensor>| {
        let tensor = &graph.tensors[**tensor];
        tensor.data.is_none() && tensor.ty.dtype == DType::F32
    };
    moved.iter().filter(is_real).copied().collect()
}
