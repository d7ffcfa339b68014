//! FakeQuantize of org.openvinotoolkit, which NNCF writes: a range, and how many levels it has.
//! <https://docs.openvino.ai/latest/openvino_docs_ops_quantization_FakeQuantize_1.html>

use super::super::builder::Tensor;
use super::{Call, Importer, Made, of_domain};
use crate::op::tensor::{DType, Data, Shape, Values, broadcast_shape};
use crate::op::{Binary, BinaryKind, Clamp, DequantizeLinear, Op, OpError, QuantizeLinear};

pub(super) const IMPORTERS: &[Importer] = &[of_domain("org.openvinotoolkit", "FakeQuantize", import)];

/// Steps from a whole one that are rounding of the ends: NNCF moves them so that 0 is a level.
const OFF: f64 = 0.01;

/// `low + round((x − low) / step) · step` within the range, `step = (high − low) / (levels − 1)`: a `QuantizeLinear` and a
/// `DequantizeLinear`, since 0 is one of the levels. What is put out must have the range of what is put in.
fn import(call: &mut Call<'_>) -> Made {
    let levels = call.attrs.required_int("levels")?;
    if !(2..=256).contains(&levels) {
        return Err(OpError::new(format!(
            "from 2 to 256 `levels` wanted, {levels} found"
        )));
    }
    let x = call.input(0)?;
    let ty = call.graph.ty(x).clone();
    if ty.dtype != DType::F32 {
        return Err(OpError::new(format!("f32 wanted, {ty} found")));
    }
    let (low, high) = (end(call, 1)?, end(call, 2)?);
    if end(call, 3)?.data != low.data || end(call, 4)?.data != high.data {
        return Err(
            OpError::new("an output range that is the input range wanted, another found")
                .with_help("export the model without folding scales into its ranges"),
        );
    }
    let (shape, axis) = channels(&low, &high, &ty.shape)?;
    let parameters = step_and_zero(&low, &high, (levels - 1) as f64)?;
    let count = parameters.len();
    let (steps, zeros): (Vec<f32>, Vec<u8>) = parameters.into_iter().unzip();
    let mut from = x;
    if levels < 256 {
        // Bytes have levels beyond the last one.
        if call.graph.constant_of(x).is_none() {
            return Err(
                OpError::new(format!("256 `levels` of what is computed wanted, {levels} found"))
                    .with_help("constants alone may have fewer"),
            );
        }
        for (kind, end) in [(BinaryKind::Max, low), (BinaryKind::Min, high)] {
            let end = call.graph.constant(Values::new(shape.clone(), end.data), "end");
            let clamp = Clamp::NONE;
            from = call
                .graph
                .emit(Op::Binary(Binary { kind, clamp }), &[from, end], "clamped")?;
        }
    }
    let shape: Shape = if count == 1 { Vec::new() } else { vec![count] };
    let scale = call.graph.constant(Values::f32(shape.clone(), steps), "scale");
    let zero_point = call
        .graph
        .constant(Values::new(shape, Data::U8(zeros)), "zero_point");
    let quantize = Op::QuantizeLinear(QuantizeLinear { axis });
    let codes: Tensor = call.graph.emit(quantize, &[from, scale, zero_point], "codes")?;
    let dequantize = Op::DequantizeLinear(DequantizeLinear { axis });
    Ok(vec![call.graph.emit(
        dequantize,
        &[codes, scale, zero_point],
        "",
    )?])
}

/// A constant end of a range.
fn end(call: &mut Call<'_>, index: usize) -> Result<Values, OpError> {
    let tensor = call.input(index)?;
    let values = call.graph.constant_of(tensor).map(|values| Values::clone(values));
    values
        .filter(|values| values.as_f32().is_some())
        .ok_or_else(|| OpError::new(format!("constant f32 ends wanted, input {index} is none")))
}

/// The shape that both ends have, and the one axis of `x` along which they differ.
fn channels(low: &Values, high: &Values, x: &[usize]) -> Result<(Shape, usize), OpError> {
    let mut axes = low.shape.iter().enumerate().filter(|&(_, &extent)| extent != 1);
    let found = axes.next().map(|(axis, _)| axis);
    let fits = low.shape == high.shape
        && axes.next().is_none()
        && broadcast_shape(&low.shape, x).as_deref() == Some(x);
    if !fits {
        return Err(OpError::new(format!(
            "ends for the tensor or for each index of an axis of {x:?} wanted, {:?} and {:?} found",
            low.shape, high.shape
        )));
    }
    let axis = found.map_or(0, |axis| axis + x.len() - low.shape.len());
    Ok((low.shape.clone(), axis))
}

/// Real units of a step, and the level of 0, for each channel.
fn step_and_zero(low: &Values, high: &Values, steps: f64) -> Result<Vec<(f32, u8)>, OpError> {
    let ends = low.to_f64().into_iter().zip(high.to_f64());
    let of = |(low, high): (f64, f64)| {
        let step = (high - low) / steps;
        let zero = -low / step;
        let level = libm::rint(zero);
        if (step as f32).is_normal()
            && step > 0.0
            && (zero - level).abs() <= OFF
            && (0.0..=steps).contains(&level)
        {
            Ok((step as f32, level as u8))
        } else {
            Err(OpError::new(format!(
                "a range one of whose levels is 0 wanted, {low} to {high} found"
            )))
        }
    };
    ends.map(of).collect()
}
