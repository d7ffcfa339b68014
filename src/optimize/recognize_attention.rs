//! The pass `recognize-attention`.

use super::draft::{Draft, Place};
use super::edit::{Tensor, absorb, add_constant, insert, move_behind, operands, reals, shape, sole_producer};
use crate::ir::{FloatGraph, FloatTensor, Node};
use crate::op::tensor::{DType, TensorType, Values};
use crate::op::{
    Attention, Binary, BinaryKind, Clamp, Heads, MatMul, Op, Reshape, Select, SoftmaxKind, Transpose,
};

/// Swaps heads and rows.
const HEADS_AND_ROWS: [usize; 4] = [0, 2, 1, 3];

/// The most nodes between the two products, but for the softmax.
const MOST_BETWEEN: usize = 8;

/// What a score must be replaced by to be out of reach of any score that f32 can tell apart from it.
const UNREACHABLE: f32 = -1e20;

/// Makes one `Attention` of a product, a softmax and a second product, so that the scores need no room: between the two,
/// scores may be multiplied by a number, then have masks added or be replaced by a very low number where a condition
/// says so, and be reshaped. Then lets it read and write tensors whose heads lie inside, without transposes.
///
/// Fires where nothing else reads the scores, and the right factor is a transposed tensor or a constant. Query heads that
/// share keys share values alike. Only for graphs that are computed in reals: there is no integer kernel for it.
/// Approximate: a factor moves from the queries to the sums, a softmax divides last.
pub(super) fn recognize_attention(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, |graph, position| match &graph.nodes[position].op {
        Op::MatMul(_) => written_out(graph, position),
        Op::Attention(_) => turn_inputs(graph, position),
        Op::Transpose(_) => turn_output(graph, position),
        _ => None,
    })
}

/// The second product, at `position`.
fn written_out(graph: &mut Draft, position: Place) -> Option<()> {
    let found = Found::at(graph, position)?;
    let Sizes {
        batch,
        heads,
        kv_heads,
        ..
    } = found.sizes;
    let [queries, keys, depth, width] = found.sizes.matrices;
    let k = found.k.insert(graph, position);
    let q = reshaped(graph, position, found.q, [batch, heads, queries, depth]);
    let k = reshaped(graph, position, k, [batch, kv_heads, keys, depth]);
    let v = reshaped(graph, position, found.v, [batch, kv_heads, keys, width]);
    let mut inputs = vec![q, k, v];
    inputs.extend(mask(graph, position, &found));
    let attention = Attention {
        scale: found.scale as f32,
        kind: found.kind,
        heads: [Heads::Outside; 4],
    };
    graph.change(position, |node| {
        node.op = Op::Attention(attention);
        node.inputs = inputs;
    });
    let outer = graph.tensors[graph.nodes[position].outputs[0]].ty.clone();
    let inner = TensorType::new(DType::F32, [batch, heads, queries, width]);
    if outer != inner {
        let behind = Node {
            name: graph.nodes[position].name.clone(),
            op: Op::Reshape(Reshape { shape: outer.shape }),
            inputs: Vec::new(),
            outputs: Vec::new(),
        };
        move_behind(graph, position, inner, behind);
    }
    let _ = turn_inputs(graph, position);
    Some(())
}

/// Lets the attention at `position` read what is transposed before it.
fn turn_inputs(graph: &mut Draft, position: Place) -> Option<()> {
    let mut node = graph.nodes[position].clone();
    let Op::Attention(op) = &mut node.op else {
        return None;
    };
    let mut is_turned = false;
    for (input, heads) in node.inputs.iter_mut().zip(&mut op.heads[..3]) {
        if let Some(producer) = graph.producer(*input)
            && let Op::Transpose(transpose) = &graph.nodes[producer].op
            && transpose.perm == HEADS_AND_ROWS
        {
            *input = graph.nodes[producer].inputs[0];
            *heads = heads.turned();
            is_turned = true;
        }
    }
    is_turned.then(|| {
        graph.change(position, |old| {
            old.op = node.op;
            old.inputs = node.inputs;
        });
    })
}

/// Lets the attention write what the transpose at `position` makes of it.
fn turn_output(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let attention = sole_producer(graph, node.inputs[0])?;
    let mut merged = graph.nodes[attention].clone();
    match (&node.op, &mut merged.op) {
        (Op::Transpose(transpose), Op::Attention(op)) if transpose.perm == HEADS_AND_ROWS => {
            op.heads[3] = op.heads[3].turned();
        }
        _ => return None,
    }
    absorb(graph, attention, position, merged);
    Some(())
}

