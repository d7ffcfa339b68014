//! Reshape, and all that only renames extents: Flatten, Squeeze, Unsqueeze.

use serde::{Deserialize, Serialize};

use super::movement::{self, Move};
use super::quant::QuantTensor;
use super::tensor::{Shape, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// The same elements under another shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reshape {
    /// The resolved shape: no 0, no −1.
    pub shape: Shape,
}

impl Operator for Reshape {
    const ONNX: &'static [&'static str] = &[
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "Dropout",
    ];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        let elements = self
            .shape
            .iter()
            .try_fold(1_usize, |n, &extent| n.checked_mul(extent));
        let ty = TensorType::new(inputs[0].dtype, self.shape.clone());
        if elements != Some(inputs[0].len()) {
            return Err(OpError::new(format!(
                "as many elements as {} has wanted, {ty} found",
                inputs[0]
            )));
        }
        Ok(vec![ty])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        Ok(vec![inputs[0].reshaped(ty.shape)])
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
        movement::lower_move(&Move::all(&inputs[0].ty.shape), inputs, outputs)
    }
}
