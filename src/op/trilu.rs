//! Trilu: <https://onnx.ai/onnx/operators/onnx__Trilu.html>.

use serde::{Deserialize, Serialize};

use super::lower::Operand;
use super::movement::{self, MAX_CALLS, Move};
use super::quant::QuantTensor;
use super::tensor::{Data, TensorType, Values, row_major_strides};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect, pad};
use crate::target::Target;

/// The elements of every matrix (the last two axes) on one side of a diagonal and on it; zeros elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trilu {
    /// Whether the side above is kept, not the one below.
    pub upper: bool,
    /// Which diagonal: 0 is the main one, those above are positive.
    pub diagonal: i64,
}

impl Operator for Trilu {
    const ONNX: &'static [&'static str] = &["Trilu"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        if inputs[0].shape.len() < 2 {
            return Err(OpError::new(format!("matrices wanted, {} found", inputs[0])));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        // The elements, and behind them the one that stands everywhere else.
        let mut data = x.data.clone();
        data.append(&Data::F32(vec![0.0]).cast(ty.dtype));
        let (rows, columns) = extents(&ty.shape);
        let picks = (0..ty.len()).map(|at| {
            let kept = self.kept(at / columns % rows, columns);
            if kept.contains(&(at % columns)) {
                at
            } else {
                ty.len()
            }
        });
        Ok(vec![Values::new(ty.shape.clone(), data.gather(picks))])
    }

    fn output_params(&self) -> OutputParams {
        // Zero is in every range.
        OutputParams::SameAsInput(0)
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let (x, y) = (inputs[0], outputs[0]);
        let change = movement::change_between(x, y)?;
        let (rows, columns) = extents(&y.ty.shape);
        if rows > MAX_CALLS {
            return Err(OpError::new(format!(
                "a triangle of {rows} rows takes as many copies; at most {MAX_CALLS} are possible"
            ))
            .into());
        }
        let matrices = y.ty.len() / (rows * columns).max(1);
        let strides = row_major_strides(&[matrices, rows, columns]);
        let mut calls = vec![pad::fill(0.0, y)?];
        for row in 0..rows {
            let kept = self.kept(row, columns);
            if kept.is_empty() {
                continue;
            }
            let first = row * columns + kept.start;
            let moved = Move {
                dims: vec![matrices, kept.len()],
                from_strides: vec![strides[0] as i64, 1],
                from_offset: first,
                to_strides: vec![strides[0], 1],
                to_offset: first,
            };
            calls.extend(moved.calls(Operand::of_input(0, x), change.clone(), y.ty.dtype.bytes())?);
        }
        Ok(Lowered {
            calls,
            ..Lowered::default()
        })
    }
}

impl Trilu {
    /// The columns of a row that are kept.
    fn kept(&self, row: usize, columns: usize) -> std::ops::Range<usize> {
        let on_diagonal = (row as i64).saturating_add(self.diagonal);
        let column = |at: i64| at.clamp(0, columns as i64) as usize;
        if self.upper {
            column(on_diagonal)..columns
        } else {
            0..column(on_diagonal.saturating_add(1))
        }
    }
}

/// Rows and columns of the matrices of a shape.
fn extents(shape: &[usize]) -> (usize, usize) {
    match shape {
        [.., rows, columns] => (*rows, *columns),
        _ => (1, 1), // the type check asked for matrices
    }
}
