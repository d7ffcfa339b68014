//! The pass `matmul-to-dense`.

use super::draft::{Draft, Place};
use super::edit::shape;
use super::stored::StoredConstant;
use crate::ir::FloatGraph;
use crate::op::{Clamp, Dense, Op};

/// Makes a `Dense` of every `MatMul` whose second operand is a constant matrix, or integers behind a
/// `DequantizeLinear`; the weights become `[out, in]`, per-axis scales follow.
///
/// Leading extents of 1 of the matrix are dropped. Refuses integers, a matrix that varies along a batch, or one of higher rank
/// than the first operand. Exact: the same products in the same order.
pub(super) fn matmul_to_dense(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, |graph, position| {
        let weights = matrix(graph, position)?.transposed(&[1, 0]);
        let weights = weights.add_to(graph, position);
        graph.change(position, |node| {
            node.inputs[1] = weights;
            node.op = Op::Dense(Dense { clamp: Clamp::NONE });
        });
        Some(())
    })
}

/// The second operand of a `MatMul`, as a constant of rank 2.
fn matrix(graph: &Draft, position: Place) -> Option<StoredConstant> {
    let node = &graph.nodes[position];
    let Op::MatMul(_) = node.op else {
        return None;
    };
    if !graph.tensors[node.inputs[0]].ty.dtype.is_float() {
        return None;
    }
    let (x, matrix) = (shape(graph, node.inputs[0]), shape(graph, node.inputs[1]));
    let lead = matrix.len().checked_sub(2)?;
    if matrix.len() > x.len().max(2) || matrix[..lead].iter().any(|&extent| extent != 1) {
        return None;
    }
    StoredConstant::find(graph, node.inputs[1])?.reshaped(&matrix[lead..])
}
