//! The pass `fold-constants`.

use std::sync::Arc;

use super::draft::{Draft, Place};
use super::edit::Tensor;
use super::limit;
use crate::ir::FloatGraph;
use crate::op::Op;
use crate::op::tensor::{TensorType, Values};

/// Evaluates nodes whose inputs are all constants.
///
/// Refuses `DequantizeLinear`, so that the weights of QDQ models stay integers (those of a `BatchNormalization`, which no
/// integer kernel takes as such, become reals), `Delay`, whose first output is not its
/// input, and what is too large or too much work ([`limit`]). A node that its operator cannot evaluate stays, for the
/// executor to report. Exact: the reference executor's own evaluation.
pub(super) fn fold_constants(graph: &mut FloatGraph) -> usize {
    let mut macs_left = limit::FOLD_MACS;
    Draft::sweep(graph, |graph, position| {
        let values = evaluate(graph, position, &mut macs_left)?;
        for (tensor, values) in graph.nodes[position].outputs.clone().into_iter().zip(values) {
            graph.tensors[tensor].data = Some(Arc::new(values));
        }
        graph.remove(position);
        Some(())
    })
}

/// The outputs of a node whose inputs are all known, where they may be constants.
fn evaluate(graph: &Draft, position: Place, macs_left: &mut u64) -> Option<Vec<Values>> {
    let node = &graph.nodes[position];
    let stays = match &node.op {
        Op::DequantizeLinear(_) => !is_of_batch_norm(graph, node.outputs[0]),
        Op::Delay(_) => true,
        _ => false,
    };
    if stays {
        return None;
    }
    let inputs: Vec<&Values> = node
        .inputs
        .iter()
        .map(|&input| graph.tensors[input].data.as_deref())
        .collect::<Option<_>>()?;
    // A reshape does not touch elements.
    if !matches!(node.op, Op::Reshape(_)) {
        let outputs = node.outputs.iter().map(|&output| &graph.tensors[output].ty);
        let (bytes, elements) = outputs.fold((0_usize, 0_u64), |(bytes, elements), ty| {
            (
                bytes.saturating_add(ty.bytes()),
                elements.saturating_add(ty.len() as u64),
            )
        });
        if !limit::allows(graph, &node.inputs, bytes) {
            return None;
        }
        let types: Vec<&TensorType> = node
            .inputs
            .iter()
            .map(|&input| &graph.tensors[input].ty)
            .collect();
        *macs_left = macs_left.checked_sub(node.op.macs(&types).max(elements))?;
    }
    node.op.eval(&inputs).ok()
}

/// Whether nothing but the parameters of batch normalizations is read from a tensor.
fn is_of_batch_norm(graph: &Draft, tensor: Tensor) -> bool {
    let readers = graph.readers(tensor);
    let takes = |&reader: &Place| {
        let node = &graph.nodes[reader];
        matches!(node.op, Op::BatchNormalization(_)) && node.inputs[0] != tensor
    };
    !readers.is_empty() && !graph.is_output(tensor) && readers.iter().all(takes)
}
