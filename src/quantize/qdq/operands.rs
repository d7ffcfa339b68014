//! The operands of a quantized model's operators: activations, weights, biases, other constants.

use super::constant::{Centred, Stored, constant, stored};
use super::{Absorber, Grid};
use crate::ir::{FloatTensor, Handle, Node};
use crate::op::Op;
use crate::op::quant::{QuantParams, QuantTensor, Quantization};
use crate::op::tensor::{DType, Data, Values};
use crate::quantize::{about_lstm, problem};

/// What to do about weights that are not quantized.
const QUANTIZE_WEIGHTS: &str = "store them as int8 behind DequantizeLinear, per tensor or per output channel";

/// The weights of a layer.
struct Weights {
    tensor: Handle<QuantTensor>,
    /// One per output channel.
    scales: Vec<f32>,
    /// Whether they are sums of two parts, which lie side by side along the input channels.
    in_two_parts: bool,
}

impl Absorber<'_> {
    /// The inputs of a node, or `None` behind problems that were listed. `commutes` says that it only moves or
    /// compares its inputs.
    pub(super) fn inputs(
        &mut self,
        node: &Node<FloatTensor>,
        commutes: bool,
    ) -> Option<Vec<Handle<QuantTensor>>> {
        match &node.op {
            Op::Conv2d(_) | Op::ConvNd(_) | Op::Dense(_) => return self.weighted(node),
            Op::Lstm(_) => return self.lstm(node),
            Op::AveragePool(_)
            | Op::BatchNormalization(_)
            | Op::Binary(_)
            | Op::BitCast(_)
            | Op::Cast(_)
            | Op::Compare(_)
            | Op::Concat(_)
            | Op::Cumulate(_)
            | Op::Expand(_)
            | Op::GatherElements(_)
            | Op::GatherNd(_)
            | Op::Lookup(_)
            | Op::NonMaxSuppression(_)
            | Op::NonZero(_)
            | Op::Scatter(_)
            | Op::TfIdf(_)
            | Op::TopK(_)
            | Op::TreeEnsemble(_)
            | Op::Trilu(_)
            | Op::Unique(_)
            | Op::Delay(_)
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
            | Op::QuantizeTo(_)
            | Op::Reshape(_)
            | Op::Select(_)
            | Op::Slice(_)
            | Op::Softmax(_)
            | Op::Transpose(_)
            | Op::Unary(_) => {}
        }
        // All of them, so that every problem is seen.
        let inputs: Vec<_> = node
            .inputs
            .iter()
            .map(|&input| self.operand(node, input, commutes))
            .collect();
        inputs.into_iter().collect()
    }

    /// An activation or a constant.
    fn operand(
        &mut self,
        node: &Node<FloatTensor>,
        input: Handle<FloatTensor>,
        commutes: bool,
    ) -> Option<Handle<QuantTensor>> {
        if let Some(stored) = stored(self.graph, input) {
            let Some((codes, params)) = per_tensor(&stored) else {
                let reason = format!(
                    "the constant `{}` ({}) is not of 8 or 16 bits with one scale",
                    self.graph.tensors[input].name,
                    stored.dtype()
                );
                self.problems
                    .push(problem(node, reason, Some("quantize it per tensor")));
                return None;
            };
            let values = Values::new(stored.codes.shape.clone(), codes);
            return Some(self.constant(input, values, Quantization::PerTensor(params)));
        }
        if let Some(values) = constant(self.graph, input) {
            // Indices, and single numbers, which are computed with exactly; lowering refuses what it cannot take.
            return Some(self.constant(input, values, Quantization::Plain));
        }
        self.activation(node, input, commutes)
    }

    /// The inputs of an LSTM: weights and recurrence have a scale for each row, the bias stays as it is.
    fn lstm(&mut self, node: &Node<FloatTensor>) -> Option<Vec<Handle<QuantTensor>>> {
        self.out.notes.push(about_lstm(node));
        // All of them, so that every problem is seen.
        let inputs: Vec<_> = node
            .inputs
            .iter()
            .enumerate()
            .map(|(position, &input)| match position {
                1 | 3 => self.even_weights(node, input),
                _ => self.operand(node, input, false),
            })
            .collect();
        inputs.into_iter().collect()
    }

    /// int8 weights around zero of a layer that takes no sums of two parts.
    fn even_weights(
        &mut self,
        node: &Node<FloatTensor>,
        tensor: Handle<FloatTensor>,
    ) -> Option<Handle<QuantTensor>> {
        let weights = self.weights(node, tensor)?;
        if weights.in_two_parts {
            let name = &self.graph.tensors[tensor].name;
            let reason =
                format!("its weights `{name}` are not int8 around zero: less its zero point it leaves int8");
            self.problems.push(problem(node, reason, Some(QUANTIZE_WEIGHTS)));
            return None;
        }
        Some(weights.tensor)
    }

    /// The inputs of a convolution or dense layer.
    fn weighted(&mut self, node: &Node<FloatTensor>) -> Option<Vec<Handle<QuantTensor>>> {
        let x = *node.inputs.first()?;
        let activation = self.activation(node, x, false);
        let weights = self.weights(node, *node.inputs.get(1)?);
        let (mut activation, weights) = (activation?, weights?);
        let Weights {
            tensor: weights,
            scales,
            in_two_parts,
        } = weights;
        if in_two_parts {
            activation = self.twice(node, activation)?;
        }
        let Grid { params, dtype } = self.grid(x)?;
        let mut inputs = vec![activation, weights];
        if let Some(&bias) = node.inputs.get(2) {
            inputs.push(self.bias(node, bias, (params.scale, dtype), &scales)?);
        }
        Some(inputs)
    }

    /// int8 weights around zero.
    fn weights(&mut self, node: &Node<FloatTensor>, tensor: Handle<FloatTensor>) -> Option<Weights> {
        let name = &self.graph.tensors[tensor].name;
        let found = match stored(self.graph, tensor) {
            None => constant(self.graph, tensor)
                .and_then(|values| Centred::of_single_reals(&values))
                .ok_or_else(|| {
                    "they are reals, or integers with scales in blocks, not integers with a scale per channel"
                        .into()
                }),
            Some(stored) => stored.centred(),
        };
        let ends = [node.inputs[0], node.outputs[0]];
        let are_int8 = ends
            .iter()
            .all(|&end| self.grid(end).is_some_and(|grid| grid.dtype == DType::I8));
        if let Ok(centred) = &found
            && are_int8
            && let Some((values, quantization)) = centred.int4(&node.op)
        {
            return Some(Weights {
                tensor: self.constant(tensor, values, quantization),
                scales: centred.scales.clone(),
                in_two_parts: false,
            });
        }
        let found = found.and_then(|centred| match centred.are_two_int8() {
            true => Ok(centred),
            false => Err("its integers take more than eight bits".into()),
        });
        match found {
            Ok(centred) => {
                let in_two_parts = centred.leaves_int8();
                let (shape, codes) = centred.codes(in_two_parts);
                let scales = centred.scales;
                let quantization = Quantization::PerChannel {
                    axis: 0,
                    scales: scales.clone(),
                };
                let values = Values::new(shape, Data::I8(codes));
                Some(Weights {
                    tensor: self.constant(tensor, values, quantization),
                    scales,
                    in_two_parts,
                })
            }
            Err(reason) => {
                let reason = format!("its weights `{name}` are not int8 around zero: {reason}");
                self.problems.push(problem(node, reason, Some(QUANTIZE_WEIGHTS)));
                None
            }
        }
    }

    /// A bias in steps of exactly the input's scale times the weights'.
    fn bias(
        &mut self,
        node: &Node<FloatTensor>,
        tensor: Handle<FloatTensor>,
        (input_scale, input_dtype): (f32, DType),
        scales: &[f32],
    ) -> Option<Handle<QuantTensor>> {
        let steps: Vec<f64> = scales
            .iter()
            .map(|&scale| f64::from(input_scale) * f64::from(scale))
            .collect();
        let name = self.graph.tensors[tensor].name.clone();
        let reals = match stored(self.graph, tensor) {
            Some(stored) if stored.zero_points.iter().all(|&zero_point| zero_point == 0) => {
                let codes = stored.codes.to_i64();
                codes.map(|codes| in_steps(&codes, &stored.scales, &steps))
            }
            Some(_) => None,
            None => constant(self.graph, tensor).and_then(|values| {
                let values = values.as_f32()?;
                let bias = values
                    .iter()
                    .zip(&steps)
                    .map(|(&value, step)| f64::from(value) / step);
                Some((bias.collect(), values.iter().any(|&value| value != 0.0)))
            }),
        };
        // Sums of int16 have 64 bits; all of them are exact in f64 up to 53.
        let most = if input_dtype == DType::I16 {
            (1i64 << 52) as f64
        } else {
            f64::from(i32::MAX)
        };
        let whole: Option<Vec<i64>> = reals.as_ref().and_then(|(bias, _)| {
            let whole = bias.iter().map(|&bias| {
                let whole = libm::rint(bias);
                (whole.abs() <= most).then_some(whole as i64)
            });
            whole.collect()
        });
        let Some((bias, (_, rounded))) = whole.filter(|bias| bias.len() == scales.len()).zip(reals) else {
            let reason =
                format!("its bias `{name}` has no int32 form in steps of input scale times weight scale");
            let help = "store it as int32 behind DequantizeLinear, with the product of the two scales";
            self.problems.push(problem(node, reason, Some(help)));
            return None;
        };
        if rounded {
            self.out.notes.push(format!(
                "{} `{}`: the bias `{name}` was rounded to steps of input scale times weight scale",
                node.op.name(),
                node.name
            ));
        }
        let quantization = Quantization::PerChannel {
            axis: 0,
            scales: steps.iter().map(|&step| step as f32).collect(),
        };
        let narrow: Result<Vec<i32>, _> = bias.iter().map(|&bias| i32::try_from(bias)).collect();
        let channels = bias.len();
        let data = narrow.map_or(Data::I64(bias), Data::I32);
        Some(self.constant(tensor, Values::new([channels], data), quantization))
    }
}

