//! Cast: <https://onnx.ai/onnx/operators/onnx__Cast.html>.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::narrow::Encoding;
use super::quant::{QuantTensor, Quantization};
use super::tensor::{DType, Data, Narrow, TensorType, Values, View};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect, plain};
use crate::target::Target;

/// The elements in another type: floats toward zero into integers, anything but zero is true. Beyond the ends of a
/// float of eight bits lies its greatest number, and powers of two round up; [`NarrowCast`] has it otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cast {
    /// The type.
    pub to: DType,
}

impl Operator for Cast {
    const ONNX: &'static [&'static str] = &["Cast"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        Ok(vec![TensorType::new(self.to, inputs[0].shape.clone())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        Ok(vec![Values::new(ty.shape, convert(&inputs[0].data, self.to))])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let (x, y) = (inputs[0], outputs[0]);
        if x.quantization == Quantization::Plain && y.quantization == Quantization::Plain {
            return plain::convert(x, y);
        }
        Err(OpError::new(format!(
            "a cast of computed values to {} has no integer kernel",
            self.to
        ))
        .with_help("keep casts to constants and shapes, which are folded")
        .into())
    }
}

/// The elements in a type of at most eight bits, where the model says what becomes of those beyond its ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NarrowCast {
    /// The type.
    pub to: Narrow,
    /// What becomes of numbers that it has not.
    pub encoding: Encoding,
}

impl Operator for NarrowCast {
    const ONNX: &'static [&'static str] = &["Cast"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        Ok(vec![TensorType::new(
            DType::Narrow(self.to),
            inputs[0].shape.clone(),
        )])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let data = convert_as(&inputs[0].data, ty.dtype, self.encoding);
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new(format!(
            "a cast of computed values to {} has no kernel",
            self.to.name()
        ))
        .with_help("keep casts to constants, which are folded")
        .into())
    }
}

/// The elements in another type; see [`convert_as`].
pub(crate) fn convert(data: &Data, to: DType) -> Data {
    convert_as(data, to, Encoding::default())
}

/// The elements in another type.
///
/// Floats are cut toward zero and saturate, NaN becomes 0 (ONNX leaves both open); those into integers of two and four
/// bits keep their lowest bits instead, as ONNX's own examples have it. Integers wrap into narrower ones and round to
/// nearest, ties to even, into floats; anything but zero is true, NaN included.
pub(crate) fn convert_as(data: &Data, to: DType, encoding: Encoding) -> Data {
    let integers: Vec<i128> = match data.view() {
        View::I8(v) => v.iter().map(|&x| x.into()).collect(),
        View::U8(v) => v.iter().map(|&x| x.into()).collect(),
        View::I16(v) => v.iter().map(|&x| x.into()).collect(),
        View::U16(v) => v.iter().map(|&x| x.into()).collect(),
        View::I32(v) => v.iter().map(|&x| x.into()).collect(),
        View::U32(v) => v.iter().map(|&x| x.into()).collect(),
        View::I64(v) => v.iter().map(|&x| x.into()).collect(),
        View::U64(v) => v.iter().map(|&x| x.into()).collect(),
        View::Bool(v) => v.iter().map(|&x| x.into()).collect(),
        View::F64(v) => return from_floats(v, to, encoding),
        View::F32(v) => return from_floats(v, to, encoding),
        View::F16(v) => return from_floats(v, to, encoding),
        View::BF16(v) => return from_floats(v, to, encoding),
        View::Narrow(narrow, v) => {
            let integers = v.iter().map(|&code| narrow.to_integer(code).map(i128::from));
            let Some(integers) = integers.collect() else {
                let reals: Vec<f32> = v.iter().map(|&code| narrow.decode(code)).collect();
                return from_floats(&reals, to, encoding);
            };
            integers
        }
    };
    let elements = integers.into_iter();
    match to {
        DType::F32 => Data::F32(elements.map(|x| x as f32).collect()),
        DType::F64 => Data::F64(elements.map(|x| x as f64).collect()),
        DType::F16 => Data::F16(elements.map(|x| f16::from_f64(x as f64)).collect()),
        DType::BF16 => Data::BF16(elements.map(|x| bf16::from_f64(x as f64)).collect()),
        DType::I8 => Data::I8(elements.map(|x| x as i8).collect()),
        DType::U8 => Data::U8(elements.map(|x| x as u8).collect()),
        DType::I16 => Data::I16(elements.map(|x| x as i16).collect()),
        DType::U16 => Data::U16(elements.map(|x| x as u16).collect()),
        DType::I32 => Data::I32(elements.map(|x| x as i32).collect()),
        DType::U32 => Data::U32(elements.map(|x| x as u32).collect()),
        DType::I64 => Data::I64(elements.map(|x| x as i64).collect()),
        DType::U64 => Data::U64(elements.map(|x| x as u64).collect()),
        DType::Bool => Data::Bool(elements.map(|x| x != 0).collect()),
        DType::Narrow(narrow) => {
            let code = |x: i128| {
                if narrow.is_integer() {
                    narrow.wrap(x)
                } else {
                    narrow.encode(x as f64, encoding)
                }
            };
            Data::Narrow(narrow, elements.map(code).collect())
        }
    }
}

fn from_floats<T: Copy + Into<f64>>(elements: &[T], to: DType, encoding: Encoding) -> Data {
    let elements = elements.iter().map(|&x| x.into());
    match to {
        DType::F32 => Data::F32(elements.map(|x: f64| x as f32).collect()),
        DType::F64 => Data::F64(elements.collect()),
        DType::F16 => Data::F16(elements.map(f16::from_f64).collect()),
        DType::BF16 => Data::BF16(elements.map(bf16::from_f64).collect()),
        DType::I8 => Data::I8(elements.map(|x: f64| x as i8).collect()),
        DType::U8 => Data::U8(elements.map(|x: f64| x as u8).collect()),
        DType::I16 => Data::I16(elements.map(|x: f64| x as i16).collect()),
        DType::U16 => Data::U16(elements.map(|x: f64| x as u16).collect()),
        DType::I32 => Data::I32(elements.map(|x: f64| x as i32).collect()),
        DType::U32 => Data::U32(elements.map(|x: f64| x as u32).collect()),
        DType::I64 => Data::I64(elements.map(|x: f64| x as i64).collect()),
        DType::U64 => Data::U64(elements.map(|x: f64| x as u64).collect()),
        DType::Bool => Data::Bool(elements.map(|x: f64| x != 0.0).collect()),
        DType::Narrow(narrow) => Data::Narrow(narrow, elements.map(|x| narrow.encode(x, encoding)).collect()),
    }
}
