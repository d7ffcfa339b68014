//! Loop and Scan as one step over one body, where unrolling them would take too much.

use super::super::builder::{Carried, Tensor};
use super::super::model::Import;
use super::Inner;
use crate::op::tensor::{Data, TensorType, Values};
use crate::op::{BinaryKind, Gather, Op, OpError, Repeat, Scatter, ScatterKind};
use crate::op::{CompareKind, Reduction};

/// Loops whose iterations take no more nodes than this in all are unrolled: their passes then see all of them at once.
const MOST_UNROLLED: usize = 512;
/// The most iterations of a step.
const MOST_TRIPS: usize = 1 << 24;

/// The body of a step, while it is imported.
pub(super) struct Body {
    mark: super::super::builder::Mark,
    /// The number of iterations before this one.
    pub(super) counter: Tensor,
    /// The most iterations.
    pub(super) trips: usize,
    /// What is carried; what is made of it comes later.
    pub(super) carried: Vec<Carried>,
}

impl Import<'_> {
    /// Whether so many iterations of a graph are unrolled.
    pub(super) fn unrolls(&self, inner: &Inner<'_>, trips: usize) -> bool {
        let nodes = trips.saturating_mul(inner.size());
        nodes <= MOST_UNROLLED || self.unroll && nodes <= self.room()
    }

    /// Says what became of a loop.
    pub(super) fn note_unrolled(&mut self, what: &str, name: &str, trips: usize) {
        self.note(format!("{what} `{name}`: unrolled, {trips} times"));
    }

    /// Says what became of a loop.
    pub(super) fn note_step(&mut self, what: &str, name: &str, trips: usize, conditional: bool) {
        let often = if conditional {
            format!("at most {trips} times, as long as its condition holds")
        } else {
            format!("{trips} times")
        };
        self.note(format!("{what} `{name}`: a loop over one body, {often}"));
    }

    /// Tries a step. Where it cannot be, and the loop can be unrolled, everything is as before and there is `None`.
    pub(super) fn step_or_unroll<T>(
        &mut self,
        may_unroll: bool,
        step: impl FnOnce(&mut Self) -> Result<Option<T>, OpError>,
    ) -> Option<Result<Option<T>, OpError>> {
        let (mark, problems) = (self.graph.mark(), self.problems.len());
        self.loops += 1;
        let made = if self.loops > Repeat::MOST_NESTING {
            Err(OpError::new(format!(
                "at most {} loops within each other wanted, more found",
                Repeat::MOST_NESTING
            )))
        } else {
            step(self)
        };
        self.loops -= 1;
        if may_unroll && !matches!(made, Ok(Some(_))) {
            self.graph.undo(mark);
            self.problems.truncate(problems);
            return None;
        }
        Some(made)
    }

    /// Begins a body of a step.
    pub(super) fn begin_body(&mut self, inner: &Inner<'_>, trips: usize) -> Result<Body, OpError> {
        if trips > MOST_TRIPS {
            self.expect_room(inner, trips)?;
        }
        Ok(Body {
            mark: self.graph.mark(),
            counter: self.graph.stand_in(Repeat::counter(), "counter"),
            trips,
            carried: Vec::new(),
        })
    }

    /// Ends it: what is carried in the end.
    pub(super) fn end_body(&mut self, body: Body, conditional: bool) -> Result<Vec<Tensor>, OpError> {
        let ends = (body.trips, conditional);
        self.graph.outline(body.mark, body.counter, &body.carried, ends)
    }

    /// The index of an iteration, or the same counted from the end.
    fn index(&mut self, body: &Body, backward: bool) -> Result<Tensor, OpError> {
        if !backward {
            return Ok(body.counter);
        }
        let last = Values::new([], Data::I64(vec![body.trips as i64 - 1]));
        let last = self.graph.constant(last, "last_iteration");
        self.graph.sub(last, body.counter, "index")
    }

    /// What an iteration takes of a sequence.
    pub(super) fn element(
        &mut self,
        body: &Body,
        sequence: Tensor,
        axis: usize,
        backward: bool,
    ) -> Result<Tensor, OpError> {
        let index = self.index(body, backward)?;
        self.graph
            .emit(Op::Gather(Gather { axis }), &[sequence, index], "element")
    }

    /// Gathers what the iterations give along a new first axis; places without an iteration hold zeros.
    pub(super) fn collect(&mut self, body: &mut Body, row: Tensor, backward: bool) -> Result<(), OpError> {
        let row_type = self.graph.ty(row).clone();
        let shape = [&[body.trips][..], &row_type.shape].concat();
        let ty = TensorType::new(row_type.dtype, shape);
        let bytes = ty
            .shape
            .iter()
            .try_fold(ty.dtype.bytes(), |n, &e| n.checked_mul(e));
        self.graph.take_bytes(bytes.unwrap_or(usize::MAX))?;
        let zeros = Data::I8(vec![0; ty.len()]).cast(ty.dtype);
        let start = self.graph.constant(Values::new(ty.shape.clone(), zeros), "zeros");
        let now = self.graph.stand_in(ty, "rows");
        let index = self.index(body, backward)?;
        let index = self.graph.reshape(index, [1, 1], "row_index")?;
        let shape = [&[1][..], &row_type.shape].concat();
        let row = self.graph.reshape(row, shape, "row")?;
        let put = Op::Scatter(Scatter {
            kind: ScatterKind::Slices,
            reduction: Reduction::Replace,
        });
        let next = self.graph.emit(put, &[now, index, row], "with_row")?;
        body.carried.push(Carried { start, now, next });
        Ok(())
    }

    /// Moves the first axis to another place.
    pub(super) fn first_axis_to(&mut self, x: Tensor, axis: usize) -> Result<Tensor, OpError> {
        let mut perm: Vec<usize> = (1..self.graph.shape(x).len()).collect();
        perm.insert(axis, 0);
        self.graph.transpose(x, &perm, "stacked")
    }

    /// Both conditions, as a scalar.
    pub(super) fn both(&mut self, a: Tensor, b: Tensor) -> Result<Tensor, OpError> {
        let (a, b) = (self.scalar(a)?, self.scalar(b)?);
        self.graph.binary(BinaryKind::And, a, b, "goes_on")
    }

    /// The one element of a tensor as a scalar.
    pub(super) fn scalar(&mut self, x: Tensor) -> Result<Tensor, OpError> {
        self.graph.reshape(x, [], "scalar")
    }

    /// Whether a count is above the iterations so far, this one included where `and_this`.
    pub(super) fn count_left(
        &mut self,
        body: &Body,
        count: Tensor,
        and_this: bool,
    ) -> Result<Tensor, OpError> {
        let count = self.scalar(count)?;
        let zero_or_one = Values::new([], Data::I64(vec![and_this.into()]));
        let mut done = self.graph.constant(zero_or_one, "iterations");
        if and_this {
            done = self.graph.add(body.counter, done, "done")?;
        }
        self.graph.compare(CompareKind::Less, done, count, "more")
    }
}
