//! Operators on quantized tensors, written with their parameters as inputs: they become `DequantizeLinear`, the operator
//! on reals, `QuantizeLinear`, which the quantizer takes as it takes a model that is written so.

use super::super::builder::Tensor;
use super::quantize::Parameters;
use super::{Call, Importer, Made, of_domain, onnx};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{Binary, BinaryKind, Clamp, Gather, Op, OpError, Reshape};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("QLinearConv", conv),
    onnx("QLinearMatMul", matmul),
    of_domain("com.microsoft", "QGemm", gemm),
    of_domain("com.microsoft", "QLinearAdd", add),
    of_domain("com.microsoft", "QLinearAveragePool", average_pool),
    of_domain("com.microsoft", "QLinearConcat", concat),
    of_domain("com.microsoft", "QLinearConv", conv_microsoft),
    of_domain("com.microsoft", "QLinearGlobalAveragePool", global_average_pool),
    of_domain("com.microsoft", "QLinearLeakyRelu", leaky_relu),
    of_domain("com.microsoft", "QLinearMul", mul),
    of_domain("com.microsoft", "QLinearSigmoid", sigmoid),
    of_domain("com.microsoft", "QLinearSoftmax", softmax),
    of_domain("com.microsoft", "QLinearWhere", where_),
];

/// The reals behind inputs `at` (codes), `at + 1` (scale) and `at + 2` (zero point).
fn real(call: &mut Call<'_>, at: usize, axis: usize) -> Result<Tensor, OpError> {
    let (x, scale) = (call.input(at)?, call.input(at + 1)?);
    dequantized(call, x, scale, call.optional(at + 2), axis)
}

/// The reals behind codes. More than one scale or zero point runs along `axis`; scales of the tensor's own rank have one
/// for everything along its last axis or the one before.
fn dequantized(
    call: &mut Call<'_>,
    x: Tensor,
    scale: Tensor,
    zero_point: Option<Tensor>,
    axis: usize,
) -> Result<Tensor, OpError> {
    let parameters = parameters(call, x, scale, zero_point, axis)?;
    // Sums are taken in f32, whatever the scale's type.
    parameters.dequantize(call, Some(DType::F32), "reals")
}

fn parameters(
    call: &mut Call<'_>,
    x: Tensor,
    scale: Tensor,
    zero_point: Option<Tensor>,
    axis: usize,
) -> Result<Parameters, OpError> {
    let shape = call.graph.shape(x).to_vec();
    let scales = call.graph.shape(scale).to_vec();
    if scales.len() > 1 {
        let axis = (0..shape.len()).rev().find(|&axis| scales.get(axis) == Some(&1));
        let Some(axis) = axis.filter(|_| scales.len() == shape.len()) else {
            return Err(OpError::new(format!(
                "a scale, one per row or column, or one with an axis of 1 wanted, {scales:?} found for {shape:?}"
            )));
        };
        let parameters = Parameters {
            x,
            scale,
            zero_point,
            axis,
            block_size: shape[axis].max(1),
        };
        return parameters.checked(call);
    }
    let count = |call: &Call<'_>, tensor: Tensor| call.graph.ty(tensor).len();
    let mut scale = scale;
    let mut zero_point = zero_point;
    if let Some(zero) = zero_point {
        let (scales, zeros) = (count(call, scale), count(call, zero));
        if zeros == 1 && scales > 1 {
            zero_point = Some(spread(call, zero, scales, "zero_points")?);
        } else if scales == 1 && zeros > 1 {
            scale = spread(call, scale, zeros, "scales")?;
        }
    }
    let axis = if count(call, scale) == 1 { 0 } else { axis };
    let parameters = Parameters {
        x,
        scale,
        zero_point,
        axis,
        block_size: 0,
    };
    parameters.checked(call)
}

/// One value, `count` times.
fn spread(call: &mut Call<'_>, one: Tensor, count: usize, role: &str) -> Result<Tensor, OpError> {
    let reshape = Op::Reshape(Reshape { shape: vec![1] });
    let row = call.graph.emit(reshape, &[one], &format!("{role}_row"))?;
    let indices = Values::new([count], Data::I64(vec![0; count]));
    let indices = call.graph.constant(indices, &format!("{role}_indices"));
    call.graph
        .emit(Op::Gather(Gather { axis: 0 }), &[row, indices], role)
}

/// The output of the node: reals by the scale that is input `at` and the zero point behind it, or without one of the
/// type given.
fn quantized(call: &mut Call<'_>, y: Tensor, at: usize, to: DType, axis: usize) -> Made {
    let scale = call.input(at)?;
    let zero_point = call.optional(at + 1);
    let to = zero_point.map_or(to, |zero_point| call.graph.ty(zero_point).dtype);
    let parameters = parameters(call, y, scale, zero_point, axis)?;
    Ok(vec![parameters.quantize(call, to, Some(DType::F32), true)?])
}

fn binary(kind: BinaryKind) -> Op {
    Op::Binary(Binary {
        kind,
        clamp: Clamp::NONE,
    })
}

/// A bias of i32 in steps of the product of two scales.
fn bias(call: &mut Call<'_>, bias: Tensor, scales: [Tensor; 2]) -> Result<Tensor, OpError> {
    let steps = call.graph.emit(binary(BinaryKind::Mul), &scales, "bias_scale")?;
    let steps = if call.graph.shape(steps).len() > 1 {
        let shape = vec![call.graph.ty(steps).len()];
        call.graph
            .emit(Op::Reshape(Reshape { shape }), &[steps], "bias_scale_row")?
    } else {
        steps
    };
    dequantized(call, bias, steps, None, 0)
}

