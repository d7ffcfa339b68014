//! The pass `recognize-layer-norm`.

use super::draft::{Draft, Place};
use super::edit::{Tensor, absorb, add_constant, operands, reals, shape, sole_producer};
use crate::ir::{FloatGraph, FloatTensor, Node};
use crate::op::tensor::{DType, Values};
use crate::op::{BinaryKind, LayerNorm, Op, ReduceKind, UnaryKind};

/// Makes one `LayerNorm` of the nodes that exporters write it in: what is left of x without its mean over the last axes,
/// by the root of its mean square and an epsilon, then a scale, then a bias.
///
/// The root may be `Sqrt` or a power of ½, dividing may be `Div`, or `Mul` with a reciprocal or a power of −½, squares may be
/// powers of 2 or products, and everything may be multiplied out as `x·w + (bias − mean·w)`, where `w` holds the scale.
/// Intermediate results may have other readers; they stay for those. A scale or bias has the shape of the axes that are
/// normalized, or is a constant that broadcasts to it.
///
/// Fires before `reduce-mean-to-pool` takes the means. Approximate: statistics are kept in f64.
pub(super) fn recognize_layer_norm(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, |graph, position| {
        normal(graph, position)
            .or_else(|| scale(graph, position))
            .or_else(|| bias(graph, position))
            .or_else(|| multiplied_out(graph, position))
    })
}

/// `(x − mean) / √(variance + epsilon)` at its last node.
fn normal(graph: &mut Draft, position: Place) -> Option<()> {
    let quotient = operands(graph, position, BinaryKind::Div).and_then(|[centered, deviation]| {
        let variance = root(graph, deviation)?;
        Some((centered, variance))
    });
    let (centered, variance) = quotient.or_else(|| {
        let factors = operands(graph, position, BinaryKind::Mul)?;
        either(factors, |centered, inverse| {
            Some((centered, inverse_root(graph, inverse)?))
        })
    })?;
    let [x, mean] = made_by(graph, centered, BinaryKind::Sub)?;
    let rows = Rows::of(graph, x, mean, variance)?;
    replace(graph, position, rows.op, vec![x]);
    Some(())
}

/// A product with a `LayerNorm` that has no scale yet.
fn scale(graph: &mut Draft, position: Place) -> Option<()> {
    affine(graph, position, BinaryKind::Mul, 1)
}

/// A sum with a `LayerNorm` that has a scale, but no bias yet.
fn bias(graph: &mut Draft, position: Place) -> Option<()> {
    affine(graph, position, BinaryKind::Add, 2)
}

/// Gives the `LayerNorm` that the node at `position` alone reads one more input: the node's other operand.
fn affine(graph: &mut Draft, position: Place, kind: BinaryKind, inputs: usize) -> Option<()> {
    let operands = operands(graph, position, kind)?;
    let (norm, other) = either(operands, |normal, other| {
        let norm = sole_producer(graph, normal)?;
        let is_open = matches!(graph.nodes[norm].op, Op::LayerNorm(_));
        (is_open && graph.nodes[norm].inputs.len() == inputs).then_some((norm, other))
    })?;
    let Op::LayerNorm(LayerNorm { axis, .. }) = graph.nodes[norm].op else {
        return None;
    };
    let other = over_row(graph, position, other, axis)?;
    let mut merged = graph.nodes[norm].clone();
    merged.inputs.push(other);
    absorb(graph, norm, position, merged);
    Some(())
}

/// `x·w + (bias − mean·w)` at its sum, where `w = scale / √(variance + epsilon)`.
fn multiplied_out(graph: &mut Draft, position: Place) -> Option<()> {
    let terms = operands(graph, position, BinaryKind::Add)?;
    let (x, weight, bias, mean) = either(terms, |product, rest| {
        let [bias, shift] = made_by(graph, rest, BinaryKind::Sub)?;
        let factors = made_by(graph, product, BinaryKind::Mul)?;
        let shifts = made_by(graph, shift, BinaryKind::Mul)?;
        either(factors, |x, weight| {
            either(shifts, |mean, same| {
                (same == weight).then_some((x, weight, bias, mean))
            })
        })
    })?;
    let factors = made_by(graph, weight, BinaryKind::Mul)?;
    let (variance, scale) = either(factors, |inverse, scale| {
        Some((inverse_root(graph, inverse)?, scale))
    })?;
    let rows = Rows::of(graph, x, mean, variance)?;
    let scale = over_row(graph, position, scale, rows.axis)?;
    let bias = over_row(graph, position, bias, rows.axis)?;
    replace(graph, position, rows.op, vec![x, scale, bias]);
    Some(())
}

fn replace(graph: &mut Draft, position: Place, op: LayerNorm, inputs: Vec<Tensor>) {
    graph.change(position, |node| {
        node.op = Op::LayerNorm(op);
        node.inputs = inputs;
    });
}

/// What a normalization is made over.
struct Rows {
    axis: usize,
    op: LayerNorm,
}

