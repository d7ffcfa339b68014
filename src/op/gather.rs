//! Gather: <https://onnx.ai/onnx/operators/onnx__Gather.html>.

use serde::{Deserialize, Serialize};

use super::lower::{Operand, View};
use super::movement::{self, Move};
use super::quant::{QuantTensor, Range};
use super::tensor::{DType, TensorType, Values, picked_indices};
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
        if !matches!(indices.dtype, DType::I32 | DType::I64) {
            return Err(OpError::new(format!(
                "`indices` of i32 or i64 wanted, {indices} found"
            )));
        }
        let shape = [&x.shape[..self.axis], &indices.shape, &x.shape[self.axis + 1..]].concat();
        Ok(vec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let (x, axis) = (inputs[0], self.axis);
        let extent = x.shape[axis];
        let indices = inputs[1].to_i64().expect("the type check asked for integers");
        let rows: Result<Vec<usize>, OpError> = indices
            .iter()
            .map(|&index| {
                // i128: adding the extent to an index of i64 cannot overflow it.
                let index = index as i128;
                let from_front = if index < 0 { index + extent as i128 } else { index };
                usize::try_from(from_front)
                    .ok()
                    .filter(|&i| i < extent)
                    .ok_or_else(|| {
                        OpError::new(format!(
                            "indices from -{extent} up to but not {extent} wanted, {index} found"
                        ))
                    })
            })
            .collect();
        let inner: usize = x.shape[axis + 1..].iter().product();
        let outer: usize = x.shape[..axis].iter().product();
        let picks = picked_indices(
            &[outer, extent, inner],
            &[(0..outer).collect(), rows?, (0..inner).collect()],
        );
        Ok(vec![Values::new(ty.shape, x.data.gather(picks.into_iter()))])
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::SameAsInput(0)
    }

    fn output_range(&self, observed: Range) -> Range {
        observed
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let (x, y, axis) = (inputs[0], outputs[0], self.axis);
        let indices = inputs
            .get(1)
            .and_then(|indices| indices.data.as_deref())
            .and_then(Values::to_i64);
        let indices = indices.ok_or_else(|| {
            OpError::new("the indices are not constant").with_help("make them part of the model")
        })?;
        let extent = x.ty.shape[axis] as i64;
        let rows: Vec<i64> = indices
            .iter()
            .map(|&row| if row < 0 { row + extent } else { row })
            .collect();
        if let Some(outside) = rows.iter().position(|row| !(0..extent).contains(row)) {
            let index = indices[outside];
            return Err(OpError::new(format!("index {index} is outside an axis of {extent}")).into());
        }
        let runs = runs(&rows);
        if runs.len() > MAX_RUNS {
            return Err(OpError::new(format!(
                "the indices form {} evenly spaced runs; at most {MAX_RUNS} are possible",
                runs.len()
            ))
            .into());
        }
        let table = movement::table_between(x, y)?;
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
            if runs.len() == 1 && table.is_none() && moved.is_one_run() {
                view = Some(View::OfInput {
                    byte_offset: moved.from_offset * width,
                });
            }
            let source = Operand::Input {
                index: 0,
                byte_offset: 0,
            };
            calls.push(moved.call(source, table.clone(), width)?);
            first += run.len;
        }
        Ok(Lowered {
            calls,
            view,
            ..Lowered::default()
        })
    }

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}

/// The most copies a gather may turn into.
const MAX_RUNS: usize = 64;

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