/// An attention that is written out.
struct Found {
    q: Tensor,
    k: Untransposed,
    v: Tensor,
    scale: f64,
    masks: Vec<Mask>,
    kind: SoftmaxKind,
    sizes: Sizes,
    /// Shape of the scores where masks are added.
    grid: Vec<usize>,
}

struct Sizes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    /// Queries, keys, depth and width.
    matrices: [usize; 4],
}

impl Found {
    fn at(graph: &Draft, position: Place) -> Option<Self> {
        let [weights, v] = product(graph, position)?;
        let output = graph.nodes[position].outputs[0];
        if graph.tensors[output].ty.dtype != DType::F32 || graph.tensors[output].ty.is_empty() {
            return None;
        }
        let (softmax, kind) = softmax(graph, weights)?;
        let logits = graph.nodes[softmax].inputs[0];
        let scores = Scores::of(graph, logits, MOST_BETWEEN)?;
        let [q, turned] = product(graph, scores.product)?;
        let grid = shape(graph, logits).to_vec();
        let (&[queries, keys], lead) = (grid.last_chunk()?, &grid[..grid.len() - 2]);
        let (&heads, outer) = lead.split_last().unwrap_or((&1, &[]));
        let batch = outer.iter().product();
        let (q_lead, depth) = (batches(graph, q)?, *shape(graph, q).last()?);
        let width = *shape(graph, v).last()?;
        // Neither product repeats its left factor.
        let first = graph.nodes[scores.product].outputs[0];
        if batches(graph, first)? != q_lead || batches(graph, output)? != batches(graph, weights)? {
            return None;
        }
        let sharing = sharing(q_lead, batches(graph, turned)?)?;
        let same = sharing == self::sharing(batches(graph, weights)?, batches(graph, v)?)?;
        if !same || !heads.is_multiple_of(sharing) {
            return None;
        }
        let masks_fit =
            (scores.masks.iter()).all(|mask| mask_shape(&grid, shape(graph, mask.tensor())).is_some());
        if !masks_fit || !(scores.scale as f32).is_finite() {
            return None;
        }
        Some(Self {
            q,
            k: Untransposed::of(graph, turned)?,
            v,
            scale: scores.scale,
            masks: scores.masks,
            kind,
            sizes: Sizes {
                batch,
                heads,
                kv_heads: heads / sharing,
                matrices: [queries, keys, depth, width],
            },
            grid,
        })
    }
}

/// The factors of a product of matrices.
fn product(graph: &Draft, position: Place) -> Option<[Tensor; 2]> {
    let node = &graph.nodes[position];
    match (&node.op, &node.inputs[..]) {
        (Op::MatMul(MatMul {}), &[a, b]) if shape(graph, a).len() > 1 && shape(graph, b).len() > 1 => {
            Some([a, b])
        }
        _ => None,
    }
}

/// The softmax along the last axis that alone is read as these weights, perhaps reshaped.
fn softmax(graph: &Draft, weights: Tensor) -> Option<(Place, SoftmaxKind)> {
    let mut position = sole_producer(graph, weights)?;
    if let Some(before) = keeps_matrices(graph, position) {
        position = sole_producer(graph, before)?;
    }
    match &graph.nodes[position].op {
        Op::Softmax(op)
            if op.axis + 1 == shape(graph, graph.nodes[position].inputs[0]).len()
                && matches!(op.kind, SoftmaxKind::Probability | SoftmaxKind::Attended) =>
        {
            Some((position, op.kind))
        }
        _ => None,
    }
}

/// The input of a reshape that leaves the last two axes as they are.
fn keeps_matrices(graph: &Draft, position: Place) -> Option<Tensor> {
    let node = &graph.nodes[position];
    let Op::Reshape(reshape) = &node.op else {
        return None;
    };
    let before = shape(graph, node.inputs[0]);
    let keeps = before.last_chunk::<2>()? == reshape.shape.last_chunk::<2>()?;
    keeps.then_some(node.inputs[0])
}

/// Extents before the matrices.
fn batches(graph: &Draft, tensor: Tensor) -> Option<&[usize]> {
    let shape = shape(graph, tensor);
    shape.get(..shape.len().checked_sub(2)?)
}

