//! A transpose before a flattening reshape and a `Dense`, or one that shuffles the channels of a layer's input, only
//! renumbers the columns of the weights.

use super::super::draft::{Draft, Place};
use super::super::edit::{Tensor, is_per_tensor, shape, sole_producer};
use super::super::stored::StoredConstant;
use super::permutation::moves_only_units;
use crate::op::Op;
use crate::op::tensor::{row_major_strides, strided_indices};

/// Where the `Dense` at `position` reads a flattened, transposed tensor, perhaps through elementwise nodes, lets the
/// reshape read the tensor itself and reorders the columns of the weights.
pub(super) fn fold(graph: &mut Draft, position: Place) -> Option<()> {
    let [input, weights, ..] = graph.nodes[position].inputs[..] else {
        return None;
    };
    let reshape = flattening(graph, input)?;
    let transposed = graph.nodes[reshape].inputs[0];
    let node = &graph.nodes[sole_producer(graph, transposed)?];
    let Op::Transpose(transpose) = &node.op else {
        return None;
    };
    let source = node.inputs[0];
    let columns = *shape(graph, weights).last()?;
    if shape(graph, graph.nodes[reshape].outputs[0]).last() != Some(&columns) {
        return None;
    }
    let from = columns_from(shape(graph, source), &transpose.perm, columns)?;
    let weights = StoredConstant::find(graph, weights)?.with_columns_from(&from)?;
    graph.change(reshape, |node| node.inputs[0] = source);
    let weights = weights.add_to(graph, position);
    graph.change(position, |node| node.inputs[1] = weights);
    Some(())
}

/// Where the layer at `position`, of one group, reads a tensor whose channels were split, transposed and joined again,
/// lets it read the tensor itself and reorders the columns of the weights, which are its input channels.
pub(super) fn fold_shuffle(graph: &mut Draft, position: Place) -> Option<()> {
    let [input, weights, ..] = graph.nodes[position].inputs[..] else {
        return None;
    };
    let join = sole_producer(graph, input)?;
    let Op::Reshape(_) = graph.nodes[join].op else {
        return None;
    };
    let transpose = sole_producer(graph, graph.nodes[join].inputs[0])?;
    let Op::Transpose(op) = &graph.nodes[transpose].op else {
        return None;
    };
    let split = graph.nodes[transpose].inputs[0];
    let producer = &graph.nodes[graph.producer(split)?];
    let Op::Reshape(_) = producer.op else {
        return None;
    };
    let source = producer.inputs[0];
    if shape(graph, source) != shape(graph, input) {
        return None;
    }
    let channels = *shape(graph, weights).last()?;
    let from = columns_from(shape(graph, split), &op.perm, channels)?;
    let weights = StoredConstant::find(graph, weights)?.with_columns_from(&from)?;
    let weights = weights.add_to(graph, position);
    graph.change(position, |node| {
        node.inputs[0] = source;
        node.inputs[1] = weights;
    });
    Some(())
}

/// The reshape behind which only elementwise nodes, each read once, lead to `tensor`.
fn flattening(graph: &Draft, mut tensor: Tensor) -> Option<Place> {
    loop {
        let position = sole_producer(graph, tensor)?;
        let node = &graph.nodes[position];
        match &node.op {
            Op::Reshape(_) => return Some(position),
            Op::Unary(_) | Op::Cast(_) => {}
            Op::QuantizeLinear(_) | Op::DequantizeLinear(_) if is_per_tensor(graph, node) => {}
            _ => return None,
        }
        tensor = node.inputs[0];
    }
}

/// For each column of flattened `x`, the column of flattened, transposed `x` that holds the same element. `None` where
/// the transpose moves more than the axes that become columns.
fn columns_from(x: &[usize], perm: &[usize], columns: usize) -> Option<Vec<usize>> {
    let rank = x.len();
    let rows = (0..rank).find(|&rows| {
        let (lead, tail) = perm.split_at(rows);
        lead.iter().all(|&axis| axis < rows)
            && moves_only_units(&x[..rows], lead)
            && tail.iter().map(|&axis| x[axis]).product::<usize>() == columns
    })?;
    let tail = &x[rows..];
    let strides = row_major_strides(tail);
    let moved: Vec<usize> = perm[rows..].iter().map(|&axis| axis - rows).collect();
    let dims: Vec<usize> = moved.iter().map(|&axis| tail[axis]).collect();
    let moved_strides: Vec<usize> = moved.iter().map(|&axis| strides[axis]).collect();
    let mut from = vec![0; columns];
    for (behind, before) in strided_indices(&dims, &moved_strides, 0).into_iter().enumerate() {
        from[before] = behind;
    }
    Some(from)
}
