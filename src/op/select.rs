//! Select: one of two tensors, whole. What an If with a condition of run time becomes; the scheduler lets the nodes
//! that only the other one needs rest.

use serde::{Deserialize, Serialize};

use super::lower::{KernelCall, Operand};
use super::movement;
use super::quant::{QuantTensor, Range};
use super::tensor::{DType, TensorType, Values, View};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;
use tinsmith_runtime::kernels::Layer;

/// `y = condition ? a : b`. Inputs: `condition`, one Boolean, `a` and `b` of one type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Select {}

impl Operator for Select {
    const ONNX: &'static [&'static str] = &["If", "Loop"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 3..=3)?;
        expect::dtype("condition", inputs[0], DType::Bool)?;
        if inputs[0].len() != 1 {
            return Err(OpError::new(format!("one condition wanted, {} found", inputs[0])));
        }
        if inputs[1] != inputs[2] {
            return Err(OpError::new(format!(
                "two tensors of one type wanted, {} and {} found",
                inputs[1], inputs[2]
            )));
        }
        Ok(vec![inputs[1].clone()])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        expect::output(self, inputs)?;
        let View::Bool(&[condition]) = inputs[0].data.view() else {
            return Err(OpError::new(format!(
                "one condition wanted, {} found",
                inputs[0].ty()
            )));
        };
        Ok(vec![inputs[if condition { 1 } else { 2 }].clone()])
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::SameAsInput(1)
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
        let y = outputs[0];
        let same = |x: &&QuantTensor| x.quantization == y.quantization && x.ty.dtype == y.ty.dtype;
        if !inputs[1..].iter().all(same) {
            return Err(
                OpError::new("its two sides are stored in steps of different sizes")
                    .with_help("compile with --precision f32")
                    .into(),
            );
        }
        if inputs[0].ty.dtype != DType::Bool {
            return Err(OpError::new(format!("its condition is stored as {}", inputs[0].ty)).into());
        }
        let record = tinsmith_runtime::format::Select {
            bytes: movement::fitting(y.ty.bytes())?,
            ..Default::default()
        };
        let sources = (0..3)
            .map(|index| Operand::of_input(index, inputs[index]))
            .collect();
        Ok(Lowered::from(KernelCall::new(
            Layer::Select(record),
            sources,
            Vec::new(),
        )))
    }

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}
