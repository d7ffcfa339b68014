//! Pad: <https://onnx.ai/onnx/operators/onnx__Pad.html>.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams};
use crate::target::Target;

/// What stands outside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum PadMode {
    /// One value.
    Constant(f32),
    /// The edge, repeated.
    Edge,
    /// The inside, mirrored without repeating the edge.
    Reflect,
}

/// The input, surrounded. Negative pads were turned into slices at import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pad {
    /// Elements before, per axis.
    pub before: Vec<usize>,
    /// Elements after, per axis.
    pub after: Vec<usize>,
    /// What stands there.
    pub mode: PadMode,
}

impl Operator for Pad {
    const ONNX: &'static [&'static str] = &["Pad"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        unimplemented!("{inputs:?}")
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

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        unimplemented!("{inputs:?}")
    }
}
