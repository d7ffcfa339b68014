//! The pass `eliminate-transposes`.

mod dense;
mod permutation;
mod sink;

use crate::ir::FloatGraph;
use crate::op::Op;

/// Moves transposes toward the outputs until they meet their inverses, vanish into weights, or turn out to move only
/// extents of 1 and become reshapes.
///
/// A transpose passes activations, casts, `QuantizeLinear` and `DequantizeLinear` (per-axis parameters follow),
/// arithmetic and `Concat` whose other operands are transposed alike, constant, or need only a reshape, `Slice`,
/// `Pad`, `Softmax`, `LayerNorm`, `Reduce`, `Gather`, a `Dense` whose channels stay last, and reshapes that keep the
/// moved axes together. Two in a row become one; one of a constant behind `DequantizeLinear` moves the integers; one
/// before a flattening reshape and a `Dense` moves the columns of the weights instead, and so does a shuffle of the
/// channels before a layer of one group. Of two transposes with a reshape between, as channel shuffles and
/// depth-to-space are written, one stays.
///
/// What cannot vanish stands as late as it can, but before a `DequantizeLinear`, where it moves integers. A layer
/// that moved keeps its name, and the tensor it writes keeps its name in whatever order its axes are.
///
/// The result is taken only if it has fewer transposes, or as many that move fewer elements, or as many in front of
/// fewer nodes; else the graph stays. Exact: elements move, none is computed, but that a layer whose columns moved
/// adds its products in another order, which changes its sums by rounding only.
pub(super) fn eliminate_transposes(graph: &mut FloatGraph) -> usize {
    let before = Cost::of(graph);
    if before.transposes == 0 {
        return 0;
    }
    // A transpose with several readers is copied behind each. Where the copies do not meet again, that is a loss, and
    // the second attempt does without.
    for share in [true, false] {
        let mut trial = graph.clone();
        sink::run(&mut trial, share);
        let after = Cost::of(&trial);
        if after < before {
            *graph = trial;
            return (before.transposes - after.transposes).max(1);
        }
    }
    0
}

/// What transposes cost, the gravest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    transposes: usize,
    /// Elements they move.
    elements: usize,
    /// Nodes right behind one, which it keeps from fusing with what is before it.
    blocked: usize,
}

impl Cost {
    fn of(graph: &FloatGraph) -> Self {
        let mut cost = Self {
            transposes: 0,
            elements: 0,
            blocked: 0,
        };
        let mut transposed = vec![false; graph.tensors.len()];
        for node in &graph.nodes {
            match &node.op {
                Op::Transpose(_) => {
                    cost.transposes += 1;
                    cost.elements += graph.tensors[node.outputs[0]].ty.len();
                    transposed[node.outputs[0].index()] = true;
                }
                Op::DequantizeLinear(_) | Op::Reshape(_) => {}
                _ => cost.blocked += usize::from(node.inputs.iter().any(|input| transposed[input.index()])),
            }
        }
        cost
    }
}
