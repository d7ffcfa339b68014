//! The pass `fold-constants`.

use std::sync::Arc;

use crate::ir::FloatGraph;
use crate::op::Op;
use crate::op::tensor::Values;

/// Evaluates nodes whose inputs are all constants.
///
/// Refuses `DequantizeLinear`, so that the weights of QDQ models stay integers, and `Delay`, whose first output is not
/// its input. A node that its operator cannot evaluate stays, for the executor to report. Exact: the reference
/// executor's own evaluation.
pub(super) fn fold_constants(graph: &mut FloatGraph) -> usize {
    let before = graph.nodes.len();
    let tensors = &mut graph.tensors;
    graph.nodes.retain(|node| {
        if matches!(node.op, Op::DequantizeLinear(_) | Op::Delay(_)) {
            return true;
        }
        let inputs: Option<Vec<Arc<Values>>> = node
            .inputs
            .iter()
            .map(|&input| tensors[input].data.clone())
            .collect();
        let Some(inputs) = inputs else {
            return true;
        };
        let inputs: Vec<&Values> = inputs.iter().map(Arc::as_ref).collect();
        let Ok(outputs) = node.op.eval(&inputs) else {
            return true;
        };
        for (&tensor, values) in node.outputs.iter().zip(outputs) {
            tensors[tensor].data = Some(Arc::new(values));
        }
        false
    });
    before - graph.nodes.len()
}
