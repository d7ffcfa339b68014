//! Constants of a quantized model: integers behind a `DequantizeLinear`, whatever moved them on the way.

use super::int4::int4;
use crate::ir::{FloatGraph, FloatTensor, Handle};
use crate::op::Op;
use crate::op::quant::Quantization;
use crate::op::tensor::{DType, Values, View};

/// `real = scales[i] · (codes − zero_points[i])`, `i` along `axis` or 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    /// The integers, in the order the reader sees.
    pub(super) codes: Values,
    /// One scale, or one per index of `axis`.
    pub(super) scales: Vec<f32>,
    /// One zero point per scale.
    pub(super) zero_points: Vec<i64>,
    /// The axis of the scales.
    pub(super) axis: usize,
}

/// The value of a tensor that depends on constants only. Integers behind `DequantizeLinear` are for [`stored`].
pub(super) fn constant(graph: &FloatGraph, tensor: Handle<FloatTensor>) -> Option<Values> {
    if let Some(data) = &graph.tensors[tensor].data {
        return Some(data.as_ref().clone());
    }
    let node = &graph.nodes[graph.producer(tensor)?];
    let inputs: Option<Vec<Values>> = node.inputs.iter().map(|&input| constant(graph, input)).collect();
    let inputs = inputs?;
    let outputs = node.op.eval(&inputs.iter().collect::<Vec<_>>()).ok()?;
    let position = node.outputs.iter().position(|&output| output == tensor)?;
    outputs.into_iter().nth(position)
}

/// The integers that a real tensor stands for; `None` where it is computed, or no integers are behind it.
pub(super) fn stored(graph: &FloatGraph, tensor: Handle<FloatTensor>) -> Option<Stored> {
    let node = &graph.nodes[graph.producer(tensor)?];
    if let Op::DequantizeLinear(dequantize) = &node.op {
        let codes = constant(graph, *node.inputs.first()?)?;
        let scales = constant(graph, *node.inputs.get(1)?)?.as_f32()?.to_vec();
        let zero_points = constant(graph, *node.inputs.get(2)?)?.to_i64()?;
        let axis = dequantize.axis;
        return (scales.len() == zero_points.len() && !scales.is_empty()).then_some(Stored {
            codes,
            scales,
            zero_points,
            axis,
        });
    }
    let moved = stored(graph, *node.inputs.first()?)?;
    let axis = match &node.op {
        Op::Transpose(transpose) => transpose.perm.iter().position(|&axis| axis == moved.axis),
        Op::Reshape(reshape) => same_axis(&moved.codes.shape, moved.axis, &reshape.shape),
        Op::Slice(_) => Some(moved.axis),
        Op::AveragePool(_)
        | Op::BatchNormalization(_)
        | Op::Binary(_)
        | Op::BitCast(_)
        | Op::Cast(_)
        | Op::Compare(_)
        | Op::Concat(_)
        | Op::Conv2d(_)
        | Op::Cumulate(_)
        | Op::Expand(_)
        | Op::GatherElements(_)
        | Op::GatherNd(_)
        | Op::Lookup(_)
        | Op::Lstm(_)
        | Op::NonMaxSuppression(_)
        | Op::NonZero(_)
        | Op::Scatter(_)
        | Op::TfIdf(_)
        | Op::TopK(_)
        | Op::TreeEnsemble(_)
        | Op::Trilu(_)
        | Op::Unique(_)
        | Op::ConvNd(_)
        | Op::Delay(_)
        | Op::Dense(_)
        | Op::DequantizeLinear(_)
        | Op::DequantizeTo(_)
        | Op::Gather(_)
        | Op::GridSample(_)
        | Op::Attention(_)
        | Op::LayerNorm(_)
        | Op::MatMul(_)
        | Op::MaxPoolIndices(_)
        | Op::Resample(_)
        | Op::RoiAlign(_)
        | Op::MaxPool(_)
        | Op::NarrowCast(_)
        | Op::Pad(_)
        | Op::QuantizeLinear(_)
        | Op::Recurrent(_)
        | Op::Repeat(_)
        | Op::Reduce(_)
        | Op::Select(_)
        | Op::QuantizeTo(_)
        | Op::Softmax(_)
        | Op::Unary(_) => return None,
    };
    let axis = match axis {
        Some(axis) => axis,
        None if moved.scales.len() == 1 => 0,
        None => return None,
    };
    let codes = node.op.eval(&[&moved.codes]).ok()?.pop()?;
    Some(Stored { codes, axis, ..moved })
}

/// The axis of `to` that runs over the same elements as `axis` of `from`.
fn same_axis(from: &[usize], axis: usize, to: &[usize]) -> Option<usize> {
    let before: usize = from.get(..axis)?.iter().product();
    let extent = from.get(axis)?;
    (0..to.len()).find(|&i| to[..i].iter().product::<usize>() == before && to[i] == *extent)
}