/// How many neighbouring matrices of a batch share one of `part`.
fn sharing(full: &[usize], part: &[usize]) -> Option<usize> {
    let missing = full.len().checked_sub(part.len())?;
    let part = |axis: usize| axis.checked_sub(missing).map_or(1, |axis| part[axis]);
    let first = (0..full.len())
        .rev()
        .find(|&axis| part(axis) != 1)
        .map_or(0, |last| last + 1);
    let is_own = (0..first).all(|axis| part(axis) == full[axis]);
    is_own.then(|| full[first..].iter().product())
}

/// What is added to the scores.
#[derive(Clone, Copy)]
enum Mask {
    /// A tensor.
    Sum(Tensor),
    /// A number where a condition says so (or where it does not), else 0.
    Where {
        condition: Tensor,
        low: f32,
        if_true: bool,
    },
}

impl Mask {
    fn tensor(self) -> Tensor {
        match self {
            Self::Sum(tensor)
            | Self::Where {
                condition: tensor, ..
            } => tensor,
        }
    }
}

/// Scores on their way from the first product to the softmax.
struct Scores {
    product: Place,
    scale: f64,
    masks: Vec<Mask>,
}

impl Scores {
    /// The scores that `tensor` holds, which one node reads; at most `left` nodes behind their product.
    fn of(graph: &Draft, tensor: Tensor, left: usize) -> Option<Self> {
        let position = sole_producer(graph, tensor)?;
        let left = left.checked_sub(1)?;
        if product(graph, position).is_some() {
            return Some(Self {
                product: position,
                scale: 1.0,
                masks: Vec::new(),
            });
        }
        let bare = |tensor: Tensor| Self::of(graph, tensor, left).filter(|scores| scores.masks.is_empty());
        if let Some(before) = keeps_matrices(graph, position) {
            return bare(before);
        }
        if let Some([a, b]) = operands(graph, position, BinaryKind::Mul) {
            let scaled = |scores: Tensor, factor: Tensor| {
                let factor = number(graph, factor)?;
                bare(scores).map(|scores| scores.scaled(f64::from(factor)))
            };
            return scaled(a, b).or_else(|| scaled(b, a));
        }
        if let Some([a, b]) = operands(graph, position, BinaryKind::Div) {
            let divisor = number(graph, b)?;
            return Some(bare(a)?.scaled(1.0 / f64::from(divisor)));
        }
        let masked = |scores: Tensor, mask: Mask| {
            let is_whole = shape(graph, scores) == shape(graph, tensor);
            let mut found = Self::of(graph, scores, left).filter(|_| is_whole)?;
            found.masks.push(mask);
            Some(found)
        };
        if let Some([a, b]) = operands(graph, position, BinaryKind::Add) {
            return masked(a, Mask::Sum(b)).or_else(|| masked(b, Mask::Sum(a)));
        }
        if let (Op::Select(Select {}), &[condition, a, b]) =
            (&graph.nodes[position].op, &graph.nodes[position].inputs[..])
        {
            let replaced = |scores: Tensor, by: Tensor, if_true: bool| {
                let low = number(graph, by).filter(|&low| low <= UNREACHABLE)?;
                let mask = Mask::Where {
                    condition,
                    low,
                    if_true,
                };
                masked(scores, mask)
            };
            return replaced(b, a, true).or_else(|| replaced(a, b, false));
        }
        None
    }

    fn scaled(self, factor: f64) -> Self {
        Self {
            scale: self.scale * factor,
            ..self
        }
    }
}

/// The one number that a constant holds, however often.
fn number(graph: &Draft, tensor: Tensor) -> Option<f32> {
    let (first, rest) = reals(graph, tensor)?.split_first()?;
    rest.iter().all(|other| other == first).then_some(*first)
}

/// A tensor whose last two axes a product reads the other way round.
struct Untransposed {
    source: Tensor,
    perm: Vec<usize>,
    name: String,
}

impl Untransposed {
    /// Of a constant, or of what a transpose makes that nothing else reads, perhaps reshaped.
    fn of(graph: &Draft, turned: Tensor) -> Option<Self> {
        let mut turned = turned;
        if let Some(position) = sole_producer(graph, turned)
            && let Some(before) = keeps_matrices(graph, position)
        {
            turned = before;
        }
        let (source, mut perm, name) = if reals(graph, turned).is_some() {
            let perm: Vec<usize> = (0..shape(graph, turned).len()).collect();
            (turned, perm, graph.tensors[turned].name.clone())
        } else {
            let node = &graph.nodes[sole_producer(graph, turned)?];
            let Op::Transpose(transpose) = &node.op else {
                return None;
            };
            (node.inputs[0], transpose.perm.clone(), node.name.clone())
        };
        let rank = perm.len();
        perm.swap(rank.checked_sub(2)?, rank - 1);
        Some(Self { source, perm, name })
    }

