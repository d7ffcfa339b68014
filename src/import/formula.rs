//! What importers write formulas in: the operators inside, by the names of arithmetic.
//!
//! The last argument is always the role in the formula, after which node and tensor are named.

use super::builder::{Builder, Tensor};
use crate::op::tensor::{DType, Data, Shape, Values};
use crate::op::{
    Binary, BinaryKind, Cast, Clamp, Compare, CompareKind, Concat, MatMul, Op, OpError, Reduce, ReduceKind,
    Reshape, Select, Slice, Softmax, Transpose, Unary, UnaryKind,
};

/// A tensor, or why there is none.
type Made = Result<Tensor, OpError>;

impl Builder {
    pub(super) fn rank(&self, x: Tensor) -> usize {
        self.shape(x).len()
    }

    pub(super) fn binary(&mut self, kind: BinaryKind, a: Tensor, b: Tensor, role: &str) -> Made {
        let clamp = Clamp::NONE;
        self.emit(Op::Binary(Binary { kind, clamp }), &[a, b], role)
    }

    pub(super) fn add(&mut self, a: Tensor, b: Tensor, role: &str) -> Made {
        self.binary(BinaryKind::Add, a, b, role)
    }

    pub(super) fn sub(&mut self, a: Tensor, b: Tensor, role: &str) -> Made {
        self.binary(BinaryKind::Sub, a, b, role)
    }

    pub(super) fn mul(&mut self, a: Tensor, b: Tensor, role: &str) -> Made {
        self.binary(BinaryKind::Mul, a, b, role)
    }

    pub(super) fn div(&mut self, a: Tensor, b: Tensor, role: &str) -> Made {
        self.binary(BinaryKind::Div, a, b, role)
    }

    pub(super) fn compare(&mut self, kind: CompareKind, a: Tensor, b: Tensor, role: &str) -> Made {
        self.emit(Op::Compare(Compare { kind }), &[a, b], role)
    }

    /// Elements of `a` where the condition holds, of `b` elsewhere.
    pub(super) fn choose(&mut self, condition: Tensor, a: Tensor, b: Tensor, role: &str) -> Made {
        self.emit(Op::Select(Select {}), &[condition, a, b], role)
    }

    pub(super) fn matmul(&mut self, a: Tensor, b: Tensor, role: &str) -> Made {
        self.emit(Op::MatMul(MatMul {}), &[a, b], role)
    }

    pub(super) fn unary(&mut self, kind: UnaryKind, x: Tensor, role: &str) -> Made {
        self.emit(Op::Unary(Unary { kind }), &[x], role)
    }

    /// `axes`, in any order, stay as extents of 1.
    pub(super) fn reduce(&mut self, kind: ReduceKind, x: Tensor, axes: &[usize], role: &str) -> Made {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        self.emit(Op::Reduce(Reduce { kind, axes }), &[x], role)
    }

    pub(super) fn softmax(&mut self, x: Tensor, axis: usize, role: &str) -> Made {
        self.emit(Op::Softmax(Softmax::along(axis)), &[x], role)
    }

    /// `x` itself where it has this shape.
    pub(super) fn reshape(&mut self, x: Tensor, shape: impl Into<Shape>, role: &str) -> Made {
        let shape = shape.into();
        if self.shape(x) == shape {
            return Ok(x);
        }
        self.emit(Op::Reshape(Reshape { shape }), &[x], role)
    }

    /// `x` itself where nothing moves.
    pub(super) fn transpose(&mut self, x: Tensor, perm: &[usize], role: &str) -> Made {
        if perm.is_sorted() {
            return Ok(x);
        }
        self.emit(Op::Transpose(Transpose { perm: perm.to_vec() }), &[x], role)
    }

    /// `x` with its last two axes exchanged.
    pub(super) fn transpose_matrix(&mut self, x: Tensor, role: &str) -> Made {
        let rank = self.rank(x);
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(rank - 2, rank - 1);
        self.transpose(x, &perm, role)
    }

    /// `x` itself where it has this element type.
    pub(super) fn cast(&mut self, x: Tensor, to: DType, role: &str) -> Made {
        if self.ty(x).dtype == to {
            return Ok(x);
        }
        self.emit(Op::Cast(Cast { to }), &[x], role)
    }

    /// One input is its own concatenation.
    pub(super) fn concat(&mut self, parts: &[Tensor], axis: usize, role: &str) -> Made {
        if let &[only] = parts {
            return Ok(only);
        }
        self.emit(Op::Concat(Concat { axis }), parts, role)
    }

    /// Elements `range` along one axis; `x` itself where those are all.
    pub(super) fn part(&mut self, x: Tensor, axis: usize, range: std::ops::Range<usize>, role: &str) -> Made {
        let mut shape = self.shape(x).to_vec();
        if range == (0..shape[axis]) {
            return Ok(x);
        }
        let mut starts = vec![0; shape.len()];
        starts[axis] = range.start;
        shape[axis] = range.len();
        let steps = vec![1; shape.len()];
        self.emit(Op::Slice(Slice { starts, steps, shape }), &[x], role)
    }

    /// A number in the element type of `like`.
    pub(super) fn scalar_like(&mut self, like: Tensor, value: f64, role: &str) -> Tensor {
        let data = Data::F64(vec![value]).cast(self.ty(like).dtype);
        self.constant(Values::new([], data), role)
    }

    /// `x · factor`; `x` itself where that changes nothing.
    pub(super) fn scale(&mut self, x: Tensor, factor: f64, role: &str) -> Made {
        if factor == 1.0 {
            return Ok(x);
        }
        let factor_tensor = self.scalar_like(x, factor, &format!("{role}_factor"));
        self.mul(x, factor_tensor, role)
    }
}