impl Rows {
    /// The last axes over which `mean` is the mean of `x`, and `variance` is that of what is left, plus an epsilon.
    fn of(graph: &Draft, x: Tensor, mean: Tensor, variance: Tensor) -> Option<Self> {
        if graph.tensors[x].ty.dtype != DType::F32 {
            return None;
        }
        let axis = mean_of(graph, mean, x)?;
        let sum = made_by(graph, variance, BinaryKind::Add)?;
        let (squares, epsilon) = either(sum, |mean, epsilon| {
            let squares = &graph.nodes[graph.producer(mean)?].inputs;
            let squares = *squares.first()?;
            (mean_of(graph, mean, squares)? == axis).then_some((squares, number(graph, epsilon)?))
        })?;
        let is_centered = |tensor: Tensor| {
            let Some([minuend, subtrahend]) = made_by(graph, tensor, BinaryKind::Sub) else {
                return false;
            };
            // The square does not tell x − mean from mean − x.
            [[minuend, subtrahend], [subtrahend, minuend]]
                .into_iter()
                .any(|[of, by]| of == x && mean_of(graph, by, x) == Some(axis))
        };
        let product = made_by(graph, squares, BinaryKind::Mul).filter(|[a, b]| a == b);
        let power = made_by(graph, squares, BinaryKind::Pow)
            .filter(|&[_, exponent]| number(graph, exponent) == Some(2.0));
        let [centered, _] = product.or(power)?;
        let is_fit = is_centered(centered) && epsilon >= 0.0 && epsilon.is_finite();
        is_fit.then_some(Self {
            axis,
            op: LayerNorm { axis, epsilon },
        })
    }
}

/// What `tensor` is the root of.
fn root(graph: &Draft, tensor: Tensor) -> Option<Tensor> {
    of_function(graph, tensor, UnaryKind::Sqrt).or_else(|| power(graph, tensor, 0.5))
}

/// What `tensor` is the reciprocal of the root of.
fn inverse_root(graph: &Draft, tensor: Tensor) -> Option<Tensor> {
    let quotient = made_by(graph, tensor, BinaryKind::Div)
        .filter(|&[one, _]| number(graph, one) == Some(1.0))
        .map(|[_, deviation]| deviation);
    let deviation = quotient.or_else(|| of_function(graph, tensor, UnaryKind::Reciprocal));
    match deviation {
        Some(deviation) => root(graph, deviation),
        None => power(graph, tensor, -0.5),
    }
}

/// What `tensor` is this power of.
fn power(graph: &Draft, tensor: Tensor, wanted: f32) -> Option<Tensor> {
    let [base, exponent] = made_by(graph, tensor, BinaryKind::Pow)?;
    (number(graph, exponent) == Some(wanted)).then_some(base)
}

/// What `tensor` is this function of.
fn of_function(graph: &Draft, tensor: Tensor, kind: UnaryKind) -> Option<Tensor> {
    let node = &graph.nodes[graph.producer(tensor)?];
    matches!(&node.op, Op::Unary(unary) if unary.kind == kind).then(|| node.inputs[0])
}

/// The first axis of the last ones over which `mean` is the mean of `x`.
fn mean_of(graph: &Draft, mean: Tensor, x: Tensor) -> Option<usize> {
    let node: &Node<FloatTensor> = &graph.nodes[graph.producer(mean)?];
    let Op::Reduce(reduce) = &node.op else {
        return None;
    };
    let axis = *reduce.axes.first()?;
    let to_the_last = reduce.axes.iter().copied().eq(axis..shape(graph, x).len());
    (reduce.kind == ReduceKind::Mean && node.inputs[0] == x && to_the_last).then_some(axis)
}

/// The operands of the node that makes `tensor`, if it is of this kind.
fn made_by(graph: &Draft, tensor: Tensor, kind: BinaryKind) -> Option<[Tensor; 2]> {
    operands(graph, graph.producer(tensor)?, kind)
}

/// What `find` finds in two operands, whichever comes first.
fn either<T>([a, b]: [Tensor; 2], find: impl Fn(Tensor, Tensor) -> Option<T>) -> Option<T> {
    find(a, b).or_else(|| find(b, a))
}

/// A constant of one element.
fn number(graph: &Draft, tensor: Tensor) -> Option<f32> {
    match reals(graph, tensor)? {
        [number] => Some(*number),
        _ => None,
    }
}

/// A scale or bias over the last axes of the output at `position`: the tensor itself, or a constant spread to them.
fn over_row(graph: &mut Draft, position: Place, tensor: Tensor, axis: usize) -> Option<Tensor> {
    let output = shape(graph, graph.nodes[position].outputs[0]);
    let row = output.get(axis..)?.to_vec();
    let own = shape(graph, tensor).to_vec();
    if own == row {
        return Some(tensor);
    }
    let values = reals(graph, tensor)?;
    let len: usize = row.iter().product();
    let ones = own.len().saturating_sub(row.len());
    let values = if own[..ones].iter().all(|&extent| extent == 1) && own[ones..] == row {
        values.to_vec()
    } else if values.len() == 1 && own.len() <= output.len() {
        vec![values[0]; len]
    } else {
        return None;
    };
    let name = graph.tensors[tensor].name.clone();
    Some(add_constant(graph, &name, Values::f32(row, values)))
}
