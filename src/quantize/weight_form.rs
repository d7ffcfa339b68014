//! What the weights of a layer are stored as.

use std::str::FromStr;

use crate::ir::{FloatGraph, FloatTensor, Node};
use crate::op::Op;

/// The integers that stand for a layer's weights, and how many of them share a scale. Their zero point is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightForm {
    /// int8, one scale per output channel.
    #[default]
    Int8,
    /// int8, one scale for all weights of a layer.
    Int8PerTensor,
    /// int4, one scale per output channel.
    Int4,
    /// int4, one scale for every 32 weights of an output channel.
    Int4Block32,
    /// int4, one scale for every 64 weights of an output channel.
    Int4Block64,
}

impl WeightForm {
    /// All forms.
    pub const ALL: [Self; 5] = [
        Self::Int8,
        Self::Int8PerTensor,
        Self::Int4,
        Self::Int4Block32,
        Self::Int4Block64,
    ];

    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int8PerTensor => "int8-per-tensor",
            Self::Int4 => "int4",
            Self::Int4Block32 => "int4-block32",
            Self::Int4Block64 => "int4-block64",
        }
    }

    /// The layers that take it, in words.
    pub const fn layers(self) -> &'static str {
        if self.is_int4() {
            "dense layers, convolutions with a 1×1 kernel without padding and groups; others stay int8"
        } else {
            "dense layers and convolutions"
        }
    }

    /// The form that the weights of an operator take where this one is wished for: int4 is for dense layers and convolutions
    /// with a 1×1 kernel.
    pub fn for_op(self, op: &Op) -> Self {
        let takes = match op {
            Op::Dense(_) => true,
            Op::Conv2d(conv) => !self.is_int4() || conv.takes_int4(),
            Op::ConvNd(_) => !self.is_int4(),
            _ => false,
        };
        if takes { self } else { Self::Int8 }
    }

    /// Whether codes have four bits.
    pub const fn is_int4(self) -> bool {
        match self {
            Self::Int8 | Self::Int8PerTensor => false,
            Self::Int4 | Self::Int4Block32 | Self::Int4Block64 => true,
        }
    }

    /// How many weights of an output channel make a block with a step of its own, along the input channels.
    pub const fn block(self) -> Option<usize> {
        match self {
            Self::Int8 | Self::Int8PerTensor | Self::Int4 => None,
            Self::Int4Block32 => Some(32),
            Self::Int4Block64 => Some(64),
        }
    }

    /// How many output channels share a scale, of a layer that has `channels`.
    pub(super) fn channels_of_scale(self, channels: usize) -> usize {
        match self {
            Self::Int8 | Self::Int4 | Self::Int4Block32 | Self::Int4Block64 => 1,
            Self::Int8PerTensor => channels.max(1),
        }
    }

    /// The least and the greatest code.
    pub(super) const fn codes(self) -> (i8, i8) {
        if self.is_int4() { (-8, 7) } else { (-127, 127) }
    }

    /// A weight in steps of its scale, ties to even.
    pub(super) fn code(self, weight: f32, scale: f32) -> i8 {
        let (least, greatest) = self.codes();
        libm::rintf(weight / scale).clamp(least.into(), greatest.into()) as i8
    }
}

/// The form that the weights of every node take where these are wished for, by node.
pub(super) fn taken(graph: &FloatGraph, wished: &[WeightForm]) -> Vec<WeightForm> {
    let nodes = graph.nodes.iter().zip(wished);
    nodes.map(|(node, wished)| wished.for_op(&node.op)).collect()
}

/// The same, noting the layers that stay int8 instead.
pub(super) fn settle(graph: &mut FloatGraph, wished: &[WeightForm]) -> Vec<WeightForm> {
    /// Names that are told.
    const MOST: usize = 5;
    let forms = taken(graph, wished);
    let is_layer = |node: &&Node<FloatTensor>| WeightForm::Int8PerTensor.for_op(&node.op) != WeightForm::Int8;
    for form in WeightForm::ALL {
        let layers = graph.nodes.iter().zip(wished).zip(&forms);
        let layers = layers.filter(|((node, wished), _)| **wished == form && is_layer(node));
        let stay = layers.clone().filter(|(_, taken)| **taken != form);
        let names: Vec<String> = stay.map(|((node, _), _)| format!("`{}`", node.name)).collect();
        if names.is_empty() {
            continue;
        }
        let more = match names.len().saturating_sub(MOST) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let note = format!(
            "{} of {} layers stay int8, since {} weights are for dense layers and 1×1 convolutions without padding and \
             groups: {}{more}",
            names.len(),
            layers.count(),
            form.name(),
            names[..names.len().min(MOST)].join(", "),
        );
        graph.notes.push(note);
    }
    forms
}

/// A word that names no form of weights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no form of weights; wanted {names}", names = WeightForm::ALL.map(WeightForm::name).join(", "))]
pub struct UnknownForm(String);

impl FromStr for WeightForm {
    type Err = UnknownForm;

    fn from_str(name: &str) -> Result<Self, UnknownForm> {
        let found = Self::ALL.into_iter().find(|form| form.name() == name);
        found.ok_or_else(|| UnknownForm(name.to_owned()))
    }
}
