//! QuantizeLinear and DequantizeLinear, of ONNX and of com.microsoft.
//!
//! Integers of 8 bits and more with one f32 scale per tensor or index of an axis become
//! [`QuantizeLinear`] and [`DequantizeLinear`], which the quantizer takes for tensors' parameters; so do stored integers
//! of fewer bits, as those of 8. All else is computed: [`QuantizeTo`], [`DequantizeTo`].

use super::super::builder::Tensor;
use super::super::tensors;
use super::blocks::PerChannel;
use super::{Call, Importer, Made, of_domain, onnx, resolve_axis};

use crate::op::tensor::{DType, Data, Narrow, Values};
use crate::op::{Cast, DequantizeLinear, DequantizeTo, Op, OpError, QuantizeLinear, QuantizeTo, Reshape};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("DequantizeLinear", dequantize),
    onnx("QuantizeLinear", quantize),
    of_domain("com.microsoft", "DequantizeLinear", dequantize_microsoft),
    of_domain("com.microsoft", "QuantizeLinear", quantize_microsoft),
];

/// The form of ONNX's operators that those of com.microsoft have.
const MICROSOFT: i64 = 13;

fn quantize(call: &mut Call<'_>) -> Made {
    quantize_in(call, call.version)
}

fn dequantize(call: &mut Call<'_>) -> Made {
    dequantize_in(call, call.version)
}

fn quantize_microsoft(call: &mut Call<'_>) -> Made {
    quantize_in(call, MICROSOFT)
}

fn dequantize_microsoft(call: &mut Call<'_>) -> Made {
    dequantize_in(call, MICROSOFT)
}

/// Without a zero point the output is unsigned, or of the type that opset 21 lets the model name.
fn quantize_in(call: &mut Call<'_>, version: i64) -> Made {
    let saturate = version < 19 || call.attrs.flag("saturate", true)?;
    let precision = named_type(call, version, 23, "precision")?;
    let named = named_type(call, version, 21, "output_dtype")?;
    let parameters = Parameters::read(call, version)?;
    let given = parameters
        .zero_point
        .map(|zero_point| call.graph.ty(zero_point).dtype);
    if let (Some(named), Some(given)) = (named, given)
        && named != given
    {
        return Err(OpError::new(format!(
            "a zero point of output_dtype {named} wanted, {given} found"
        )));
    }
    let to = named.or(given).unwrap_or(DType::U8);
    Ok(vec![parameters.quantize(call, to, precision, saturate)?])
}

/// Without a zero point it is zero. Opset 23 may ask for another float than the scale's.
fn dequantize_in(call: &mut Call<'_>, version: i64) -> Made {
    let to = named_type(call, version, 23, "output_dtype")?;
    let parameters = Parameters::read(call, version)?;
    Ok(vec![parameters.dequantize(call, to, "")?])
}

/// An attribute that names a type from an opset on.
fn named_type(call: &Call<'_>, version: i64, since: i64, name: &str) -> Result<Option<DType>, OpError> {
    if version < since {
        return Ok(None);
    }
    match i32::try_from(call.attrs.int(name, 0)?).unwrap_or(i32::MAX) {
        0 => Ok(None),
        number => Ok(Some(tensors::dtype(number)?)),
    }
}

/// What is quantized or dequantized, and with what.
pub(super) struct Parameters {
    pub(super) x: Tensor,
    pub(super) scale: Tensor,
    pub(super) zero_point: Option<Tensor>,
    /// The axis of more than one scale, counted from the front.
    pub(super) axis: usize,
    /// 0 where the scales have no blocks.
    pub(super) block_size: usize,
}

impl Parameters {
    /// Opset 13 has one scale per index of an axis, opset 21 blocks of it.
    fn read(call: &mut Call<'_>, version: i64) -> Result<Self, OpError> {
        let axis = match version {
            13.. => call.attrs.int("axis", 1)?,
            _ => 0,
        };
        let block_size = match version {
            21.. => call.attrs.int("block_size", 0)?,
            _ => 0,
        };
        let block_size = usize::try_from(block_size)
            .map_err(|_| OpError::new(format!("a block_size of at least 0 wanted, {block_size} found")))?;
        let (x, scale) = (call.input(0)?, call.input(1)?);
        let scale_ty = call.graph.ty(scale);
        // With one scale the axis means nothing, and its default need not exist.
        let axis = if block_size == 0 && scale_ty.len() == 1 {
            0
        } else if version < 13 {
            return Err(OpError::new(format!(
                "one scale wanted in opset {version}, {scale_ty} found"
            )));
        } else {
            resolve_axis(axis, call.graph.shape(x).len())?
        };
        let parameters = Self {
            x,
            scale,
            zero_point: call.optional(2),
            axis,
            block_size,
        };
        parameters.checked(call)
    }

    /// Expects scales, where they are constant, that are numbers above zero, and gives one zero point its scale's shape.
    pub(super) fn checked(mut self, call: &mut Call<'_>) -> Result<Self, OpError> {
        if let Some(values) = call.graph.constant_of(self.scale) {
            let scales = values.to_f64().into_iter();
            if let Some(found) = scales
                .into_iter()
                .find(|scale| !(*scale > 0.0 && scale.is_finite()))
            {
                return Err(OpError::new(format!(
                    "scales above 0 and below infinity wanted, {found} found"
                )));
            }
        }
        let scale = call.graph.ty(self.scale).clone();
        if let Some(zero_point) = self.zero_point {
            let ty = call.graph.ty(zero_point);
            if ty.len() == 1 && scale.len() == 1 && ty.shape != scale.shape {
                let shape = scale.shape;
                let reshape = Op::Reshape(Reshape { shape });
                self.zero_point = Some(call.graph.emit(reshape, &[zero_point], "zero_point")?);
            }
        }
        Ok(self)
    }

