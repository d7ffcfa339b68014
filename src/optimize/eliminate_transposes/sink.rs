//! How a transpose passes each operator.

use super::super::draft::{Draft, Place};
use super::super::edit::{
    Tensor, bypass, hoist_above_dequantize, insert, is_per_tensor, move_behind, shape, sole_producer,
};
use super::super::remove_dead::remove_dead;
use super::super::stored::StoredConstant;
use super::dense;
use super::permutation::{compose, inverse, moves_only_units, permute_back, through_reshape};
use crate::ir::{FloatGraph, FloatTensor, Node};
use crate::op::tensor::TensorType;
use crate::op::{
    AlongAxis, Cumulate, Dense, DequantizeLinear, Gather, Op, Pad, QuantizeLinear, Reduce, Resample, Reshape,
    Slice, Softmax, TopK, Transpose,
};

/// Moves every transpose as far as it goes; with `share`, also those that have several readers.
pub(super) fn run(graph: &mut FloatGraph, share: bool) {
    // A sweep carries transposes all the way down; more are needed where one clears the way for another, which happens
    // at most once per node.
    for _ in 0..=graph.nodes.len() {
        if Draft::sweep(graph, |graph, position| step(graph, position, share)) == 0 {
            break;
        }
        remove_dead(graph);
    }
    Draft::sweep(graph, hoist);
}

/// A transpose that may move behind its reader: what it transposes, how, and its name.
struct Transposed {
    input: Tensor,
    perm: Vec<usize>,
    name: String,
}

fn transposed(graph: &Draft, tensor: Tensor, share: bool) -> Option<Transposed> {
    let node = &graph.nodes[graph.producer(tensor)?];
    let Op::Transpose(op) = &node.op else {
        return None;
    };
    (share || graph.has_one_reader(tensor)).then(|| Transposed {
        input: node.inputs[0],
        perm: op.perm.clone(),
        name: node.name.clone(),
    })
}

fn step(graph: &mut Draft, position: Place, share: bool) -> Option<()> {
    match &graph.nodes[position].op {
        Op::Transpose(op) => {
            let perm = op.perm.clone();
            simplify(graph, position, &perm)
        }
        Op::Binary(_) | Op::Compare(_) | Op::Concat(_) | Op::Select(_) => {
            pass_operands(graph, position, share)
        }
        Op::Dense(_) => dense::fold(graph, position)
            .or_else(|| dense::fold_shuffle(graph, position))
            .or_else(|| pass(graph, position, share)),
        Op::Conv2d(op) if op.groups == 1 => dense::fold_shuffle(graph, position),
        Op::ConvNd(op) if op.groups == 1 => dense::fold_shuffle(graph, position),
        _ => pass(graph, position, share),
    }
}

/// A transpose by itself: behind another one, in order, of units only, or of a constant.
fn simplify(graph: &mut Draft, position: Place, perm: &[usize]) -> Option<()> {
    let input = graph.nodes[position].inputs[0];
    if let Some(first) = transposed(graph, input, true) {
        graph.change(position, |node| {
            node.inputs[0] = first.input;
            node.op = Op::Transpose(Transpose {
                perm: compose(&first.perm, perm),
            });
        });
        return Some(());
    }
    if perm.is_sorted() && bypass(graph, position) {
        return Some(());
    }
    if join(graph, position, perm).is_some() {
        return Some(());
    }
    let output = graph.nodes[position].outputs[0];
    if let Some(constant) = StoredConstant::find(graph, input)
        && !graph.is_output(output)
    {
        let constant = constant.transposed(perm).add_to(graph, position);
        graph.replace_reads(output, constant);
        graph.remove(position);
        return Some(());
    }
    if moves_only_units(shape(graph, input), perm) {
        let shape = shape(graph, output).to_vec();
        graph.change(position, |node| node.op = Op::Reshape(Reshape { shape }));
        return Some(());
    }
    None
}

/// Two transposes with a reshape between that the first one cannot pass, as channel shuffles and depth-to-space are
/// written: moves the second one before the reshape, where the two are one.
fn join(graph: &mut Draft, position: Place, perm: &[usize]) -> Option<()> {
    let reshape = sole_producer(graph, graph.nodes[position].inputs[0])?;
    let Op::Reshape(_) = graph.nodes[reshape].op else {
        return None;
    };
    let between = graph.nodes[reshape].inputs[0];
    let first = transposed(graph, between, false)?;
    let output = graph.nodes[position].outputs[0];
    let last = graph.tensors[output].ty.clone();
    // Seen from behind, the way back to the tensor between the two is a transpose and a reshape as well.
    let (inner, back) = through_reshape(&last.shape, &inverse(perm), shape(graph, between))?;
    let node = Node {
        name: first.name,
        op: Op::Transpose(Transpose {
            perm: compose(&first.perm, &inverse(&back)),
        }),
        inputs: vec![first.input],
        outputs: Vec::new(),
    };
    let base = graph.tensors[between].name.clone();
    let joined = insert(graph, position, node, &base, TensorType::new(last.dtype, inner));
    graph.change(position, |node| {
        node.inputs = vec![joined];
        node.op = Op::Reshape(Reshape { shape: last.shape });
    });
    Some(())
}