/// A stored bias in the layer's own steps, and whether that took rounding. A stored scale within one f32 ulp of the
/// step is the step.
fn in_steps(codes: &[i64], scales: &[f32], steps: &[f64]) -> (Vec<f64>, bool) {
    let mut rounded = false;
    let bias = codes
        .iter()
        .zip(steps)
        .enumerate()
        .map(|(channel, (&code, &step))| {
            let scale = scales[if scales.len() > 1 {
                channel.min(scales.len() - 1)
            } else {
                0
            }];
            if is_within_one_ulp(scale, step) {
                return code as f64;
            }
            let bias = code as f64 * f64::from(scale) / step;
            rounded |= bias != libm::rint(bias);
            bias
        });
    (bias.collect(), rounded)
}

/// Whether an f32 lies within one step of its own grid of `exact`.
fn is_within_one_ulp(scale: f32, exact: f64) -> bool {
    let ulp = f64::from(scale.next_up()) - f64::from(scale);
    (f64::from(scale) - exact).abs() <= ulp
}

/// int8 or int16 codes with one scale and a zero point of their type.
fn per_tensor(stored: &Stored) -> Option<(Data, QuantParams)> {
    let (codes, zero_points) = match stored.to_int8() {
        Some((codes, zero_points)) => (Data::I8(codes), zero_points),
        None => {
            let (codes, zero_points) = stored.to_int16()?;
            (Data::I16(codes), zero_points)
        }
    };
    match (&stored.scales[..], &zero_points[..]) {
        (&[scale], &[zero_point]) if scale.is_normal() && scale > 0.0 => Some((
            codes,
            QuantParams {
                scale,
                zero_point: i32::try_from(zero_point).ok()?,
            },
        )),
        _ => None,
    }
}
