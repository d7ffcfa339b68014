//! Einsum, as diagonals, sums, and products of matrices: two operands at a time, from left to right.

use std::collections::BTreeMap;

use super::super::builder::{Builder, Tensor};
use super::{Call, Importer, Made, onnx};
use crate::op::{Op, OpError, ReduceKind, Slice};

pub(super) const IMPORTERS: &[Importer] = &[onnx("Einsum", einsum)];

/// A letter of the equation, or an axis of the ellipsis, counted from its last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// A tensor with one label per axis, none twice.
struct Term {
    tensor: Tensor,
    labels: Vec<Label>,
}

fn einsum(call: &mut Call<'_>) -> Made {
    let equation: String = call.attrs.word("equation", "")?.replace(' ', "");
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let parts: Vec<&str> = left.split(',').collect();
    if parts.len() != call.inputs.len() {
        return Err(OpError::new(format!(
            "an equation of {} terms wanted, `{equation}` found",
            call.inputs.len()
        )));
    }
    let mut terms = Vec::new();
    let mut counts: BTreeMap<Label, usize> = BTreeMap::new();
    for (index, part) in parts.iter().enumerate() {
        let tensor = call.input(index)?;
        let labels = labels(part, Some(call.graph.rank(tensor)), 0)?;
        for &label in &labels {
            *counts.entry(label).or_default() += 1;
        }
        terms.push(diagonal(call.graph, Term { tensor, labels })?);
    }
    let ellipsis = |label: &&Label| matches!(label, Label::Ellipsis(_));
    let ellipsis_axes = counts.keys().filter(ellipsis).count();
    let output = match right {
        Some(right) => labels(right, None, ellipsis_axes)?,
        // The ellipsis first, then what stands there once, in the order of the alphabet.
        None => {
            let axes = (0..ellipsis_axes).rev().map(Label::Ellipsis);
            let single = counts.iter().filter(|&(_, &count)| count == 1);
            let letters = single.map(|(&label, _)| label);
            axes.chain(letters.filter(|label| matches!(label, Label::Letter(_))))
                .collect()
        }
    };
    let known = |label: &Label| counts.contains_key(label);
    let twice = (1..output.len()).any(|i| output[..i].contains(&output[i]));
    if twice || !output.iter().all(known) {
        return Err(OpError::new(format!(
            "an output of labels of the inputs, each once, wanted, `{equation}` found"
        )));
    }
    let mut rest = terms.into_iter();
    let mut product = rest
        .next()
        .ok_or_else(|| OpError::new("an operand wanted, none found"))?;
    let rest: Vec<Term> = rest.collect();
    for (index, term) in rest.iter().enumerate() {
        let later = |label: Label| {
            let mut later = rest[index + 1..].iter();
            output.contains(&label) || later.any(|term| term.labels.contains(&label))
        };
        product = multiply(call.graph, &product, term, later)?;
    }
    let sum = sum_out(call.graph, &product, |label| output.contains(&label))?;
    let perm: Vec<usize> = output
        .iter()
        .filter_map(|label| sum.labels.iter().position(|own| own == label))
        .collect();
    Ok(vec![call.graph.transpose(sum.tensor, &perm, "ordered")?])
}

/// The labels of one term. The ellipsis stands for the axes that a rank leaves, or for as many as given.
fn labels(term: &str, rank: Option<usize>, ellipsis_axes: usize) -> Result<Vec<Label>, OpError> {
    let misfit = || {
        OpError::new(format!(
            "a term of letters that fits its operand wanted, `{term}` found"
        ))
    };
    let (before, behind) = match term.split_once("...") {
        Some((before, behind)) => (before, Some(behind)),
        None => (term, None),
    };
    let letters = |part: &str| -> Result<Vec<Label>, OpError> {
        let letter = |c: char| c.is_ascii_alphabetic().then_some(Label::Letter(c));
        part.chars().map(|c| letter(c).ok_or_else(misfit)).collect()
    };
    let mut labels = letters(before)?;
    if let Some(behind) = behind {
        let behind = letters(behind)?;
        let named = labels.len() + behind.len();
        let axes = match rank {
            Some(rank) => rank.checked_sub(named).ok_or_else(misfit)?,
            None => ellipsis_axes,
        };
        labels.extend((0..axes).rev().map(Label::Ellipsis));
        labels.extend(behind);
    }
    if rank.is_some_and(|rank| rank != labels.len()) {
        return Err(misfit());
    }
    Ok(labels)
}

/// Takes the diagonal where a label stands twice.
fn diagonal(graph: &mut Builder, mut term: Term) -> Result<Term, OpError> {
    loop {
        let labels = &term.labels;
        let twice = (0..labels.len()).find_map(|second| {
            let first = labels[..second]
                .iter()
                .position(|label| *label == labels[second])?;
            Some((first, second))
        });
        let Some((first, second)) = twice else {
            return Ok(term);
        };
        let shape = graph.shape(term.tensor).to_vec();
        let extent = shape[first];
        if shape[second] != extent {
            return Err(OpError::new(format!(
                "equal extents under one label wanted, axes {first} and {second} of {shape:?} found"
            )));
        }
        // Both axes last and made one: its elements on the diagonal lie one more than an extent apart.
        let mut perm: Vec<usize> = (0..shape.len())
            .filter(|&axis| axis != first && axis != second)
            .collect();
        let mut flat: Vec<usize> = perm.iter().map(|&axis| shape[axis]).collect();
        let mut kept: Vec<_> = perm.iter().map(|&axis| labels[axis]).collect();
        kept.push(labels[first]);
        perm.extend([first, second]);
        flat.push(extent * extent);
        let moved = graph.transpose(term.tensor, &perm, "square_last")?;
        let moved = graph.reshape(moved, flat.clone(), "square_flat")?;
        let rank = flat.len();
        let mut steps = vec![1; rank];
        steps[rank - 1] = extent as i64 + 1;
        flat[rank - 1] = extent;
        let slice = Op::Slice(Slice {
            starts: vec![0; rank],
            steps,
            shape: flat,
        });
        term = Term {
            tensor: graph.emit(slice, &[moved], "diagonal")?,
            labels: kept,
        };
    }
}

