//! QuantizeLinear and DequantizeLinear: <https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>.

use serde::{Deserialize, Serialize};

use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// `y = saturate(round_half_even(x / scale) + zero_point)`.
///
/// Inputs: `x`, `scale` and `zero_point`, both of one element or of one per index of `axis`; the zero point's type
/// is the output's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizeLinear {
    /// The axis of per-axis parameters, counted from the front.
    pub axis: usize,
}

/// `y = (x − zero_point) · scale`. Inputs as [`QuantizeLinear`]'s; always with a zero point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DequantizeLinear {
    /// The axis of per-axis parameters, counted from the front.
    pub axis: usize,
}

impl Operator for QuantizeLinear {
    const ONNX: &'static [&'static str] = &["QuantizeLinear"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        check(self.axis, inputs)?;
        if !matches!(inputs[0].dtype, DType::F32 | DType::I32) {
            return Err(OpError::new(format!(
                "`x` of f32 or i32 wanted, {} found",
                inputs[0]
            )));
        }
        Ok(vec![TensorType::new(inputs[2].dtype, inputs[0].shape.clone())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let (scales, zero_points) = parameters(inputs);
        let period = Period::of(self.axis, &ty.shape, scales.len());
        // Division and rounding in f32, as ONNX has it; the sum with the zero point is exact in f64.
        let steps = inputs[0].to_f64().into_iter().enumerate().map(|(i, x)| {
            let channel = period.channel(i);
            let steps = (x as f32 / scales[channel]).round_ties_even();
            f64::from(steps) + zero_points[channel] as f64
        });
        // A float saturates as it becomes an integer.
        let data = match ty.dtype {
            DType::I8 => Data::I8(steps.map(|q| q as i8).collect()),
            DType::U8 => Data::U8(steps.map(|q| q as u8).collect()),
            DType::I16 => Data::I16(steps.map(|q| q as i16).collect()),
            DType::U16 => Data::U16(steps.map(|q| q as u16).collect()),
            _ => Data::I32(steps.map(|q| q as i32).collect()),
        };
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new(
            "a quantize step stays between integer operators only where it is part of none of them",
        )
        .with_help("quantize the operators before and behind it as well")
        .into())
    }
}

impl Operator for DequantizeLinear {
    const ONNX: &'static [&'static str] = &["DequantizeLinear"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        check(self.axis, inputs)?;
        expect::dtype("x", inputs[0], inputs[2].dtype)?;
        Ok(vec![TensorType::new(DType::F32, inputs[0].shape.clone())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let (scales, zero_points) = parameters(inputs);
        let period = Period::of(self.axis, &ty.shape, scales.len());
        let steps = inputs[0].to_i64().expect("the type check asked for integers");
        let reals = steps.into_iter().enumerate().map(|(i, q)| {
            let channel = period.channel(i);
            (q - zero_points[channel]) as f32 * scales[channel]
        });
        Ok(vec![Values::f32(ty.shape, reals.collect())])
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new(
            "a dequantize step stays between integer operators only where it is part of none of them",
        )
        .with_help("quantize the operators before and behind it as well")
        .into())
    }
}

/// What both expect: an f32 scale and an integer zero point of the same size, one element or one per index.
fn check(axis: usize, inputs: &[&TensorType]) -> Result<(), OpError> {
    expect::count(inputs, 3..=3)?;
    let (x, scale, zero_point) = (inputs[0], inputs[1], inputs[2]);
    expect::dtype("scale", scale, DType::F32)?;
    if !matches!(
        zero_point.dtype,
        DType::I8 | DType::U8 | DType::I16 | DType::U16 | DType::I32
    ) {
        return Err(OpError::new(format!(
            "`zero_point` of i8, u8, i16, u16 or i32 wanted, {zero_point} found"
        )));
    }
    expect::shape("zero_point", zero_point, &scale.shape)?;
    if scale.len() == 1 && scale.shape.len() <= 1 {
        return Ok(());
    }
    expect::axis(axis, x)?;
    expect::shape("scale", scale, &[x.shape[axis]])
}

/// The scales and zero points, of types that were checked.
fn parameters<'a>(inputs: &[&'a Values]) -> (&'a [f32], Vec<i64>) {
    let scales = inputs[1].as_f32().expect("the type check asked for f32");
    let zero_points = inputs[2].to_i64().expect("the type check asked for integers");
    (scales, zero_points)
}

/// Which parameters an element takes, by its index.
struct Period {
    /// Elements from one channel to the next.
    inner: usize,
    /// Number of channels.
    channels: usize,
}

impl Period {
    fn of(axis: usize, shape: &[usize], channels: usize) -> Self {
        let inner = if channels == 1 {
            1
        } else {
            shape[axis + 1..].iter().product()
        };
        Self { inner, channels }
    }

    fn channel(&self, index: usize) -> usize {
        index / self.inner % self.channels
    }
}
