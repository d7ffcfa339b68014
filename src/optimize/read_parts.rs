//! The pass `read-parts`.

use super::draft::{Draft, Place};
use super::edit::{Tensor, insert, shape};
use crate::ir::{FloatGraph, Node};
use crate::op::tensor::TensorType;
use crate::op::{Concat, Op, Reshape, Slice, Transpose};

/// Lets a `Slice` along one axis read the part of a `Concat` along that axis from which it takes all, so that parts that are
/// joined and taken apart again do not have to share a scale.
///
/// Between the two may stand reshapes and transposes that keep the axis, and concatenations along other axes where every
/// input is itself joined of such parts, as detection heads join boxes and scores for each resolution first. These are
/// repeated for the part; so that no work is, a concatenation along another axis must be read by slices alone. What takes
/// all of a part becomes a `Reshape` to its own shape. Exact.
pub(super) fn read_parts(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, read)
}

fn read(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let Op::Slice(slice) = &node.op else {
        return None;
    };
    let input = *node.inputs.first()?;
    let (axis, range) = taken(slice, shape(graph, input))?;
    let piece = trace(graph, input, axis, range)?;
    if let Piece::Part(part, Some((axis, range))) = piece {
        graph.change(position, |node| {
            node.inputs = vec![part];
            if let Op::Slice(slice) = &mut node.op {
                slice.starts[axis] = range.first;
            }
        });
    } else {
        let part = build(graph, position, piece);
        let shape = shape(graph, part).to_vec();
        graph.change(position, |node| {
            node.inputs = vec![part];
            node.op = Op::Reshape(Reshape { shape });
        });
    }
    Some(())
}

/// Indices of an axis.
#[derive(Clone, Copy)]
struct Range {
    first: usize,
    len: usize,
}

/// The one axis along which a slice of a tensor of this shape takes less than all, and what it takes.
fn taken(slice: &Slice, shape: &[usize]) -> Option<(usize, Range)> {
    let mut axes =
        (0..shape.len()).filter(|&axis| slice.shape[axis] != shape[axis] || slice.steps[axis] != 1);
    let axis = axes.next().filter(|&axis| slice.steps[axis] == 1)?;
    let range = Range {
        first: slice.starts[axis],
        len: slice.shape[axis],
    };
    axes.next().is_none().then_some((axis, range))
}

/// How a piece of a tensor comes about from parts.
enum Piece {
    /// All of a part, or what lies in a range along an axis of it.
    Part(Tensor, Option<(usize, Range)>),
    Joined(Vec<Self>, Concat),
    Reshaped(Box<Self>, Reshape),
    Transposed(Box<Self>, Transpose),
}

/// What lies in `range` along `axis` of a tensor; `None` where it is not taken from one part of a concatenation.
fn trace(graph: &Draft, tensor: Tensor, axis: usize, range: Range) -> Option<Piece> {
    let place = graph.producer(tensor)?;
    let node = &graph.nodes[place];
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "three operators move without a choice"
    )]
    match &node.op {
        Op::Concat(concat) if concat.axis == axis => {
            let mut first = 0;
            for &part in &node.inputs {
                let len = shape(graph, part)[axis];
                if first <= range.first && range.first + range.len <= first + len {
                    let inside = Range {
                        first: range.first - first,
                        ..range
                    };
                    let deeper = (inside.len < len)
                        .then(|| trace(graph, part, axis, inside))
                        .flatten();
                    return Some(
                        deeper.unwrap_or(Piece::Part(part, (inside.len < len).then_some((axis, inside)))),
                    );
                }
                first += len;
            }
            None
        }
        Op::Concat(concat) => {
            let mut readers = graph.readers(tensor).into_iter();
            let is_taken_apart = readers.all(|reader| matches!(graph.nodes[reader].op, Op::Slice(_)));
            if graph.is_output(tensor) || !(is_taken_apart || graph.has_one_reader(tensor)) {
                return None;
            }
            let pieces = node.inputs.iter().map(|&input| trace(graph, input, axis, range));
            Some(Piece::Joined(pieces.collect::<Option<_>>()?, concat.clone()))
        }
        Op::Reshape(reshape) => {
            let input = *node.inputs.first()?;
            let kept = kept_axis(shape(graph, input), &reshape.shape, axis)?;
            let piece = trace(graph, input, kept, range)?;
            let mut shape = reshape.shape.clone();
            shape[axis] = range.len;
            Some(Piece::Reshaped(Box::new(piece), Reshape { shape }))
        }
        Op::Transpose(transpose) => {
            let piece = trace(graph, *node.inputs.first()?, transpose.perm[axis], range)?;
            Some(Piece::Transposed(Box::new(piece), transpose.clone()))
        }
        _ => None,
    }
}

/// The axis of `from` that is the given one of `to`, a reshape of it: of the same extent, with as many elements before it.
fn kept_axis(from: &[usize], to: &[usize], axis: usize) -> Option<usize> {
    let before: usize = to[..axis].iter().product();
    (0..from.len()).find(|&kept| from[kept] == to[axis] && from[..kept].iter().product::<usize>() == before)
}

/// Puts what makes a piece before `position`; gives its tensor.
fn build(graph: &mut Draft, position: Place, piece: Piece) -> Tensor {
    let (op, inputs) = match piece {
        Piece::Part(part, None) => return part,
        Piece::Part(part, Some((axis, range))) => {
            let mut shape = shape(graph, part).to_vec();
            shape[axis] = range.len;
            let mut starts = vec![0; shape.len()];
            starts[axis] = range.first;
            let steps = vec![1; shape.len()];
            (Op::Slice(Slice { starts, steps, shape }), vec![part])
        }
        Piece::Joined(pieces, concat) => {
            let inputs = pieces.into_iter().map(|piece| build(graph, position, piece));
            (Op::Concat(concat), inputs.collect())
        }
        Piece::Reshaped(piece, reshape) => (Op::Reshape(reshape), vec![build(graph, position, *piece)]),
        Piece::Transposed(piece, transpose) => {
            (Op::Transpose(transpose), vec![build(graph, position, *piece)])
        }
    };
    let types: Vec<&TensorType> = inputs
        .iter()
        .map(|&input: &Tensor| &graph.tensors[input].ty)
        .collect();
    let mut types = op
        .output_types(&types)
        .expect("what the whole could do, a part can");
    let name = graph.nodes[position].name.clone();
    let node = Node {
        name: format!("{name}/part"),
        op,
        inputs,
        outputs: Vec::new(),
    };
    insert(graph, position, node, &name, types.remove(0))
}