/// Sums over the labels that are not kept, and drops them.
fn sum_out(graph: &mut Builder, term: &Term, keep: impl Fn(Label) -> bool) -> Result<Term, OpError> {
    let axes: Vec<usize> = (0..term.labels.len())
        .filter(|&axis| !keep(term.labels[axis]))
        .collect();
    let mut tensor = term.tensor;
    if !axes.is_empty() {
        tensor = graph.reduce(ReduceKind::Sum, tensor, &axes, "sum")?;
        let shape = graph.shape(tensor).to_vec();
        let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
        let kept: Vec<usize> = kept.map(|axis| shape[axis]).collect();
        tensor = graph.reshape(tensor, kept, "summed")?;
    }
    let labels = term.labels.iter().copied().filter(|&label| keep(label)).collect();
    Ok(Term { tensor, labels })
}

/// The product of two terms, summed over the labels that nothing needs later: a product of matrices over the labels
/// of one side alone, in batches over those of both that are needed.
fn multiply(graph: &mut Builder, a: &Term, b: &Term, later: impl Fn(Label) -> bool) -> Result<Term, OpError> {
    let extent = |graph: &Builder, term: &Term, label: Label| {
        let axis = term.labels.iter().position(|own| *own == label);
        axis.map(|axis| graph.shape(term.tensor)[axis])
    };
    for &label in &a.labels {
        let (own, other) = (extent(graph, a, label), extent(graph, b, label));
        if let (Some(own), Some(other)) = (own, other)
            && own != other
            && own != 1
            && other != 1
        {
            return Err(OpError::new(format!(
                "equal extents under one label wanted, {own} and {other} found"
            )));
        }
    }
    // What one side alone has, or repeats along, can be summed before the product.
    let lone = |graph: &Builder, own: &Term, other: &Term, label: Label| {
        later(label)
            || (extent(graph, other, label).is_some()
                && extent(graph, other, label) == extent(graph, own, label))
    };
    let keep_a: Vec<Label> = a
        .labels
        .iter()
        .copied()
        .filter(|&l| lone(graph, a, b, l))
        .collect();
    let keep_b: Vec<Label> = b
        .labels
        .iter()
        .copied()
        .filter(|&l| lone(graph, b, a, l))
        .collect();
    let a = sum_out(graph, a, |label| keep_a.contains(&label))?;
    let b = sum_out(graph, b, |label| keep_b.contains(&label))?;
    let shared = |label: &Label| a.labels.contains(label) && b.labels.contains(label);
    let all: Vec<Label> = a.labels.clone();
    let batch: Vec<Label> = all.iter().copied().filter(|l| shared(l) && later(*l)).collect();
    let inner: Vec<Label> = all.iter().copied().filter(|l| shared(l) && !later(*l)).collect();
    let rows: Vec<Label> = all.iter().copied().filter(|l| !shared(l)).collect();
    let columns: Vec<Label> = b.labels.iter().copied().filter(|l| !shared(l)).collect();

    let left = matrix(graph, &a, [&batch, &rows, &inner])?;
    let right = matrix(graph, &b, [&batch, &inner, &columns])?;
    let product = if inner.is_empty() && rows.is_empty() && columns.is_empty() {
        graph.mul(left, right, "product")?
    } else {
        graph.matmul(left, right, "product")?
    };
    let mut shape = graph.shape(product)[..batch.len()].to_vec();
    for (term, labels) in [(&a, &rows), (&b, &columns)] {
        shape.extend(labels.iter().filter_map(|&label| extent(graph, term, label)));
    }
    Ok(Term {
        tensor: graph.reshape(product, shape, "terms")?,
        labels: [batch, rows, columns].concat(),
    })
}

/// A term with its axes in three groups: those of the batch one by one, the other two as rows and columns.
fn matrix(graph: &mut Builder, term: &Term, groups: [&[Label]; 3]) -> Result<Tensor, OpError> {
    let place = |label: &Label| term.labels.iter().position(|own| own == label);
    let perm: Vec<usize> = groups
        .iter()
        .flat_map(|group| group.iter().filter_map(place))
        .collect();
    let moved = graph.transpose(term.tensor, &perm, "grouped")?;
    let shape = graph.shape(moved);
    let (batch, rest) = shape.split_at(groups[0].len());
    let (rows, columns) = rest.split_at(groups[1].len());
    let mut flat = batch.to_vec();
    flat.extend([rows.iter().product::<usize>(), columns.iter().product()]);
    graph.reshape(moved, flat, "matrix")
}
