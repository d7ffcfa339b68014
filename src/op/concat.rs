//! Concat: <https://onnx.ai/onnx/operators/onnx__Concat.html>.

use serde::{Deserialize, Serialize};

use super::lower::{Operand, View};
use super::movement::{self, Move};
use super::quant::QuantTensor;
use super::runs::Runs;
use super::tensor::{Data, TensorType, Values, row_major_strides};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// The inputs one after the other along `axis`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concat {
    /// The axis, counted from the front.
    pub axis: usize,
}

impl Operator for Concat {
    const ONNX: &'static [&'static str] = &["Concat"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=usize::MAX)?;
        let first = inputs[0];
        expect::axis(self.axis, first)?;
        let mut joined = first.clone();
        for ty in &inputs[1..] {
            let mut apart = ty.shape.clone();
            if let Some(extent) = apart.get_mut(self.axis) {
                joined.shape[self.axis] = joined.shape[self.axis].saturating_add(*extent);
                *extent = first.shape[self.axis];
            }
            if apart != first.shape || ty.dtype != first.dtype {
                return Err(OpError::new(format!(
                    "inputs alike but for axis {} wanted, {first} and {ty} found",
                    self.axis
                )));
            }
        }
        Ok(vec![joined])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let mut data = Data::zeros(ty.dtype, ty.len());
        let strides = row_major_strides(&ty.shape);
        let mut first = 0;
        for input in inputs {
            let runs = Runs::new(&input.shape, [&strides]);
            data.scatter_runs(&runs, first * strides[self.axis], &input.data);
            first += input.shape[self.axis];
        }
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let y = outputs[0];
        let width = y.ty.dtype.bytes();
        let strides = row_major_strides(&y.ty.shape);
        let mut calls = Vec::with_capacity(inputs.len());
        let mut offsets = Vec::with_capacity(inputs.len());
        let mut first = 0;
        let mut joins = y.ty.shape[..self.axis].iter().all(|&extent| extent == 1);
        for (index, x) in inputs.iter().enumerate() {
            let moved = Move {
                to_strides: strides.clone(),
                to_offset: first * strides[self.axis],
                ..Move::all(&x.ty.shape)
            };
            let change = movement::change_between(x, y)?;
            joins &= change.is_none() && x.data.is_none();
            offsets.push(moved.to_offset * width);
            calls.extend(moved.calls(Operand::of_input(index, x), change, width)?);
            first += x.ty.shape[self.axis];
        }
        Ok(Lowered {
            calls,
            view: joins.then_some(View::JoinsInputs {
                byte_offsets: offsets,
            }),
            ..Lowered::default()
        })
    }
}
