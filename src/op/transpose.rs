//! Transpose: <https://onnx.ai/onnx/operators/onnx__Transpose.html>.

use serde::{Deserialize, Serialize};

use super::movement::{self, Move};
use super::quant::QuantTensor;
use super::runs::Runs;
use super::tensor::{TensorType, Values, row_major_strides};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// `y.shape[i] = x.shape[perm[i]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transpose {
    /// The permutation.
    pub perm: Vec<usize>,
}

impl Operator for Transpose {
    const ONNX: &'static [&'static str] = &["Transpose"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        let x = inputs[0];
        let mut sorted = self.perm.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..x.shape.len()) {
            return Err(OpError::new(format!(
                "a permutation of the axes of {x} wanted, {:?} found",
                self.perm
            )));
        }
        let shape: Vec<usize> = self.perm.iter().map(|&axis| x.shape[axis]).collect();
        Ok(vec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let strides = row_major_strides(&inputs[0].shape);
        let strides: Vec<usize> = self.perm.iter().map(|&axis| strides[axis]).collect();
        let data = inputs[0].data.gather_runs(&Runs::new(&ty.shape, [&strides]), 0);
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
        let strides = row_major_strides(&inputs[0].ty.shape);
        let moved = Move {
            from_strides: self.perm.iter().map(|&axis| strides[axis] as i64).collect(),
            ..Move::all(&outputs[0].ty.shape)
        };
        movement::lower_move(&moved, inputs, outputs)
    }
}
