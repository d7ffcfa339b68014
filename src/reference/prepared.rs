//! What an executor keeps per node from run to run: the packed weights of heavy layers.

use super::ReferenceError;
use crate::ir::{FloatGraph, FloatTensor, Node};
use crate::op::tensor::{DType, Shape, Values};
use crate::op::{Op, OpError, convolve, gemm};

/// A node made ready.
pub(super) enum Prepared {
    /// A convolution of f32 with constant weights, and the shape of its output.
    Convolution(convolve::Weights<f32>, Shape),
    /// A dense layer of f32 with constant weights, and the shape of its output.
    Dense(gemm::Packed<f32>, Shape),
    /// Everything else: the operator's own `eval`.
    Plain,
}

impl Prepared {
    /// Checks the node's types, on which packed weights rely.
    pub(super) fn new(graph: &FloatGraph, node: &Node<FloatTensor>) -> Result<Self, ReferenceError> {
        let types =
            node.op
                .output_types(&graph.input_types(node))
                .map_err(|source| ReferenceError::Node {
                    node: node.name.clone(),
                    operator: node.op.name(),
                    source,
                })?;
        let weights = node
            .inputs
            .get(1)
            .and_then(|&input| graph.tensors[input].data.as_deref());
        let (Some(weights), [output]) = (weights, &types[..]) else {
            return Ok(Self::Plain);
        };
        // Packed weights skip the check of every run: the graph's types must be those of its constants.
        let agrees = |tensor: &FloatTensor| tensor.data.as_ref().is_none_or(|data| data.ty() == tensor.ty);
        if output.dtype != DType::F32 || !node.inputs.iter().all(|&input| agrees(&graph.tensors[input])) {
            return Ok(Self::Plain);
        }
        let shape = output.shape.clone();
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "every operator but two has nothing to prepare"
        )]
        Ok(match &node.op {
            Op::Conv2d(conv) => Self::Convolution(conv.pack(weights), shape),
            Op::Dense(_) => Self::Dense(crate::op::Dense::pack(weights), shape),
            _ => Self::Plain,
        })
    }

    /// The node's outputs on `inputs`.
    pub(super) fn eval(&self, node: &Node<FloatTensor>, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        match (self, &node.op) {
            (Self::Convolution(weights, shape), Op::Conv2d(conv)) => Ok(vec![Values::f32(
                shape.clone(),
                conv.convolve(inputs, weights, shape),
            )]),
            (Self::Dense(weights, shape), Op::Dense(dense)) => {
                Ok(vec![Values::f32(shape.clone(), dense.multiply(inputs, weights))])
            }
            (Self::Convolution(..) | Self::Dense(..) | Self::Plain, op) => op.eval(inputs),
        }
    }
}