impl Stored {
    /// The codes as int8 around zero points that are int8 as well: uint8 moves down by 128. `None` of other types.
    pub(super) fn to_int8(&self) -> Option<(Vec<i8>, Vec<i64>)> {
        if let View::U8(codes) = self.codes.data.view() {
            let zero_points = self.zero_points.iter().map(|zero_point| zero_point - 128);
            let codes = codes.iter().map(|&code| (code ^ 0x80) as i8);
            return Some((codes.collect(), zero_points.collect()));
        }
        let codes = self.codes.as_i8()?;
        Some((codes.to_vec(), self.zero_points.clone()))
    }

    /// The codes as int16 around zero points that are int16 as well: uint16 moves down by 32768. `None` of other types.
    pub(super) fn to_int16(&self) -> Option<(Vec<i16>, Vec<i64>)> {
        match self.codes.data.view() {
            View::I16(codes) => Some((codes.to_vec(), self.zero_points.clone())),
            View::U16(codes) => {
                let zero_points = self.zero_points.iter().map(|zero_point| zero_point - 32768);
                let codes = codes.iter().map(|&code| (code ^ 0x8000) as i16);
                Some((codes.collect(), zero_points.collect()))
            }
            _ => None,
        }
    }

    /// The integers less their zero points, output channels outermost, with a scale for each.
    ///
    /// # Errors
    /// Says what is in the way.
    pub(super) fn centred(&self) -> Result<Centred, String> {
        let channels = self.codes.shape.first().copied().unwrap_or(1);
        let per_channel = self.scales.len() > 1;
        if per_channel && (self.axis != 0 || self.scales.len() != channels) {
            return Err(format!(
                "its {} scales run along axis {}, not along the output channels",
                self.scales.len(),
                self.axis
            ));
        }
        let row = (self.codes.data.len() / channels.max(1)).max(1);
        let centred = |(i, code): (usize, i64)| {
            let channel = if per_channel { i / row } else { 0 };
            i16::try_from(code - self.zero_points[channel]).ok()
        };
        let integers = self.codes.to_i64();
        let centred: Option<Vec<i16>> =
            integers.and_then(|codes| codes.into_iter().enumerate().map(centred).collect());
        let Some(centred) = centred else {
            return Err(format!(
                "its integers are {}, not int8 or uint8",
                self.codes.data.dtype()
            ));
        };
        Ok(Centred {
            shape: self.codes.shape.clone(),
            weights: centred,
            scales: if per_channel {
                self.scales.clone()
            } else {
                vec![self.scales[0]; channels]
            },
        })
    }

    /// The element type.
    pub(super) fn dtype(&self) -> DType {
        self.codes.data.dtype()
    }
}

/// Integer weights around zero.
pub(super) struct Centred {
    shape: Vec<usize>,
    weights: Vec<i16>,
    /// One per output channel.
    pub(super) scales: Vec<f32>,
}

impl Centred {
    /// Real weights, one for each output channel: a batch normalization that no layer took. Each is its own scale, times a
    /// power of two that leaves the bias fine steps. `None` of others.
    pub(super) fn of_single_reals(values: &Values) -> Option<Self> {
        const STEPS: i16 = 64;
        let reals = values.as_f32()?;
        let scales = reals.iter().map(|real| real.abs() / f32::from(STEPS));
        let scales: Vec<f32> = scales.collect();
        // A channel of zeros has no steps of its own, and one whose steps are no normal numbers no exact ones.
        let is_exact =
            values.shape.first() == Some(&reals.len()) && scales.iter().all(|scale| scale.is_normal());
        is_exact.then(|| Self {
            shape: values.shape.clone(),
            weights: reals
                .iter()
                .map(|real| if *real < 0.0 { -STEPS } else { STEPS })
                .collect(),
            scales,
        })
    }

    /// The weights as int4, where a layer takes them so and they have such a form.
    pub(super) fn int4(&self, op: &Op) -> Option<(Values, Quantization)> {
        int4(op, &self.shape, &self.weights, &self.scales)
    }

    /// Whether two parts of int8 hold them all: whether they take nine bits at most.
    pub(super) fn are_two_int8(&self) -> bool {
        self.weights.iter().all(|weight| (-255..=255).contains(weight))
    }

    /// Whether some lie beyond int8.
    pub(super) fn leaves_int8(&self) -> bool {
        self.weights.iter().any(|&weight| i8::try_from(weight).is_err())
    }

    /// The weights as int8: as they are, or in two parts of half the size each, which lie one behind the other along the
    /// last axis.
    pub(super) fn codes(&self, in_two_parts: bool) -> (Vec<usize>, Vec<i8>) {
        if !in_two_parts {
            return (
                self.shape.clone(),
                self.weights.iter().map(|&weight| weight as i8).collect(),
            );
        }
        let mut shape = self.shape.clone();
        let row = shape.last().copied().unwrap_or(1).max(1);
        if let Some(last) = shape.last_mut() {
            *last *= 2;
        }
        // Each half of −255 to 255 lies within int8.
        let halves = self.weights.chunks(row).flat_map(|row| {
            let low = row.iter().map(|weight| weight.div_euclid(2) as i8);
            let rest = row.iter().map(|weight| (weight - weight.div_euclid(2)) as i8);
            low.chain(rest)
        });
        (shape, halves.collect())
    }
}