    /// The output of the current node, in integers or narrow floats.
    pub(super) fn quantize(
        &self,
        call: &mut Call<'_>,
        to: DType,
        precision: Option<DType>,
        saturate: bool,
    ) -> Result<Tensor, OpError> {
        let (x, scale) = (call.graph.ty(self.x).dtype, call.graph.ty(self.scale).dtype);
        let precision = match precision.unwrap_or(scale) {
            // A power of two divides any float exactly.
            DType::Narrow(Narrow::F8E8M0) if x.is_float() => x,
            DType::Narrow(Narrow::F8E8M0) => DType::F32,
            precision => precision,
        };
        let is_plain = self.block_size == 0
            && scale == DType::F32
            && precision == DType::F32
            && matches!(x, DType::F32 | DType::I32)
            && matches!(to, DType::I8 | DType::U8 | DType::I16 | DType::U16);
        if is_plain {
            let inputs = [self.x, self.scale, self.zero_point(call, to)?];
            let op = Op::QuantizeLinear(QuantizeLinear { axis: self.axis });
            return call.graph.emit(op, &inputs, "");
        }
        let op = Op::QuantizeTo(QuantizeTo {
            to,
            precision,
            axis: self.axis,
            block_size: self.block_size,
            saturate,
        });
        call.graph.emit(op, &self.inputs(), "")
    }

    /// The reals, of this type or the scale's.
    pub(super) fn dequantize(
        &self,
        call: &mut Call<'_>,
        to: Option<DType>,
        role: &str,
    ) -> Result<Tensor, OpError> {
        let (x, scale) = (call.graph.ty(self.x).dtype, call.graph.ty(self.scale).dtype);
        let to = to.unwrap_or(scale);
        let as_bytes = match x {
            DType::Narrow(Narrow::I2 | Narrow::I4) => Some(DType::I8),
            DType::Narrow(Narrow::U2 | Narrow::U4) => Some(DType::U8),
            _ => None,
        };
        let is_integer = matches!(x, DType::I8 | DType::U8 | DType::I16 | DType::U16 | DType::I32);
        let is_plain = self.block_size == 0 && scale == DType::F32 && to == DType::F32;
        if is_plain && (is_integer || as_bytes.is_some()) {
            let mut inputs = [self.x, self.scale, self.zero_point(call, x)?];
            if let Some(to) = as_bytes {
                // The types must agree before both change.
                let found = call.graph.ty(inputs[2]).dtype;
                if found != x {
                    return Err(OpError::new(format!("`zero_point` of {x} wanted, {found} found")));
                }
                for index in [0, 2] {
                    let cast = Op::Cast(Cast { to });
                    inputs[index] = call.graph.emit(cast, &[inputs[index]], "as_bytes")?;
                }
            }
            let op = Op::DequantizeLinear(DequantizeLinear { axis: self.axis });
            return call.graph.emit(op, &inputs, role);
        }
        if let Some(whole) = self.per_channel(call, to) {
            call.graph.take_bytes(whole.codes.ty().bytes())?;
            let channels = whole.scales.len();
            let zeros = Data::I8(vec![0; channels]).cast(whole.codes.data.dtype());
            let zeros = Values::new([channels], zeros);
            let inputs = [
                call.graph.constant(whole.codes, "codes"),
                call.graph
                    .constant(Values::f32([channels], whole.scales), "scales"),
                call.graph.constant(zeros, "zero_points"),
            ];
            let op = Op::DequantizeLinear(DequantizeLinear { axis: whole.axis });
            return call.graph.emit(op, &inputs, role);
        }
        let op = Op::DequantizeTo(DequantizeTo {
            to,
            axis: self.axis,
            block_size: self.block_size,
        });
        call.graph.emit(op, &self.inputs(), role)
    }

    /// Stored integers in blocks, where they have a form with one scale per channel.
    fn per_channel(&self, call: &Call<'_>, to: DType) -> Option<PerChannel> {
        let is_plain = self.block_size > 0 && to == DType::F32;
        let (x, scales) = (
            call.graph.constant_of(self.x)?,
            call.graph.constant_of(self.scale)?,
        );
        let zeros = match self.zero_point {
            Some(zeros) => Some(call.graph.constant_of(zeros)?.as_ref()),
            None => None,
        };
        let of_bytes = x.data.dtype().bytes() == 1;
        (is_plain && of_bytes)
            .then(|| PerChannel::of_blocks(x, scales, zeros, self.axis, self.block_size))
            .flatten()
    }

    /// The zero points, made here of this type where the model has none.
    fn zero_point(&self, call: &mut Call<'_>, dtype: DType) -> Result<Tensor, OpError> {
        if let Some(given) = self.zero_point {
            return Ok(given);
        }
        let scale = call.graph.ty(self.scale).clone();
        call.graph.take_bytes(scale.len() * dtype.bytes())?;
        let zero = Data::I8(vec![0]).cast(dtype);
        let zeros = zero.gather(std::iter::repeat_n(0, scale.len()));
        Ok(call.graph.constant(Values::new(scale.shape, zeros), "zero_point"))
    }

    /// The inputs as the model has them.
    fn inputs(&self) -> Vec<Tensor> {
        [self.x, self.scale].into_iter().chain(self.zero_point).collect()
    }
}
