//! What QuantizeLinear and DequantizeLinear have beyond 8 bits and one scale per index:
//! <https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>.
//!
//! [`QuantizeLinear`](super::QuantizeLinear) and [`DequantizeLinear`](super::DequantizeLinear) are the forms that
//! the quantizer takes as tensors' parameters. These here are plain computations, in any type: of constants they fold.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::narrow::{Encoding, Narrow, RoundMode};
use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, cast, expect};
use crate::target::Target;

/// `y = saturate(x / scale + zero_point)`; integers take the quotient rounded to even.
///
/// Inputs: `x` of reals or i32, `scale` and, optionally, `zero_point` of the output's type, both with one element, with
/// one per index of `axis`, or with one per block along it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantizeTo {
    /// The output's type.
    pub to: DType,
    /// The type that the quotient is rounded to.
    pub precision: DType,
    /// The axis of parameters per index or block, counted from the front.
    pub axis: usize,
    /// Elements along `axis` that share a scale; 0 where the scale has no blocks.
    pub block_size: usize,
    /// Whether floats of eight bits saturate.
    pub saturate: bool,
}

/// `y = (x − zero_point) · scale`, the product in f32 and rounded to the output's type. Inputs as [`QuantizeTo`]'s, the
/// zero point of the type of `x`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DequantizeTo {
    /// The output's type.
    pub to: DType,
    /// The axis of parameters per index or block, counted from the front.
    pub axis: usize,
    /// Elements along `axis` that share a scale; 0 where the scale has no blocks.
    pub block_size: usize,
}

impl Operator for QuantizeTo {
    const ONNX: &'static [&'static str] = &["QuantizeLinear"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let x = check(self.axis, self.block_size, inputs)?;
        if !matches!(x.dtype, DType::F32 | DType::F16 | DType::BF16 | DType::I32) {
            return Err(OpError::new(format!(
                "`x` of f32, f16, bf16 or i32 wanted, {x} found"
            )));
        }
        real("a precision", self.precision)?;
        stored("an output", self.to)?;
        if let Some(zero_point) = inputs.get(2) {
            expect::dtype("zero_point", zero_point, self.to)?;
        }
        Ok(vec![TensorType::new(self.to, x.shape.clone())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let parameters = Parameters::of(inputs, self.axis, self.block_size);
        let rounded =
            |values: &Values| Values::new(values.shape.clone(), cast::convert(&values.data, self.precision));
        let (x, scales) = (rounded(inputs[0]).to_f64(), rounded(inputs[1]).to_f64());
        // A quotient in f64 has twice the digits of any other here, so that rounding it once more changes nothing.
        let round: fn(f64) -> f64 = match self.precision {
            DType::F16 => |x| f16::from_f64(x).to_f64(),
            DType::BF16 => |x| bf16::from_f64(x).to_f64(),
            DType::F64 => |x| x,
            _ => |x| f64::from(x as f32),
        };
        let zeros = inputs.get(2).map(|zeros| zeros.to_f64());
        let quotients = x.iter().enumerate().map(|(i, x)| {
            let at = parameters.index(i);
            let zero = zeros.as_ref().map_or(0.0, |zeros| zeros[at]);
            (round(x / scales[at]), zero)
        });
        let encoding = Encoding {
            saturate: self.saturate,
            round: RoundMode::Up,
        };
        // A float saturates as it becomes an integer.
        let steps = quotients.clone().map(|(x, zero)| x.round_ties_even() + zero);
        let data = match ty.dtype {
            DType::U8 => Data::U8(steps.map(|q| q as u8).collect()),
            DType::I16 => Data::I16(steps.map(|q| q as i16).collect()),
            DType::U16 => Data::U16(steps.map(|q| q as u16).collect()),
            DType::Narrow(narrow) if narrow.is_integer() => {
                Data::Narrow(narrow, steps.map(|q| narrow.saturate(q as i64)).collect())
            }
            DType::Narrow(narrow) => {
                let codes = quotients.map(|(x, zero)| narrow.encode(x + zero, encoding));
                Data::Narrow(narrow, codes.collect())
            }
            _ => Data::I8(steps.map(|q| q as i8).collect()),
        };
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new(format!(
            "quantization of computed values to {} has no kernel",
            self.to
        ))
        .with_help("quantize activations per tensor, to int8 or uint8, with f32 scales")
        .into())
    }
}

