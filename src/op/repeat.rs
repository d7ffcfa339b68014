//! A loop step: what Loop and Scan become where they are not unrolled.
//! <https://onnx.ai/onnx/operators/onnx__Loop.html>, <https://onnx.ai/onnx/operators/onnx__Scan.html>.

use serde::{Deserialize, Serialize};
use tinsmith_runtime::format::Repeat as Record;
use tinsmith_runtime::kernels::Layer;

use super::lower::{KernelCall, Operand};
use super::movement::{Move, fitting};
use super::quant::{QuantTensor, Quantization};
use super::tensor::{DType, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// Runs a body again and again on what it carries from time to time.
///
/// Inputs: the first `carried` are what the loop starts with; those behind are the same every time. Outputs: what is
/// carried in the end, of the types that it starts with.
///
/// The body is a graph that the graph of the node holds. Its inputs: the number of times before this one (`i64[]`), what
/// is carried, what stays the same. Its outputs: what is carried on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// Which of the graph's bodies.
    pub body: usize,
    /// How many values are carried.
    pub carried: usize,
    /// The most times that the body runs, at least 1.
    pub trips: usize,
    /// Whether it runs only while the first carried value, one Boolean, holds.
    pub conditional: bool,
}

impl Repeat {
    /// Loops within each other, at most.
    pub const MOST_NESTING: usize = tinsmith_runtime::format::MOST_NESTING;

    /// The type of the body's first input.
    pub fn counter() -> TensorType {
        TensorType::new(DType::I64, [])
    }

    /// Whether the loop goes on with these carried values.
    pub fn goes_on(&self, carried: &[Values]) -> bool {
        let holds = |first: &Values| {
            first
                .to_i64()
                .is_some_and(|flags| flags.iter().any(|&flag| flag != 0))
        };
        !self.conditional || carried.first().is_some_and(holds)
    }
}

impl Operator for Repeat {
    const ONNX: &'static [&'static str] = &["Loop", "Scan"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, self.carried.max(1)..=usize::MAX)?;
        if self.carried == 0 || self.trips == 0 {
            return Err(OpError::new("a loop that carries something and runs wanted"));
        }
        if self.conditional && (inputs[0].dtype != DType::Bool || inputs[0].len() != 1) {
            return Err(OpError::new(format!(
                "one Boolean as the condition wanted, {} found",
                inputs[0]
            )));
        }
        Ok(inputs[..self.carried].iter().map(|&ty| ty.clone()).collect())
    }

    /// The body is not the operator's: who holds the graph runs it.
    fn eval(&self, _inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        Err(OpError::new("a loop is run by an executor of graphs"))
    }

    /// A call per carried value that moves it to where it is carried, and the step in front of the body.
    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let mut calls = Vec::with_capacity(self.carried + 1);
        for (index, (input, output)) in inputs.iter().zip(outputs).take(self.carried).enumerate() {
            let plain = |tensor: &QuantTensor| tensor.quantization == Quantization::Plain;
            if !plain(input) || !plain(output) {
                return Err(OpError::new("a loop step computes in f32, and int8 is asked for")
                    .with_help("compile with --precision f32, or shorten the loop so that it is unrolled")
                    .into());
            }
            calls.push(first_value(index, input)?);
        }
        let record = Record {
            trips: fitting(self.trips)?,
            conditional: self.conditional.into(),
            steps: 1,
            ..Record::default()
        };
        let sources = if self.conditional {
            vec![Operand::Output]
        } else {
            Vec::new()
        };
        calls.push(KernelCall::new(Layer::Repeat(record), sources, Vec::new()));
        Ok(Lowered {
            calls,
            ..Lowered::default()
        })
    }
}

/// Puts what a loop starts with where it is carried. Constants of one byte all over, such as zeros, take none of the
/// flash.
fn first_value(index: usize, input: &QuantTensor) -> Result<KernelCall, LowerError> {
    let width = input.ty.dtype.bytes();
    if let Some(values) = &input.data {
        let bytes = values.data.to_le_bytes();
        if let Some(&first) = bytes.first()
            && bytes.iter().all(|&byte| byte == first)
        {
            let fill = tinsmith_runtime::format::Fill {
                count: fitting(bytes.len())?,
                value: first as i8,
                ..Default::default()
            };
            return Ok(KernelCall::new(Layer::Fill(fill), Vec::new(), Vec::new()));
        }
    }
    let mut calls = Move::all(&input.ty.shape).calls(Operand::of_input(index, input), None, width)?;
    match (calls.pop(), calls.is_empty()) {
        (Some(call), true) => Ok(call),
        _ => Err(OpError::new("a carried value that one copy moves wanted").into()),
    }
}
