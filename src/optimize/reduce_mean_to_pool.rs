//! The pass `reduce-mean-to-pool`.

use super::draft::{Draft, Place};
use super::edit::{insert, shape};
use crate::ir::{FloatGraph, Node};
use crate::op::tensor::TensorType;
use crate::op::{AveragePool, Clamp, Op, ReduceKind, Reshape, Window};

/// Makes an `AveragePool` over the whole extent of a mean of reals over neighbouring axes. Unless those are the rows
/// and columns of one image, reshapes before and behind it, which move nothing, fold the axes before them into rows and
/// those behind them into channels.
///
/// Refuses axes with others between them, and extents beyond what a pool takes. Relies on `eliminate-transposes` to bring spatial axes side by side. Exact:
/// a sum over the same elements, divided by their number.
pub(super) fn reduce_mean_to_pool(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, replace)
}

/// What a pool takes along an axis.
const MAX_EXTENT: usize = 65_535;

fn replace(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let Op::Reduce(op) = &node.op else {
        return None;
    };
    let is_float = graph.tensors[node.inputs[0]].ty.dtype.is_float();
    if op.kind != ReduceKind::Mean || !is_float {
        return None;
    }
    let (&first, &last) = (op.axes.first()?, op.axes.last()?);
    if last - first + 1 != op.axes.len() {
        return None;
    }
    let (input, output, name) = (node.inputs[0], node.outputs[0], node.name.clone());
    let extents = shape(graph, input).to_vec();
    let dtype = graph.tensors[input].ty.dtype;
    let pool = |kernel: [usize; 2]| {
        Op::AveragePool(AveragePool {
            window: Window {
                kernel,
                strides: [1, 1],
                dilations: [1, 1],
                pads: [0; 4],
            },
            count_include_pad: false,
            ceil_pads: [0; 2],
            clamp: Clamp::NONE,
        })
    };
    if extents.len() == 4 && extents[0] == 1 && op.axes == [1, 2] {
        graph.change(position, |node| node.op = pool([extents[1], extents[2]]));
        return Some(());
    }
    let batch: usize = extents[..first].iter().product();
    let reduced: usize = extents[first..=last].iter().product();
    let channels: usize = extents[last + 1..].iter().product();
    if [batch, reduced, channels]
        .iter()
        .any(|&extent| extent > MAX_EXTENT)
    {
        return None;
    }
    let base = graph.tensors[output].name.clone();
    let before = vec![1, batch, reduced, channels];
    let split = Node {
        name: name.clone(),
        op: Op::Reshape(Reshape {
            shape: before.clone(),
        }),
        inputs: vec![input],
        outputs: Vec::new(),
    };
    let split = insert(graph, position, split, &base, TensorType::new(dtype, before));
    let mean = Node {
        name,
        op: pool([1, reduced]),
        inputs: vec![split],
        outputs: Vec::new(),
    };
    let ty = TensorType::new(dtype, [1, batch, 1, channels]);
    let mean = insert(graph, position, mean, &base, ty);
    let target = shape(graph, output).to_vec();
    graph.change(position, |node| {
        node.op = Op::Reshape(Reshape { shape: target });
        node.inputs = vec![mean];
    });
    Some(())
}
