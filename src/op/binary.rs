//! Add, Sub, Mul, Div: <https://onnx.ai/onnx/operators/onnx__Add.html> and its neighbours, NumPy broadcasting.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::element::Element;
use super::pairwise::{Sides, one_value};
use super::quant::{QuantTensor, Range};
use super::tensor::{DType, Data, TensorType, Values, broadcast_indices, broadcast_shape};
use super::{Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect, real};
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
        let ty = expect::output(self, inputs)?;
        let data = match inputs[0].data.dtype() {
            DType::F32 => self.elementwise::<f32>(inputs, &ty.shape),
            DType::F64 => self.elementwise::<f64>(inputs, &ty.shape),
            DType::I8 => self.elementwise::<i8>(inputs, &ty.shape),
            DType::U8 => self.elementwise::<u8>(inputs, &ty.shape),
            DType::I16 => self.elementwise::<i16>(inputs, &ty.shape),
            DType::I32 => self.elementwise::<i32>(inputs, &ty.shape),
            DType::I64 => self.elementwise::<i64>(inputs, &ty.shape),
            DType::F16 => self.elementwise::<f16>(inputs, &ty.shape),
            DType::BF16 => self.elementwise::<bf16>(inputs, &ty.shape),
            DType::U16 => self.elementwise::<u16>(inputs, &ty.shape),
            DType::U32 => self.elementwise::<u32>(inputs, &ty.shape),
            DType::U64 => self.elementwise::<u64>(inputs, &ty.shape),
            DType::Bool | DType::Narrow(_) => Err(OpError::new(format!("numbers wanted, {ty} found"))),
        }?;
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn output_params(&self) -> OutputParams {
        OutputParams::Observed
    }

    fn output_range(&self, observed: Range) -> Range {
        observed.clamped(self.clamp)
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if real::computes(inputs, outputs)? {
            return real::binary(self.kind, self.clamp, inputs, outputs[0]);
        }
        let (a, b, y) = (inputs[0], inputs[1], outputs[0]);
        for (constant, other, constant_first) in [(b, a, false), (a, b, true)] {
            if let (Some(value), None) = (one_value(constant), &other.data)
                && other.ty.len() == y.ty.len()
            {
                return self.lower_constant(value, constant_first, other, y);
            }
        }
        let sides = Sides::new(inputs, y)?;
        match self.kind {
            BinaryKind::Add | BinaryKind::Sub => self.lower_sum(&sides, y),
            BinaryKind::Mul => self.lower_product(&sides, y),
            BinaryKind::Div => Err(OpError::new("a division by a tensor has no exact integer kernel")
                .with_help("divide by a scalar constant, or multiply by the reciprocal in the model")
                .into()),
        }
    }

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}

impl Binary {
    fn elementwise<T: Element>(&self, inputs: &[&Values], shape: &[usize]) -> Result<Data, OpError> {
        let operand = |i: usize| T::of(&inputs[i].data).expect("the type check found one type");
        let (a, b) = (operand(0), operand(1));
        let of_pair = |(a, b): (T, T)| {
            let y = match self.kind {
                BinaryKind::Add => a.add(b),
                BinaryKind::Sub => a.subtract(b),
                BinaryKind::Mul => a.multiply(b),
                BinaryKind::Div => a.divide(b)?,
            };
            Some(y.clamped(self.clamp))
        };
        let y: Option<Vec<T>> = if inputs[0].shape == inputs[1].shape {
            a.iter().copied().zip(b.iter().copied()).map(of_pair).collect()
        } else {
            let a_indices = broadcast_indices(&inputs[0].shape, shape);
            let b_indices = broadcast_indices(&inputs[1].shape, shape);
            let pairs = a_indices.into_iter().zip(b_indices);
            pairs.map(|(i, j)| of_pair((a[i], b[j]))).collect()
        };
        y.map(T::data)
            .ok_or_else(|| OpError::new("divisors other than zero wanted, an integer 0 found"))
    }
}