impl Operator for DequantizeTo {
    const ONNX: &'static [&'static str] = &["DequantizeLinear"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        let x = check(self.axis, self.block_size, inputs)?;
        if x.dtype != DType::I32 {
            stored("`x`", x.dtype)?;
        }
        real("an output", self.to)?;
        if let Some(zero_point) = inputs.get(2) {
            expect::dtype("zero_point", zero_point, x.dtype)?;
        }
        Ok(vec![TensorType::new(self.to, x.shape.clone())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let parameters = Parameters::of(inputs, self.axis, self.block_size);
        let (x, scales) = (inputs[0].to_f64(), inputs[1].to_f64());
        let zeros = inputs.get(2).map(|zeros| zeros.to_f64());
        let reals = x.iter().enumerate().map(|(i, x)| {
            let at = parameters.index(i);
            let zero = zeros.as_ref().map_or(0.0, |zeros| zeros[at]);
            (x - zero) as f32 * scales[at] as f32
        });
        let data = cast::convert(&Data::F32(reals.collect()), self.to);
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new(format!(
            "dequantization of computed values of {} has no kernel",
            inputs.first().map_or(self.to, |x| x.ty.dtype)
        ))
        .with_help("quantize activations per tensor, to int8 or uint8, with f32 scales")
        .into())
    }
}

/// What both expect of their parameters' types and shapes; gives `x`.
fn check<'t>(axis: usize, block_size: usize, inputs: &[&'t TensorType]) -> Result<&'t TensorType, OpError> {
    expect::count(inputs, 2..=3)?;
    let (x, scale) = (inputs[0], inputs[1]);
    if scale.dtype != DType::Narrow(Narrow::F8E8M0) {
        real("`scale`", scale.dtype)?;
    }
    if let Some(zero_point) = inputs.get(2) {
        expect::shape("zero_point", zero_point, &scale.shape)?;
    }
    if block_size == 0 && scale.len() == 1 && scale.shape.len() <= 1 {
        return Ok(x);
    }
    expect::axis(axis, x)?;
    let wanted = if block_size == 0 {
        vec![x.shape[axis]]
    } else {
        let mut blocks = x.shape.clone();
        blocks[axis] = blocks[axis].div_ceil(block_size);
        blocks
    };
    expect::shape("scale", scale, &wanted)?;
    Ok(x)
}

fn real(name: &str, dtype: DType) -> Result<(), OpError> {
    if dtype.is_float() {
        Ok(())
    } else {
        Err(OpError::new(format!("{name} of reals wanted, {dtype} found")))
    }
}

/// Expects a type that quantized values are stored in.
fn stored(name: &str, dtype: DType) -> Result<(), OpError> {
    match dtype {
        DType::I8 | DType::U8 | DType::I16 | DType::U16 => Ok(()),
        DType::Narrow(narrow) if narrow != Narrow::F8E8M0 => Ok(()),
        DType::F32
        | DType::F64
        | DType::F16
        | DType::BF16
        | DType::I32
        | DType::U32
        | DType::I64
        | DType::U64
        | DType::Bool
        | DType::Narrow(_) => Err(OpError::new(format!(
            "{name} of integers of at most 16 bits or floats of at most 8 bits wanted, {dtype} found"
        ))),
    }
}

/// Which parameters an element takes, by its index.
struct Parameters {
    /// Elements from one index of the axis to the next.
    inner: usize,
    /// Indices of the axis.
    extent: usize,
    /// Indices of the axis that share parameters.
    block_size: usize,
    /// Parameters along the axis.
    blocks: usize,
    /// Whether every other axis has parameters of its own.
    every: bool,
}

impl Parameters {
    fn of(inputs: &[&Values], axis: usize, block_size: usize) -> Self {
        let (shape, scales) = (&inputs[0].shape, inputs[1].data.len());
        if block_size == 0 && scales == 1 {
            return Self {
                inner: 1,
                extent: 1,
                block_size: 1,
                blocks: 1,
                every: false,
            };
        }
        let block = block_size.max(1);
        Self {
            inner: shape[axis + 1..].iter().product(),
            extent: shape[axis],
            block_size: block,
            blocks: shape[axis].div_ceil(block),
            every: block_size > 0,
        }
    }

    fn index(&self, element: usize) -> usize {
        let (row, column) = (element / self.inner, element % self.inner);
        let block = row % self.extent / self.block_size;
        if self.every {
            (row / self.extent * self.blocks + block) * self.inner + column
        } else {
            block
        }
    }
}
