//! Quantized tensors: parameters, and what an operator sees of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::tensor::{DType, TensorType, Values};

/// `real = scale · (q − zero_point)`, one pair for a whole tensor; the zero point is a value of the element type.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantParams {
    /// Real units of one step; positive and finite.
    pub scale: f32,
    /// The step that means zero.
    pub zero_point: i32,
}

/// The least and the greatest real value that a tensor took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Least.
    pub min: f32,
    /// Greatest.
    pub max: f32,
}

impl Range {
    /// What of it a clamp lets through.
    pub fn clamped(self, clamp: super::Clamp) -> Self {
        Self {
            min: clamp.apply(self.min),
            max: clamp.apply(self.max),
        }
    }
}

/// How a tensor's numbers stand for reals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Quantization {
    /// int8 or int16 activations (or constants used as such): one scale and zero point.
    PerTensor(QuantParams),
    /// Weights (int8) or bias (int32): zero point 0, one scale per index of `axis`. A tensor with one scale for all
    /// holds it once per index.
    PerChannel {
        /// The output-channel axis.
        axis: usize,
        /// One scale per channel.
        scales: Vec<f32>,
    },
    /// Weights (int4): zero point 0, one scale per index of axis 0. The numbers of one index lie along the last axis, all
    /// others between having an extent of 1, in blocks, each of which counts a whole number of times:
    /// `real = scales[o] · factors[o][b] · q`.
    PerBlock {
        /// One scale per output channel.
        scales: Vec<f32>,
        /// Numbers of a block, at least 1; the last one of a channel may have fewer.
        block: usize,
        /// One factor per channel and block, at least 1.
        factors: Vec<u8>,
    },
    /// Not quantized: reals or indices.
    Plain,
}

impl Quantization {
    /// The scales of a layer's weights, one per output channel: in steps of these times the input's scale a bias counts.
    pub fn channel_scales(&self) -> Option<&[f32]> {
        match self {
            Self::PerChannel { axis: 0, scales } | Self::PerBlock { scales, .. } => Some(scales),
            Self::PerChannel { .. } | Self::PerTensor(_) | Self::Plain => None,
        }
    }
}

/// A tensor of a [`crate::ir::QuantGraph`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantTensor {
    /// Name of the ONNX value it came from.
    pub name: String,
    /// Shape and element type as stored.
    pub ty: TensorType,
    /// What the stored numbers mean.
    pub quantization: Quantization,
    /// The element type that the ONNX model has here. Where an input or output of the graph is stored in another
    /// one, hosts convert: reals by quantizing, uint8 by subtracting 128.
    pub model_dtype: DType,
    /// The elements of a constant.
    pub data: Option<Arc<Values>>,
}

impl QuantTensor {
    /// Whether it holds reals: f32 and not quantized.
    pub fn is_real(&self) -> bool {
        self.ty.dtype == DType::F32 && self.quantization == Quantization::Plain
    }

    /// Whether it holds int16 codes with one scale and zero point.
    pub fn is_wide(&self) -> bool {
        self.ty.dtype == DType::I16 && self.params().is_some()
    }

    /// The parameters of an activation; `None` of anything else.
    pub fn params(&self) -> Option<QuantParams> {
        if let Quantization::PerTensor(params) = &self.quantization {
            Some(*params)
        } else {
            None
        }
    }
}
