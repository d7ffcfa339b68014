//! BitCast: <https://onnx.ai/onnx/operators/onnx__BitCast.html>.

use serde::{Deserialize, Serialize};

use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// The elements' bits, read as another type of as many bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BitCast {
    /// The type.
    pub to: DType,
}

/// Bits of one element as ONNX counts them.
fn bits(dtype: DType) -> usize {
    match dtype {
        DType::Narrow(narrow) => narrow.bits(),
        dtype => dtype.bytes() * 8,
    }
}

impl Operator for BitCast {
    const ONNX: &'static [&'static str] = &["BitCast"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        if bits(inputs[0].dtype) != bits(self.to) {
            return Err(OpError::new(format!(
                "an element type of {} bits wanted, {} found",
                bits(inputs[0].dtype),
                self.to
            )));
        }
        Ok(vec![TensorType::new(self.to, inputs[0].shape.clone())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let data = Data::from_le_bytes(self.to, &inputs[0].data.to_le_bytes());
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new(format!(
            "the bits of computed values, read as {}, have no kernel",
            self.to
        ))
        .with_help("keep bit casts to constants, which are folded")
        .into())
    }
}
