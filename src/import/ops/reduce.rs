//! Reductions. Those that ONNX composes of a function of each element, a sum or such, and a function of the result are
//! decomposed likewise.

use super::super::builder::Tensor;
use super::{Call, Importer, Made, onnx, resolve_axes};
use crate::op::{OpError, ReduceKind};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("ReduceMax", max),
    onnx("ReduceMean", mean),
    onnx("ReduceMin", min),
    onnx("ReduceProd", prod),
    onnx("ReduceSum", sum),
    onnx("ReduceSumSquare", sum_square),
];

/// What is reduced, and what becomes of the axes.
struct Reduction {
    x: Tensor,
    axes: Vec<usize>,
    keep: bool,
}

impl Reduction {
    /// Opset `since` has the axes as an input; without any, all axes are reduced, or none if asked so.
    fn read(call: &Call<'_>, since: i64) -> Result<Self, OpError> {
        let x = call.input(0)?;
        let rank = call.graph.rank(x);
        let given = call.axes(since, 1)?.filter(|axes| !axes.is_empty());
        let keep = call.attrs.flag("keepdims", true)?;
        let empty_is_none = call.version >= since && call.attrs.flag("noop_with_empty_axes", false)?;
        let mut axes = match given {
            Some(axes) => resolve_axes(&axes, rank)?,
            None if empty_is_none => Vec::new(),
            None => (0..rank).collect(),
        };
        axes.sort_unstable();
        Ok(Self { x, axes, keep })
    }

    /// The reduced axes stay for what follows.
    fn kept(&self, call: &mut Call<'_>, kind: ReduceKind, x: Tensor) -> Result<Tensor, OpError> {
        if self.axes.is_empty() {
            return Ok(x);
        }
        call.graph.reduce(kind, x, &self.axes, "kept")
    }

    /// Drops the reduced axes where the model does.
    fn finish(&self, call: &mut Call<'_>, y: Tensor) -> Made {
        if self.keep {
            return Ok(vec![y]);
        }
        let shape = call.graph.shape(y);
        let left = (0..shape.len()).filter(|axis| !self.axes.contains(axis));
        let shape: Vec<usize> = left.map(|axis| shape[axis]).collect();
        Ok(vec![call.graph.reshape(y, shape, "dropped")?])
    }
}

/// A reduction as it is. Boolean extremes came with opset 20, whose lowest element is false.
fn plain(call: &mut Call<'_>, kind: ReduceKind, since: i64) -> Made {
    let reduction = Reduction::read(call, since)?;
    let y = reduction.kept(call, kind, reduction.x)?;
    reduction.finish(call, y)
}

fn max(call: &mut Call<'_>) -> Made {
    plain(call, ReduceKind::Max, 18)
}

fn mean(call: &mut Call<'_>) -> Made {
    plain(call, ReduceKind::Mean, 18)
}

fn min(call: &mut Call<'_>) -> Made {
    plain(call, ReduceKind::Min, 18)
}

fn prod(call: &mut Call<'_>) -> Made {
    plain(call, ReduceKind::Prod, 18)
}

fn sum(call: &mut Call<'_>) -> Made {
    plain(call, ReduceKind::Sum, 13)
}

/// `Σ x²`.
fn sum_square(call: &mut Call<'_>) -> Made {
    let reduction = Reduction::read(call, 18)?;
    let squares = call.graph.mul(reduction.x, reduction.x, "square")?;
    let y = reduction.kept(call, ReduceKind::Sum, squares)?;
    reduction.finish(call, y)
}
