//! Gather: <https://onnx.ai/onnx/operators/onnx__Gather.html>.

use serde::{Deserialize, Serialize};

use tinsmith_runtime::format::GatherRows;
use tinsmith_runtime::kernels::Layer;

use super::lower::{Operand, View};
use super::movement::{self, Move, fitting};
use super::places::{self, place};
use super::quant::QuantTensor;
use super::ranking::around;
use super::tensor::{TensorType, Values, picked_indices};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// `y[…, j…, …] = x[…, indices[j…], …]` along `axis`. Inputs: `x`, `indices` (negative ones count from the end).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gather {
    /// The axis, counted from the front.
    pub axis: usize,
}

impl Operator for Gather {
    const ONNX: &'static [&'static str] = &["Gather"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=2)?;
        let (x, indices) = (inputs[0], inputs[1]);
        expect::axis(self.axis, x)?;
        places::expect_indices(indices)?;
        let shape = [&x.shape[..self.axis], &indices.shape, &x.shape[self.axis + 1..]].concat();
        Ok(vec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let (x, axis) = (inputs[0], self.axis);
        let extent = x.shape[axis];
        let indices = inputs[1].to_i64().expect("the type check asked for integers");
        let rows: Result<Vec<usize>, OpError> = indices.iter().map(|&index| place(index, extent)).collect();
        let inner: usize = x.shape[axis + 1..].iter().product();
        let outer: usize = x.shape[..axis].iter().product();
        let picks = picked_indices(&[outer, extent, inner], &[(0..outer).collect(), rows?, vec![0]]);
        let data = x.data.gather_blocks(picks.into_iter(), inner);
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::SameAsInput(0)
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let (x, y, axis) = (inputs[0], outputs[0], self.axis);
        let Some(indices) = inputs[1].data.as_deref() else {
            return self.lower_computed(inputs, y);
        };
        let indices = indices.to_i64().unwrap_or_default();
        let extent = x.ty.shape[axis] as i64;
        let rows: Result<Vec<i64>, OpError> = indices
            .iter()
            .map(|&row| Ok(place(row, x.ty.shape[axis])? as i64))
            .collect();
        let rows = rows?;
        let runs = runs(&rows);
        if runs.len() > MAX_RUNS {
            return self.lower_table(&rows, x, y);
        }
        let change = movement::change_between(x, y)?;
        let width = y.ty.dtype.bytes();
        let outer: usize = x.ty.shape[..axis].iter().product();
        let inner: usize = x.ty.shape[axis + 1..].iter().product();
        let mut calls = Vec::with_capacity(runs.len());
        let mut view = None;
        let mut first = 0;
        for run in &runs {
            let moved = Move {
                dims: vec![outer, run.len, inner],
                from_strides: vec![extent * inner as i64, run.step * inner as i64, 1],
                from_offset: run.start as usize * inner, // 0..extent, checked above
                to_strides: vec![rows.len() * inner, inner, 1],
                to_offset: first * inner,
            };
            if runs.len() == 1 && change.is_none() && x.data.is_none() && moved.is_one_run() {
                view = Some(View::OfInput {
                    byte_offset: moved.from_offset * width,
                });
            }
            calls.extend(moved.calls(Operand::of_input(0, x), change.clone(), width)?);
            first += run.len;
        }
        Ok(Lowered {
            calls,
            view,
            ..Lowered::default()
        })
    }
}

/// The most copies a gather turns into; where there would be more, a table of indices is shorter.
const MAX_RUNS: usize = 8;

impl Gather {
    /// The record of rows along the axis, `count` of them.
    fn record(&self, x: &QuantTensor, count: usize) -> Result<GatherRows, OpError> {
        let [outer, extent, inner] = around(&x.ty.shape, self.axis);
        Ok(GatherRows {
            outer: fitting(outer)?,
            extent: fitting(extent)?,
            count: fitting(count)?,
            row_bytes: fitting(inner * x.ty.dtype.bytes())?,
            ..GatherRows::default()
        })
    }

    /// By a table of indices in the constants.
    fn lower_table(&self, rows: &[i64], x: &QuantTensor, y: &QuantTensor) -> Result<Lowered, LowerError> {
        let rows: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
        let record = GatherRows {
            index_bytes: 4,
            ..self.record(x, rows.len())?
        };
        let indices = Operand::Constant(places::table(&rows)?);
        places::with_requantize(Layer::GatherRows(record), indices, x, y)
    }

    /// By indices that another node computes. On the device, those out of range stand for the nearest one in it.
    fn lower_computed(&self, inputs: &[&QuantTensor], y: &QuantTensor) -> Result<Lowered, LowerError> {
        let (x, indices) = (inputs[0], inputs[1]);
        let record = GatherRows {
            index_bytes: places::index_bytes(indices)?,
            ..self.record(x, indices.ty.len())?
        };
        let indices = Operand::of_input(1, indices);
        places::with_requantize(Layer::GatherRows(record), indices, x, y)
    }
}

/// Indices `start, start + step, …`.
struct Run {
    start: i64,
    step: i64,
    len: usize,
}

/// The indices as evenly spaced runs, each as long as it gets.
fn runs(rows: &[i64]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for &row in rows {
        if let Some(run) = runs.last_mut() {
            if run.len == 1 {
                run.step = row - run.start;
            }
            if run.start + run.step * run.len as i64 == row {
                run.len += 1;
                continue;
            }
        }
        runs.push(Run {
            start: row,
            step: 1,
            len: 1,
        });
    }
    runs
}
