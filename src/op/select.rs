//! Where, and what OneHot becomes: <https://onnx.ai/onnx/operators/onnx__Where.html>.

use serde::{Deserialize, Serialize};

use super::binary::broadcast;
use super::quant::QuantTensor;
use super::tensor::{DType, TensorType, Values, View, broadcast_indices};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect, plain};
use crate::target::Target;

/// `y = condition ? a : b` elementwise.
///
/// Inputs: `condition` of truth values, `a` and `b` of one element type, whatever it is; the three shapes broadcast to
/// one another. The output has the type of `a`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Select {}

impl Operator for Select {
    const ONNX: &'static [&'static str] = &["Where", "OneHot"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 3..=3)?;
        expect::dtype("condition", inputs[0], DType::Bool)?;
        expect::dtype("b", inputs[2], inputs[1].dtype)?;
        Ok(vec![TensorType::new(inputs[1].dtype, broadcast(inputs)?)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let View::Bool(condition) = inputs[0].data.view() else {
            return Err(OpError::new("a Boolean condition wanted"));
        };
        let [c, a, b] = [0, 1, 2].map(|side: usize| broadcast_indices(&inputs[side].shape, &ty.shape));
        let mut both = inputs[1].data.view().to_data();
        let first_of_b = both.len();
        both.append(&inputs[2].data);
        let taken = c.iter().zip(a.iter().zip(&b));
        let taken = taken.map(|(&c, (&a, &b))| if condition[c] { a } else { first_of_b + b });
        Ok(vec![Values::new(ty.shape.clone(), both.gather(taken))])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        plain::select(inputs, outputs[0])
    }
}
