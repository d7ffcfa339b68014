//! Expand: <https://onnx.ai/onnx/operators/onnx__Expand.html>.

use serde::{Deserialize, Serialize};

use super::movement::{self, Move};
use super::quant::QuantTensor;
use super::runs::Runs;
use super::tensor::{Shape, TensorType, Values, broadcast_shape, broadcast_strides};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// The input, repeated along its axes of extent 1 and along new leading ones until it has `shape`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expand {
    /// The output's shape, to which the input broadcasts.
    pub shape: Shape,
}

impl Operator for Expand {
    const ONNX: &'static [&'static str] = &["Expand", "Tile"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        let x = inputs[0];
        if broadcast_shape(&x.shape, &self.shape).as_ref() != Some(&self.shape) {
            return Err(OpError::new(format!(
                "a shape that {x} broadcasts to wanted, {:?} found",
                self.shape
            )));
        }
        Ok(vec![TensorType::new(x.dtype, self.shape.clone())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let runs = Runs::broadcast([&inputs[0].shape], &ty.shape);
        let data = inputs[0].data.gather_runs(&runs, 0);
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
        let strides = broadcast_strides(&inputs[0].ty.shape, &self.shape);
        let moved = Move {
            from_strides: strides.into_iter().map(|stride| stride as i64).collect(),
            ..Move::all(&self.shape)
        };
        movement::lower_move(&moved, inputs, outputs)
    }
}
