//! Expand: <https://onnx.ai/onnx/operators/onnx__Expand.html>.

use serde::{Deserialize, Serialize};

use super::movement::{self, Move};
use super::quant::{QuantTensor, Range};
use super::runs::Runs;
use super::tensor::{Shape, TensorType, Values, broadcast_shape, row_major_strides};
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

    fn output_range(&self, observed: Range) -> Range {
        observed
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let from = &inputs[0].ty.shape;
        let lead = self.shape.len() - from.len();
        let repeated = std::iter::repeat_n(0, lead);
        let own = row_major_strides(from).into_iter().zip(from);
        let own = own.map(|(stride, &extent)| if extent == 1 { 0 } else { stride as i64 });
        let moved = Move {
            from_strides: repeated.chain(own).collect(),
            ..Move::all(&self.shape)
        };
        movement::lower_move(&moved, inputs, outputs)
    }

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}
