//! All that is decided about a graph before its numbers become integers.

use std::sync::Arc;

use super::Precision;
use super::params::{on_grid, quantize_constant};
use super::precisions::Precisions;
use super::weight_form::WeightForm;
use super::weights::{self, Weights};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node};
use crate::op::Op;
use crate::op::quant::QuantParams;
use crate::op::tensor::Values;

/// Precisions, parameters by tensor, weights in their form by node.
pub(super) struct Scheme {
    /// What is computed in what.
    pub(super) precisions: Precisions,
    /// The parameters of every tensor that becomes int8.
    pub(super) params: Vec<Option<QuantParams>>,
    /// The parameters of every tensor that becomes int16.
    wide: Vec<Option<QuantParams>>,
    /// The weights of every layer in integers whose weights are constants of finite reals.
    pub(super) layers: Vec<Option<Weights>>,
}

impl Scheme {
    /// Weights to nearest under these parameters of int8 and of int16, each node's in the form that `forms` has for it.
    pub(super) fn new(
        graph: &FloatGraph,
        precisions: Precisions,
        [params, wide]: [Vec<Option<QuantParams>>; 2],
        forms: &[WeightForm],
    ) -> Self {
        let layer = |(position, node): (usize, &Node<FloatTensor>)| {
            if precisions.node(position) == Precision::F32 {
                return None;
            }
            let constants = Constants::of(graph, node)?;
            let params = match precisions.node(position) {
                Precision::Int16x8 => &wide,
                Precision::Int8 | Precision::F32 => &params,
            };
            let input = params[node.inputs[0].index()]?;
            Some(weights::quantize(
                constants.weights,
                constants.channels(),
                constants.bias.unwrap_or(&[]),
                input.scale,
                forms[position],
            ))
        };
        let layers = graph.nodes.iter().enumerate().map(layer).collect();
        Self {
            precisions,
            params,
            wide,
            layers,
        }
    }

    /// The parameters of a tensor among codes of a precision.
    pub(super) fn params_in(&self, precision: Precision, tensor: Handle<FloatTensor>) -> Option<QuantParams> {
        match precision {
            Precision::Int16x8 => self.wide[tensor.index()],
            Precision::Int8 | Precision::F32 => self.params[tensor.index()],
        }
    }
}

/// The constants of a layer: a convolution or a dense one.
#[derive(Clone, Copy)]
pub(super) struct Constants<'g> {
    /// Output channels outermost.
    pub(super) weights: &'g [f32],
    pub(super) shape: &'g [usize],
    /// One for each output channel.
    pub(super) bias: Option<&'g [f32]>,
}

impl<'g> Constants<'g> {
    /// Those of a node; `None` where it is no layer, or they are no constants of finite reals.
    pub(super) fn of(graph: &'g FloatGraph, node: &Node<FloatTensor>) -> Option<Self> {
        if !matches!(node.op, Op::Conv2d(_) | Op::ConvNd(_) | Op::Dense(_)) {
            return None;
        }
        let constant = |position: usize| {
            let data = graph.tensors[*node.inputs.get(position)?].data.as_deref();
            let values = data.and_then(Values::as_f32)?;
            values.iter().all(|value| value.is_finite()).then_some(values)
        };
        let bias = constant(2);
        if bias.is_none() && node.inputs.len() > 2 {
            return None;
        }
        Some(Self {
            weights: constant(1)?,
            shape: &graph.tensors[node.inputs[1]].ty.shape,
            bias,
        })
    }

    /// Output channels.
    pub(super) fn channels(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }
}

/// The constants of a node that is no layer, as integers leave them, with which of its inputs they are. Single numbers are
/// computed with as they are, and so is the bias of an LSTM.
pub(super) fn rounded_operands(graph: &FloatGraph, node: &Node<FloatTensor>) -> Vec<(usize, Arc<Values>)> {
    let is_lstm = matches!(node.op, Op::Lstm(_));
    if !is_lstm && !matches!(node.op, Op::Binary(_) | Op::Concat(_)) {
        return Vec::new();
    }
    let rounded = |(index, &input): (usize, &Handle<FloatTensor>)| {
        let data = graph.tensors[input].data.as_deref()?;
        let values = data.as_f32().filter(|values| values.len() > 1)?;
        let rounded = match index {
            1 | 3 if is_lstm => {
                let rows = weights::quantize(values, *data.shape.first()?, &[], 1.0, WeightForm::Int8);
                let [(_, reals), _] = rows.reals(&data.shape, 1.0);
                return Some((index, reals));
            }
            2 if is_lstm => return None,
            _ => on_grid(values, quantize_constant(values).0),
        };
        Some((index, Arc::new(Values::f32(data.shape.clone(), rounded))))
    };
    node.inputs.iter().enumerate().filter_map(rounded).collect()
}
