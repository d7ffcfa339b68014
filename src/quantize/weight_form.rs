//! What the weights of a layer are stored as.

use std::str::FromStr;

use crate::op::Op;

/// The integers that stand for a layer's weights, and how many of them share a scale. Their zero point is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightForm {
    /// int8, one scale per output channel.
    #[default]
    Int8,
    /// int8, one scale for all weights of a layer.
    Int8PerTensor,
}

impl WeightForm {
    /// All forms.
    pub const ALL: [Self; 2] = [Self::Int8, Self::Int8PerTensor];

    /// Its name in options and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int8PerTensor => "int8-per-tensor",
        }
    }

    /// The form that the weights of an operator take where this one is wished for.
    pub fn for_op(self, op: &Op) -> Self {
        match op {
            Op::Conv2d(_) | Op::ConvNd(_) | Op::Dense(_) => self,
            _ => Self::Int8,
        }
    }

    /// How many output channels share a scale, of a layer that has `channels`.
    pub(super) fn channels_of_scale(self, channels: usize) -> usize {
        match self {
            Self::Int8 => 1,
            Self::Int8PerTensor => channels.max(1),
        }
    }

    /// The greatest magnitude of a code.
    pub(super) const fn most(self) -> i8 {
        match self {
            Self::Int8 | Self::Int8PerTensor => 127,
        }
    }

    /// A weight in steps of its scale, ties to even.
    pub(super) fn code(self, weight: f32, scale: f32) -> i8 {
        let most = f32::from(self.most());
        libm::rintf(weight / scale).clamp(-most, most) as i8
    }
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