/// Moves a transpose behind a node that acts on its first input.
fn pass(graph: &mut Draft, position: Place, share: bool) -> Option<()> {
    let node = &graph.nodes[position];
    let before = transposed(graph, *node.inputs.first()?, share)?;
    let (op, perm) = passed(graph, node, &before)?;
    graph.change(position, |node| {
        node.op = op;
        node.inputs[0] = before.input;
    });
    put_behind(graph, position, perm, before.name);
    Some(())
}

/// Gives the node's output the order of axes before a transpose by `perm`, and puts that transpose behind it.
fn put_behind(graph: &mut Draft, position: Place, perm: Vec<usize>, name: String) {
    let outer = &graph.tensors[graph.nodes[position].outputs[0]].ty;
    let inner = TensorType::new(outer.dtype, permute_back(&outer.shape, &perm));
    let behind = Node {
        name,
        op: Op::Transpose(Transpose { perm }),
        inputs: Vec::new(),
        outputs: Vec::new(),
    };
    move_behind(graph, position, inner, behind);
}

/// The operator on the tensor before the transpose, and the transpose behind it.
fn passed(graph: &Draft, node: &Node<FloatTensor>, before: &Transposed) -> Option<(Op, Vec<usize>)> {
    let perm = &before.perm;
    let keeps_last = perm.last().is_some_and(|&last| last + 1 == perm.len());
    let same = |op: Op| Some((op, perm.clone()));
    // Per-tensor parameters ignore their axis, which then only has to exist.
    let quantization_axis = |axis: usize| {
        if is_per_tensor(graph, node) {
            axis
        } else {
            perm[axis]
        }
    };
    match &node.op {
        Op::Unary(_) | Op::BitCast(_) | Op::Cast(_) | Op::Delay(_) | Op::NarrowCast(_) => {
            same(node.op.clone())
        }
        Op::QuantizeLinear(op) => same(Op::QuantizeLinear(QuantizeLinear {
            axis: quantization_axis(op.axis),
        })),
        Op::DequantizeLinear(op) => same(Op::DequantizeLinear(DequantizeLinear {
            axis: quantization_axis(op.axis),
        })),
        Op::Softmax(op) => same(Op::Softmax(Softmax {
            axis: perm[op.axis],
            ..*op
        })),
        Op::Cumulate(op) => same(Op::Cumulate(Cumulate {
            axis: perm[op.axis],
            ..op.clone()
        })),
        Op::TopK(op) => same(Op::TopK(TopK {
            axis: perm[op.axis],
            ..op.clone()
        })),
        Op::Resample(op) => {
            let moved = |along: &AlongAxis| AlongAxis {
                axis: perm[along.axis],
                ..along.clone()
            };
            same(Op::Resample(Resample {
                first: moved(&op.first),
                second: op.second.as_ref().map(moved),
            }))
        }
        Op::Reduce(op) => {
            let mut axes: Vec<usize> = op.axes.iter().map(|&axis| perm[axis]).collect();
            axes.sort_unstable();
            same(Op::Reduce(Reduce { axes, ..*op }))
        }
        Op::Slice(op) => same(Op::Slice(Slice {
            starts: permute_back(&op.starts, perm),
            steps: permute_back(&op.steps, perm),
            shape: permute_back(&op.shape, perm),
        })),
        Op::Pad(op) => same(Op::Pad(Pad {
            before: permute_back(&op.before, perm),
            after: permute_back(&op.after, perm),
            mode: op.mode,
        })),
        // The axes that are normalized stay where they are, so the vectors over them still fit.
        Op::LayerNorm(op) if (op.axis..perm.len()).all(|axis| perm[axis] == axis) => same(node.op.clone()),
        Op::BatchNormalization(_) if keeps_last => same(node.op.clone()),
        Op::Dense(op) if keeps_last => same(Op::Dense(Dense { clamp: op.clamp })),
        Op::Gather(op) => {
            let axis = perm[op.axis];
            let perm = match shape(graph, node.inputs[1]).len() {
                0 => perm
                    .iter()
                    .filter(|&&from| from != axis)
                    .map(|&from| from - usize::from(from > axis))
                    .collect(),
                1 => perm.clone(),
                _ => return None,
            };
            Some((Op::Gather(Gather { axis }), perm))
        }
        Op::Reshape(op) => {
            let (shape, perm) = through_reshape(shape(graph, before.input), perm, &op.shape)?;
            Some((Op::Reshape(Reshape { shape }), perm))
        }
        Op::AveragePool(_)
        | Op::BatchNormalization(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Concat(_)
        | Op::Conv2d(_)
        | Op::ConvNd(_)
        | Op::Dense(_)
        | Op::Expand(_)
        | Op::GatherElements(_)
        | Op::GatherNd(_)
        | Op::Lookup(_)
        | Op::Lstm(_)
        | Op::GridSample(_)
        | Op::Attention(_)
        | Op::LayerNorm(_)
        | Op::MatMul(_)
        | Op::MaxPoolIndices(_)
        | Op::Recurrent(_)
        | Op::Repeat(_)
        | Op::RoiAlign(_)
        | Op::MaxPool(_)
        | Op::Select(_)
        | Op::DequantizeTo(_)
        | Op::QuantizeTo(_)
        | Op::Transpose(_)
        | Op::NonMaxSuppression(_)
        | Op::NonZero(_)
        | Op::Scatter(_)
        | Op::TfIdf(_)
        | Op::TreeEnsemble(_)
        | Op::Trilu(_)
        | Op::Unique(_) => None,
    }
}

/// What an operand becomes when the transpose of its neighbours moves behind the node.
enum Operand {
    /// This tensor.
    Tensor(Tensor),
    /// A constant with its axes in the order before the transpose.
    Constant(StoredConstant),
    /// The same tensor, reshaped.
    Reshaped(Tensor, Vec<usize>),
}

/// Moves the common transpose of operands behind an elementwise operator or a `Concat`.
fn pass_operands(graph: &mut Draft, position: Place, share: bool) -> Option<()> {
    let node = &graph.nodes[position];
    let rank = shape(graph, node.outputs[0]).len();
    let elementwise = !matches!(node.op, Op::Concat(_));
    let (before, operands) = node.inputs.iter().find_map(|&input| {
        let before = transposed(graph, input, share).filter(|before| before.perm.len() == rank)?;
        let operands: Option<Vec<Operand>> = node
            .inputs
            .iter()
            .map(|&input| operand(graph, input, &before.perm, elementwise))
            .collect();
        Some((before, operands?))
    })?;
    graph.change(position, |node| {
        if let Op::Concat(op) = &mut node.op {
            op.axis = before.perm[op.axis];
        }
    });
    for (i, operand) in operands.into_iter().enumerate() {
        let input = match operand {
            Operand::Tensor(tensor) => tensor,
            Operand::Constant(constant) => constant.add_to(graph, position),
            Operand::Reshaped(tensor, shape) => {
                let FloatTensor { name, ty, .. } = graph.tensors[tensor].clone();
                let node = Node {
                    name: before.name.clone(),
                    op: Op::Reshape(Reshape { shape: shape.clone() }),
                    inputs: vec![tensor],
                    outputs: Vec::new(),
                };
                insert(graph, position, node, &name, TensorType::new(ty.dtype, shape))
            }
        };
        graph.change(position, |node| node.inputs[i] = input);
    }
    put_behind(graph, position, before.perm, before.name);
    Some(())
}

fn operand(graph: &Draft, tensor: Tensor, perm: &[usize], elementwise: bool) -> Option<Operand> {
    if let Some(other) = transposed(graph, tensor, true)
        && other.perm == perm
    {
        return Some(Operand::Tensor(other.input));
    }
    let own = shape(graph, tensor);
    if elementwise && own.len() <= perm.len() && own.iter().all(|&extent| extent == 1) {
        return Some(Operand::Tensor(tensor));
    }
    // Broadcasting puts extents of 1 in front.
    let missing = perm.len().checked_sub(own.len())?;
    let full: Vec<usize> = std::iter::repeat_n(1, missing)
        .chain(own.iter().copied())
        .collect();
    let undo = inverse(perm);
    if let Some(constant) = StoredConstant::find(graph, tensor) {
        return Some(Operand::Constant(constant.reshaped(&full)?.transposed(&undo)));
    }
    moves_only_units(&full, &undo)
        .then(|| Operand::Reshaped(tensor, undo.iter().map(|&axis| full[axis]).collect()))
}

/// Moves a transpose before the `DequantizeLinear` whose result it alone reads.
fn hoist(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let Op::Transpose(transpose) = &node.op else {
        return None;
    };
    let before = sole_producer(graph, node.inputs[0])?;
    let Op::DequantizeLinear(dequantize) = &graph.nodes[before].op else {
        return None;
    };
    let axis = if is_per_tensor(graph, &graph.nodes[before]) {
        dequantize.axis
    } else {
        transpose.perm.iter().position(|&from| from == dequantize.axis)?
    };
    hoist_above_dequantize(graph, before, position, axis);
    Some(())
}