fn conv_microsoft(call: &mut Call<'_>) -> Made {
    channels_first(call)?;
    conv(call)
}

/// com.microsoft has an attribute for another layout, which only its own optimizer writes.
fn channels_first(call: &Call<'_>) -> Result<(), OpError> {
    if call.attrs.flag("channels_last", false)? {
        return Err(OpError::new("channels_last=0 wanted, 1 found")
            .with_help("take the model before ONNX Runtime optimized it"));
    }
    Ok(())
}

/// Weights may have a scale per output channel.
fn conv(call: &mut Call<'_>) -> Made {
    let to = call.graph.ty(call.input(0)?).dtype;
    let (x, weights) = (real(call, 0, 0)?, real(call, 3, 0)?);
    let scales = [call.input(1)?, call.input(4)?];
    let bias = match call.optional(8) {
        Some(steps) => Some(bias(call, steps, scales)?),
        None => None,
    };
    let y = call.part_of_own("Conv", 11, &[Some(x), Some(weights), bias])?;
    quantized(call, y, 6, to, 1)
}

/// `a` may have a scale per row, `b` per column.
fn matmul(call: &mut Call<'_>) -> Made {
    let (a, b) = (call.input(0)?, call.input(3)?);
    let to = call.graph.ty(a).dtype;
    let rows = call.graph.shape(a).len().saturating_sub(2);
    let columns = call.graph.shape(b).len().saturating_sub(1);
    let (a, b) = (real(call, 0, rows)?, real(call, 3, columns)?);
    let y = call.part("MatMul", 13, &[Some(a), Some(b)], &[])?;
    let rows = call.graph.shape(y).len().saturating_sub(2);
    quantized(call, y, 6, to, rows)
}

/// `alpha · a' · b' + c`, `c` in steps of alpha times the two scales; reals where there is no scale for the output.
fn gemm(call: &mut Call<'_>) -> Made {
    let to = call.graph.ty(call.input(0)?).dtype;
    let columns = usize::from(!call.attrs.flag("transB", false)?);
    let alpha = call.attrs.float("alpha", 1.0)?;
    let (a, b) = (real(call, 0, 0)?, real(call, 3, columns)?);
    let mut scales = [call.input(1)?, call.input(4)?];
    let c = match call.optional(6) {
        Some(steps) => {
            if alpha != 1.0 {
                let factor = call.graph.constant(Values::f32([], vec![alpha]), "alpha");
                scales[0] = call
                    .graph
                    .emit(binary(BinaryKind::Mul), &[scales[0], factor], "alpha_scale")?;
            }
            let last = call.graph.shape(steps).len().saturating_sub(1);
            let product = call.graph.emit(binary(BinaryKind::Mul), &scales, "c_scale")?;
            Some(dequantized(call, steps, product, None, last)?)
        }
        None => None,
    };
    let y = call.part_of_own("Gemm", 13, &[Some(a), Some(b), c])?;
    if call.optional(7).is_none() {
        return Ok(vec![y]);
    }
    quantized(call, y, 7, to, 0)
}

fn pair(call: &mut Call<'_>, operator: &str) -> Made {
    let to = call.graph.ty(call.input(0)?).dtype;
    let (a, b) = (real(call, 0, 0)?, real(call, 3, 0)?);
    let y = call.part(operator, 13, &[Some(a), Some(b)], &[])?;
    quantized(call, y, 6, to, 0)
}

fn add(call: &mut Call<'_>) -> Made {
    pair(call, "Add")
}

fn mul(call: &mut Call<'_>) -> Made {
    pair(call, "Mul")
}

/// An operator of one input with the node's own attributes.
fn one(call: &mut Call<'_>, operator: &str, version: i64) -> Made {
    let to = call.graph.ty(call.input(0)?).dtype;
    let x = real(call, 0, 0)?;
    let y = call.part_of_own(operator, version, &[Some(x)])?;
    quantized(call, y, 3, to, 0)
}

fn sigmoid(call: &mut Call<'_>) -> Made {
    one(call, "Sigmoid", 13)
}

fn leaky_relu(call: &mut Call<'_>) -> Made {
    one(call, "LeakyRelu", 16)
}

fn average_pool(call: &mut Call<'_>) -> Made {
    channels_first(call)?;
    one(call, "AveragePool", 11)
}

fn global_average_pool(call: &mut Call<'_>) -> Made {
    channels_first(call)?;
    one(call, "GlobalAveragePool", 1)
}

/// Attribute `opset` says which of ONNX's meanings.
fn softmax(call: &mut Call<'_>) -> Made {
    let opset = call.attrs.required_int("opset")?;
    one(call, "Softmax", opset)
}

/// Inputs: scale and zero point of the output, then codes, scale and zero point of each.
fn concat(call: &mut Call<'_>) -> Made {
    let to = call.graph.ty(call.input(1)?).dtype;
    let count = call.inputs.len().saturating_sub(2);
    if count == 0 || !count.is_multiple_of(3) {
        return Err(OpError::new(format!(
            "tensors with scale and zero point each wanted, {count} inputs found"
        )));
    }
    let mut reals = Vec::new();
    for at in (2..call.inputs.len()).step_by(3) {
        reals.push(Some(real(call, at, 0)?));
    }
    let y = call.part_of_own("Concat", 13, &reals)?;
    quantized(call, y, 0, to, 0)
}

fn where_(call: &mut Call<'_>) -> Made {
    let to = call.graph.ty(call.input(1)?).dtype;
    let condition = call.input(0)?;
    let (x, y) = (real(call, 1, 0)?, real(call, 4, 0)?);
    let z = call.part("Where", 16, &[Some(condition), Some(x), Some(y)], &[])?;
    quantized(call, z, 7, to, 0)
}
