//! Comparisons: <https://onnx.ai/onnx/operators/onnx__Less.html> and its neighbours, NumPy broadcasting.

use serde::{Deserialize, Serialize};

use super::binary::broadcast;
use super::quant::QuantTensor;
use super::runs::Runs;
use super::tensor::{DType, Data, TensorType, Values, View};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect, plain};
use crate::target::Target;

/// Which comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CompareKind {
    Equal,
    Less,
    LessOrEqual,
}

/// `y = a ∘ b` elementwise; NaN compares as false.
///
/// Inputs: two of one element type, numbers or truth values, whose shapes broadcast to one another. The output is
/// Boolean. Greater is Less with its operands swapped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compare {
    /// Which comparison.
    pub kind: CompareKind,
}

impl Operator for Compare {
    const ONNX: &'static [&'static str] = &[
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
    ];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=2)?;
        if matches!(inputs[0].dtype, DType::Narrow(_)) {
            return Err(OpError::new(format!(
                "numbers wanted as `a`, {} found",
                inputs[0]
            )));
        }
        expect::dtype("b", inputs[1], inputs[0].dtype)?;
        Ok(vec![TensorType::new(DType::Bool, broadcast(inputs)?)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let pairs = Runs::broadcast([&inputs[0].shape, &inputs[1].shape], &ty.shape);
        let y = match (inputs[0].data.view(), inputs[1].data.view()) {
            (View::F32(a), View::F32(b)) => self.over(&pairs, a, b),
            (View::F64(a), View::F64(b)) => self.over(&pairs, a, b),
            (View::F16(a), View::F16(b)) => self.over(&pairs, a, b),
            (View::BF16(a), View::BF16(b)) => self.over(&pairs, a, b),
            (View::I8(a), View::I8(b)) => self.over(&pairs, a, b),
            (View::U8(a), View::U8(b)) => self.over(&pairs, a, b),
            (View::I16(a), View::I16(b)) => self.over(&pairs, a, b),
            (View::U16(a), View::U16(b)) => self.over(&pairs, a, b),
            (View::I32(a), View::I32(b)) => self.over(&pairs, a, b),
            (View::U32(a), View::U32(b)) => self.over(&pairs, a, b),
            (View::I64(a), View::I64(b)) => self.over(&pairs, a, b),
            (View::U64(a), View::U64(b)) => self.over(&pairs, a, b),
            (View::Bool(a), View::Bool(b)) => self.over(&pairs, a, b),
            _ => return Err(OpError::new(format!("numbers wanted, {} found", inputs[0].ty()))),
        };
        Ok(vec![Values::new(ty.shape, Data::Bool(y))])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        plain::compare(self.kind, inputs, outputs[0])
    }
}

impl Compare {
    fn over<T: Copy + PartialOrd>(&self, pairs: &Runs<2>, a: &[T], b: &[T]) -> Vec<bool> {
        match self.kind {
            CompareKind::Equal => pairs.map(a, b, |a, b| a == b),
            CompareKind::Less => pairs.map(a, b, |a, b| a < b),
            CompareKind::LessOrEqual => pairs.map(a, b, |a, b| a <= b),
        }
    }
}
