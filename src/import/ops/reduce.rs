//! Reductions. Those that ONNX composes of a function of each element, a sum or such, and a function of the result are
//! decomposed likewise.

use super::super::builder::Tensor;
use super::{Call, Importer, Made, onnx, resolve_axes};
use crate::op::{OpError, ReduceKind, UnaryKind};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("ReduceL1", l1),
    onnx("ReduceL2", l2),
    onnx("ReduceLogSum", log_sum),
    onnx("ReduceLogSumExp", log_sum_exp),
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

/// `Σ |x|`.
fn l1(call: &mut Call<'_>) -> Made {
    let reduction = Reduction::read(call, 18)?;
    let sizes = call.graph.unary(UnaryKind::Abs, reduction.x, "size")?;
    let y = reduction.kept(call, ReduceKind::Sum, sizes)?;
    reduction.finish(call, y)
}

/// `√Σ x²`.
fn l2(call: &mut Call<'_>) -> Made {
    let reduction = Reduction::read(call, 18)?;
    let squares = call.graph.mul(reduction.x, reduction.x, "square")?;
    let sum = reduction.kept(call, ReduceKind::Sum, squares)?;
    let y = call.graph.unary(UnaryKind::Sqrt, sum, "root")?;
    reduction.finish(call, y)
}

/// `Σ x²`.
fn sum_square(call: &mut Call<'_>) -> Made {
    let reduction = Reduction::read(call, 18)?;
    let squares = call.graph.mul(reduction.x, reduction.x, "square")?;
    let y = reduction.kept(call, ReduceKind::Sum, squares)?;
    reduction.finish(call, y)
}

/// `log Σ x`.
fn log_sum(call: &mut Call<'_>) -> Made {
    let reduction = Reduction::read(call, 18)?;
    let sum = reduction.kept(call, ReduceKind::Sum, reduction.x)?;
    let y = call.graph.unary(UnaryKind::Log, sum, "log")?;
    reduction.finish(call, y)
}

/// `log Σ exp x`, as `m + log Σ exp(x − m)` with the greatest element `m`, so that no exponential overflows. Where
/// that is infinite, so is the result: `m` is limited to what can be subtracted.
fn log_sum_exp(call: &mut Call<'_>) -> Made {
    let reduction = Reduction::read(call, 18)?;
    let greatest = reduction.kept(call, ReduceKind::Max, reduction.x)?;
    let finite = UnaryKind::Clamp(crate::op::Clamp {
        min: Some(f32::MIN),
        max: Some(f32::MAX),
    });
    let offset = call.graph.unary(finite, greatest, "offset")?;
    let below = call.graph.sub(reduction.x, offset, "below")?;
    let terms = call.graph.unary(UnaryKind::Exp, below, "exp")?;
    let sum = reduction.kept(call, ReduceKind::Sum, terms)?;
    let log = call.graph.unary(UnaryKind::Log, sum, "log")?;
    let y = call.graph.add(log, offset, "log_sum_exp")?;
    reduction.finish(call, y)
}
