//! int16 codes: what operators lower to where activations have two bytes an element and weights are int8.
//!
//! Every rescale is an exact ratio ([`super::rescale::ratio`]), so a result equals ONNX's meaning by construction, on every value
//! that can occur; only the magnitudes are proven. Functions are the exception: they are linear between the entries of a
//! table, and [`deviation`] tells by how much they differ.
//!
//! ```text
//! products   convolutions and dense layers
//! pairwise   sums, products, lesser and greater of two operands
//! pool       the largest and the mean of windows
//! change     copies that change parameters or width, clamps, slopes
//! function   functions of one value
//! ```

mod change;
mod function;
mod pairwise;
mod pool;
mod products;

pub(super) use change::{Rescale, slopes};
pub use function::deviation;
pub(super) use function::unary;
pub(super) use pairwise::binary;
pub(super) use pool::{greatest, mean};
pub(super) use products::{convolution, convolution_nd, dense};

use std::collections::BTreeSet;

use super::lower::Proof;
use super::quant::{QuantParams, QuantTensor, Quantization};
use super::rescale::Dyadic;
use super::tensor::DType;
use super::{
    AveragePool, Clamp, Concat, Conv2d, ConvNd, Delay, Dense, Expand, Gather, GatherNd, MaxPool, OpError,
    Operator, Pad, Reshape, Slice, Transpose, Trilu, Unary,
};

/// The ONNX operators that have a form on int16.
pub fn operators() -> BTreeSet<&'static str> {
    const ONE_BY_ONE: [&str; 10] = [
        "Add",
        "GatherElements",
        "Max",
        "Mean",
        "Min",
        "Mul",
        "ReduceMax",
        "ReduceMean",
        "Sub",
        "Sum",
    ];
    let whole = [
        AveragePool::ONNX,
        Concat::ONNX,
        Conv2d::ONNX,
        ConvNd::ONNX,
        Delay::ONNX,
        Dense::ONNX,
        Expand::ONNX,
        Gather::ONNX,
        GatherNd::ONNX,
        MaxPool::ONNX,
        Pad::ONNX,
        Reshape::ONNX,
        Slice::ONNX,
        Transpose::ONNX,
        Trilu::ONNX,
        Unary::ONNX,
    ];
    whole.into_iter().flatten().copied().chain(ONE_BY_ONE).collect()
}

/// Whether a node computes on int16: its output is that.
///
/// # Errors
/// Where an activation among the inputs is not int16 then.
pub(super) fn computes(inputs: &[&QuantTensor], outputs: &[&QuantTensor]) -> Result<bool, OpError> {
    if !outputs.iter().any(|output| output.is_wide()) {
        return Ok(false);
    }
    let is_other = |input: &&&QuantTensor| match input.quantization {
        Quantization::PerTensor(_) => input.ty.dtype != DType::I16 && input.data.is_none(),
        Quantization::PerChannel { .. } | Quantization::PerBlock { .. } => false,
        Quantization::Plain => input.data.is_none(),
    };
    match inputs.iter().find(is_other) {
        Some(input) => Err(OpError::new(format!(
            "it computes int16, but its input `{}` is {}",
            input.name, input.ty
        ))
        .with_help("quantize its inputs and outputs to one width")),
        None => Ok(true),
    }
}

/// What is proven of a rescale that is exact.
fn exact(channels: usize) -> Proof {
    Proof {
        even: channels,
        ..Proof::default()
    }
}

/// Zero point and clamp of an output, of either width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WideCodes {
    pub(super) zero_point: i16,
    pub(super) min: i16,
    pub(super) max: i16,
}

impl WideCodes {
    /// The codes that `clamp` lets through. Clamping codes equals clamping reals, because quantizing is monotone.
    ///
    /// # Errors
    /// Where the tensor is not an int8 or int16 activation.
    pub(super) fn new(tensor: &QuantTensor, clamp: Clamp) -> Result<Self, OpError> {
        let params = params(tensor)?;
        let (least, greatest) = limits(tensor.ty.dtype);
        let code = |end: Option<f32>, open: i32| match (end, Dyadic::new(params.scale)) {
            (Some(value), Some(scale)) => match Dyadic::new(value) {
                Some(real) => params.zero_point.saturating_add(real.divided(scale)),
                None if value == f32::INFINITY => i32::MAX,
                None if value == f32::NEG_INFINITY => i32::MIN,
                None => open,
            },
            _ => open,
        };
        let inside = |code: i32| code.clamp(least.into(), greatest.into()) as i16; // between two i16
        let max = inside(code(clamp.max, i32::MAX));
        Ok(Self {
            zero_point: inside(params.zero_point),
            // Where the ends cross, the upper one wins.
            min: inside(code(clamp.min, i32::MIN)).min(max),
            max,
        })
    }
}

/// The parameters of an int8 or int16 activation.
fn params(tensor: &QuantTensor) -> Result<QuantParams, OpError> {
    let is_code = matches!(tensor.ty.dtype, DType::I8 | DType::I16);
    tensor.params().filter(|_| is_code).ok_or_else(|| {
        OpError::new(format!(
            "`{}` is {}, not int8 or int16 with one scale and zero point",
            tensor.name, tensor.ty
        ))
    })
}

/// The least and the greatest code.
fn limits(dtype: DType) -> (i16, i16) {
    if dtype == DType::I8 {
        (i8::MIN.into(), i8::MAX.into())
    } else {
        (i16::MIN, i16::MAX)
    }
}

/// The greatest distance of a code to a zero point.
fn farthest(zero_point: i32, dtype: DType) -> u64 {
    let (least, greatest) = limits(dtype);
    let distance = |end: i16| u64::from((i32::from(end) - zero_point).unsigned_abs());
    distance(least).max(distance(greatest))
}
