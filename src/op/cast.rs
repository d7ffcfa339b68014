//! Cast: <https://onnx.ai/onnx/operators/onnx__Cast.html>.

use serde::{Deserialize, Serialize};

use super::quant::{QuantTensor, Range};
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;

/// The elements in another type: floats toward zero into integers, anything but zero is true.
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

    fn output_params(&self) -> OutputParams {
        OutputParams::Observed
    }

    fn output_range(&self, observed: Range) -> Range {
        observed
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new(format!(
            "a cast of computed values to {} has no integer kernel",
            self.to
        ))
        .with_help("keep casts to constants and shapes, which are folded")
        .into())
    }

    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}

/// The elements in another type.
///
/// Floats are cut toward zero and saturate, NaN becomes 0 (ONNX leaves both open); integers wrap into narrower ones
/// and round to nearest, ties to even, into floats; anything but zero is true, NaN included.
pub(super) fn convert(data: &Data, to: DType) -> Data {
    match data {
        Data::F32(v) => from_floats(v, to),
        Data::F64(v) => from_floats(v, to),
        Data::I8(v) => from_integers(v, to),
        Data::U8(v) => from_integers(v, to),
        Data::I16(v) => from_integers(v, to),
        Data::I32(v) => from_integers(v, to),
        Data::I64(v) => from_integers(v, to),
        Data::Bool(v) => from_integers(v, to),
    }
}

fn from_floats<T: Copy + Into<f64>>(elements: &[T], to: DType) -> Data {
    let elements = elements.iter().map(|&x| x.into());
    match to {
        DType::F32 => Data::F32(elements.map(|x: f64| x as f32).collect()),
        DType::F64 => Data::F64(elements.collect()),
        DType::I8 => Data::I8(elements.map(|x: f64| x as i8).collect()),
        DType::U8 => Data::U8(elements.map(|x: f64| x as u8).collect()),
        DType::I16 => Data::I16(elements.map(|x: f64| x as i16).collect()),
        DType::I32 => Data::I32(elements.map(|x: f64| x as i32).collect()),
        DType::I64 => Data::I64(elements.map(|x: f64| x as i64).collect()),
        DType::Bool => Data::Bool(elements.map(|x: f64| x != 0.0).collect()),
    }
}

fn from_integers<T: Copy + Into<i64>>(elements: &[T], to: DType) -> Data {
    let elements = elements.iter().map(|&x| x.into());
    match to {
        DType::F32 => Data::F32(elements.map(|x: i64| x as f32).collect()),
        DType::F64 => Data::F64(elements.map(|x: i64| x as f64).collect()),
        DType::I8 => Data::I8(elements.map(|x: i64| x as i8).collect()),
        DType::U8 => Data::U8(elements.map(|x: i64| x as u8).collect()),
        DType::I16 => Data::I16(elements.map(|x: i64| x as i16).collect()),
        DType::I32 => Data::I32(elements.map(|x: i64| x as i32).collect()),
        DType::I64 => Data::I64(elements.collect()),
        DType::Bool => Data::Bool(elements.map(|x: i64| x != 0).collect()),
    }
}
