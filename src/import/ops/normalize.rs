//! Normalization: by batch statistics, and to probabilities.

use super::super::builder::Tensor;
use super::super::layout::{channels_first, channels_last};
use super::norm::{Moments, deviation, per_channel};
use super::{Call, Importer, Made, onnx, resolve_axis};
use crate::op::tensor::DType;
use crate::op::{BatchNormalization, Op, OpError, Reshape, Softmax, SoftmaxKind};

pub(super) const IMPORTERS: &[Importer] = &[
    onnx("BatchNormalization", batch),
    onnx("Hardmax", hardmax),
    onnx("LogSoftmax", log_softmax),
    onnx("Softmax", softmax),
];

/// How a batch normalization finds its statistics and what it does with them.
struct Batch {
    epsilon: f32,
    momentum: f64,
    /// One mean per channel; before opset 9 there could be one per feature of a sample.
    spatial: bool,
    /// Statistics of the batch itself.
    training: bool,
}

impl Batch {
    /// Opsets 1 and 6 train unless told to test, 7 and 9 where the model asks for more than one output, later ones
    /// where told so.
    fn read(call: &Call<'_>) -> Result<Self, OpError> {
        call.attrs.ignore(&["consumed_inputs"]);
        let training = match call.version {
            ..7 => call.attrs.int("is_test", 0)? == 0,
            7..14 => (1..5).any(|output| call.wants(output)),
            _ => call.attrs.flag("training_mode", false)?,
        };
        Ok(Self {
            epsilon: call.attrs.float("epsilon", 1e-5)?,
            momentum: call.attrs.float("momentum", 0.9)?.into(),
            spatial: call.version >= 9 || call.attrs.flag("spatial", true)?,
            training,
        })
    }
}

/// Constant statistics fold into layers and stay one operator; others are arithmetic.
fn batch(call: &mut Call<'_>) -> Made {
    let x = call.input(0)?;
    let shape = call.graph.shape(x).to_vec();
    let rank = shape.len();
    if rank < 2 {
        return Err(OpError::new(format!(
            "an input of rank 2 or more wanted, {} found",
            call.graph.ty(x)
        )));
    }
    let batch = Batch::read(call)?;
    let mut inputs = vec![x];
    for index in 1..5 {
        inputs.push(call.input(index)?);
    }
    let own = call.graph.ty(x).dtype;
    let is_stored = |call: &Call<'_>, input: Tensor| {
        let graph = &call.graph;
        let dequantized = graph
            .producer(input)
            .is_some_and(|node| matches!(node.op, Op::DequantizeLinear(_)));
        graph.ty(input).dtype == own && (graph.constant_of(input).is_some() || dequantized)
    };
    let stored = inputs[1..].iter().all(|&input| is_stored(call, input));
    if batch.training || !batch.spatial || !stored {
        return normalized(call, &batch, &inputs);
    }
    let op = Op::BatchNormalization(BatchNormalization {
        epsilon: batch.epsilon,
    });
    if rank == 2 {
        return Ok(vec![call.graph.emit(op, &inputs, "")?]);
    }
    inputs[0] = channels_last(call.graph, x)?;
    let y = call.graph.emit_as(op, &inputs, "", "channels_last")?;
    Ok(vec![channels_first(call.graph, y)?])
}

