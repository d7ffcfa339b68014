//! Add, Sub, Mul, Div: <https://onnx.ai/onnx/operators/onnx__Add.html> and its neighbours, NumPy broadcasting.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values, broadcast_shape};
use super::{Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BinaryKind {
    Add,
    Sub,
    Mul,
    Div,
}

/// `y = clamp(a ∘ b)` elementwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binary {
    /// Which of the four.
    pub kind: BinaryKind,
    /// The activation fused behind it.
    pub clamp: Clamp,
}

impl Operator for Binary {
    const ONNX: &'static [&'static str] = &["Add", "Sub", "Mul", "Div"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=2)?;
        expect::number("a", inputs[0])?;
        expect::dtype("b", inputs[1], inputs[0].dtype)?;
        let shape = broadcast_shape(&inputs[0].shape, &inputs[1].shape).ok_or_else(|| {
            OpError::new(format!(
                "shapes that broadcast to one another wanted, {} and {} found",
                inputs[0], inputs[1]
            ))
        })?;
        Ok(vec![TensorType::new(inputs[0].dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        unimplemented!("{inputs:?}")
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::Observed
    }

    fn output_range(&self, observed: Range) -> Range {
        observed
    }

    fn lower(
        &self,
        target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        unimplemented!("{target:?} {inputs:?} {outputs:?}")
    }

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}