    /// The tensor as it was, or transposed otherwise, before `position`.
    fn insert(&self, graph: &mut Draft, position: Place) -> Tensor {
        if self.perm.iter().copied().eq(0..self.perm.len()) {
            return self.source;
        }
        let from = &graph.tensors[self.source];
        let shape: Vec<usize> = self.perm.iter().map(|&axis| from.ty.shape[axis]).collect();
        let (base, ty) = (from.name.clone(), TensorType::new(from.ty.dtype, shape));
        let op = Op::Transpose(Transpose {
            perm: self.perm.clone(),
        });
        insert(
            graph,
            position,
            node(op, vec![self.source], &self.name),
            &base,
            ty,
        )
    }
}

/// A mask's shape as `[batch, heads, queries, keys]`, each as in the scores' `grid` or 1.
fn mask_shape(grid: &[usize], mask: &[usize]) -> Option<[usize; 4]> {
    let missing = grid.len().checked_sub(mask.len())?;
    let axis = |axis: usize| axis.checked_sub(missing).map_or(1, |axis| mask[axis]);
    let inner = [3, 2, 1].map(|back| grid.len().checked_sub(back).map_or(1, axis));
    let outer: Vec<usize> = (0..grid.len().saturating_sub(3)).map(axis).collect();
    let is_one = outer.iter().all(|&extent| extent == 1);
    let is_whole = outer == grid[..outer.len()];
    let [heads, queries, keys] = inner;
    (is_one || is_whole).then(|| [outer.iter().product(), heads, queries, keys])
}

/// All masks in one, of rank 4; `None` where there are none.
fn mask(graph: &mut Draft, position: Place, found: &Found) -> Option<Tensor> {
    let mut sum: Option<Tensor> = None;
    for &mask in &found.masks {
        let shape = mask_shape(&found.grid, shape(graph, mask.tensor()))?;
        let tensor = match mask {
            Mask::Sum(tensor) => tensor,
            Mask::Where {
                condition,
                low,
                if_true,
            } => {
                let name = graph.tensors[condition].name.clone();
                let [low, zero] = [low, 0.0].map(|x| add_constant(graph, &name, Values::f32([], vec![x])));
                let [a, b] = if if_true { [low, zero] } else { [zero, low] };
                let ty = TensorType::new(DType::F32, &graph.tensors[condition].ty.shape[..]);
                let name = graph.nodes[position].name.clone();
                let select = node(Op::Select(Select {}), vec![condition, a, b], &name);
                insert(graph, position, select, "mask", ty)
            }
        };
        let tensor = reshaped(graph, position, tensor, shape);
        sum = Some(match sum {
            None => tensor,
            Some(sum) => {
                let both: Vec<usize> = self::shape(graph, sum)
                    .iter()
                    .zip(shape)
                    .map(|(&a, b)| a.max(b))
                    .collect();
                let op = Op::Binary(Binary {
                    kind: BinaryKind::Add,
                    clamp: Clamp::NONE,
                });
                let name = graph.nodes[position].name.clone();
                let ty = TensorType::new(DType::F32, both);
                insert(graph, position, node(op, vec![sum, tensor], &name), "mask", ty)
            }
        });
    }
    sum
}

fn node(op: Op, inputs: Vec<Tensor>, name: &str) -> Node<FloatTensor> {
    Node {
        name: name.to_owned(),
        op,
        inputs,
        outputs: Vec::new(),
    }
}

/// `tensor` in another shape, before `position`.
fn reshaped(graph: &mut Draft, position: Place, tensor: Tensor, shape: [usize; 4]) -> Tensor {
    let from = &graph.tensors[tensor];
    if from.ty.shape == shape {
        return tensor;
    }
    let (base, ty) = (from.name.clone(), TensorType::new(from.ty.dtype, shape));
    let op = Op::Reshape(Reshape { shape: shape.into() });
    let name = graph.nodes[position].name.clone();
    insert(graph, position, node(op, vec![tensor], &name), &base, ty)
}