/// `(x − mean) / √(variance + epsilon) · scale + bias`; in training with the statistics of the batch, which also move
/// the running ones. Opsets up to 9 give the batch's own statistics as further outputs.
fn normalized(call: &mut Call<'_>, batch: &Batch, inputs: &[Tensor]) -> Made {
    let &[x, scale, bias, mean, variance] = inputs else {
        return Err(OpError::new("five inputs wanted"));
    };
    let shape = call.graph.shape(x).to_vec();
    let own = call.graph.ty(x).dtype;
    let wide = if matches!(own, DType::F16 | DType::BF16) {
        DType::F32
    } else {
        own
    };
    let axes: Vec<usize> = if batch.spatial {
        (0..shape.len()).filter(|&axis| axis != 1).collect()
    } else {
        vec![0]
    };
    let exact = call.graph.cast(x, wide, "wide")?;
    let spread = |call: &mut Call<'_>, statistic: Tensor| -> Result<Tensor, OpError> {
        let statistic = call.graph.cast(statistic, wide, "wide_statistic")?;
        if batch.spatial {
            per_channel(call.graph, statistic, x)
        } else {
            Ok(statistic)
        }
    };
    let mut outputs = Vec::new();
    let (centered, divisor) = if batch.training {
        let moments = Moments::of(call.graph, exact, &axes)?;
        let divisor = deviation(call.graph, moments.variance, batch.epsilon)?;
        let pairs = [(mean, moments.mean), (variance, moments.variance)];
        for (running, current) in pairs {
            let (kept, to) = (call.graph.shape(running).to_vec(), call.graph.ty(running).dtype);
            let current = call.graph.reshape(current, kept, "current")?;
            let current = call.graph.cast(current, to, "current_narrow")?;
            let old = call.graph.scale(running, batch.momentum, "kept_share")?;
            let new = call.graph.scale(current, 1.0 - batch.momentum, "new_share")?;
            outputs.push((call.graph.add(old, new, "running")?, current));
        }
        (moments.centered, divisor)
    } else {
        let mean = spread(call, mean)?;
        let variance = spread(call, variance)?;
        let centered = call.graph.sub(exact, mean, "centered")?;
        (centered, deviation(call.graph, variance, batch.epsilon)?)
    };
    let normal = call.graph.div(centered, divisor, "normal")?;
    let (scale, bias) = (spread(call, scale)?, spread(call, bias)?);
    let scaled = call.graph.mul(normal, scale, "scaled")?;
    let y = call.graph.add(scaled, bias, "shifted")?;
    let mut made = vec![call.graph.cast(y, own, "normalized")?];
    made.extend(outputs.iter().map(|&(running, _)| running));
    if call.version < 14 {
        made.extend(outputs.iter().map(|&(_, current)| current));
    }
    Ok(made)
}

fn softmax(call: &mut Call<'_>) -> Made {
    lines(call, SoftmaxKind::Probability)
}

fn log_softmax(call: &mut Call<'_>) -> Made {
    lines(call, SoftmaxKind::Logarithm)
}

fn hardmax(call: &mut Call<'_>) -> Made {
    lines(call, SoftmaxKind::Greatest)
}

/// Along one axis from opset 13 on; before, over everything from the axis on.
fn lines(call: &mut Call<'_>, kind: SoftmaxKind) -> Made {
    let x = call.input(0)?;
    let shape = call.graph.shape(x).to_vec();
    let default = if call.version < 13 { 1 } else { -1 };
    let axis = call.attrs.int("axis", default)?;
    let flattens = call.version < 13;
    let rows = flattens && axis == shape.len() as i64; // every element on its own
    let axis = if rows {
        shape.len()
    } else {
        resolve_axis(axis, shape.len())?
    };
    if !flattens || !rows && shape[axis + 1..].iter().all(|&extent| extent == 1) {
        let op = Op::Softmax(Softmax { axis, kind });
        return Ok(vec![call.graph.emit(op, &[x], "")?]);
    }
    let matrix = vec![shape[..axis].iter().product(), shape[axis..].iter().product()];
    let flat = Op::Reshape(Reshape { shape: matrix });
    let flat = call.graph.emit(flat, &[x], "flat")?;
    let op = Op::Softmax(Softmax { axis: 1, kind });
    let y = call.graph.emit_as(op, &[flat], "", "matrix")?;
    let back = Op::Reshape(Reshape { shape });
    Ok(vec![call.graph.emit_as(back, &[y], "unflat", "")?])
}
