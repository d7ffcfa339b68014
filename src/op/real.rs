//! What the kernels over reals share: operators whose output is f32 and not quantized.

use tinsmith_runtime::format::{
    BinaryF32, CONSTANT_ALIGN, Conv2dF32, DenseF32, Dequantize, Quantize, SoftmaxF32, UnaryF32,
};
use tinsmith_runtime::kernels::Layer;

use super::lower::{KernelCall, LowerError, Lowered, Operand, Proof};
use super::movement::fitting;
use super::pairwise::Geometry;
use super::quant::QuantTensor;
use super::{BinaryKind, Clamp, OpError, UnaryKind, Window};

/// All of a node's first input.
const FIRST: Operand = Operand::Input {
    index: 0,
    byte_offset: 0,
};

/// The two ends of a clamp as records hold them.
pub(super) fn ends(clamp: Clamp) -> (f32, f32) {
    (
        clamp.min.unwrap_or(f32::NEG_INFINITY),
        clamp.max.unwrap_or(f32::INFINITY),
    )
}

/// Whether a node computes over reals: its output is one.
///
/// # Errors
/// Where an input is none then, or the output is of another type than int8 or f32.
pub(super) fn computes(inputs: &[&QuantTensor], outputs: &[&QuantTensor]) -> Result<bool, OpError> {
    let is_real = outputs.iter().all(|output| output.is_real());
    match inputs.iter().find(|input| !input.is_real()) {
        Some(input) if is_real => Err(OpError::new(format!(
            "it computes reals, but its input `{}` is {}",
            input.name, input.ty
        ))),
        _ => Ok(is_real),
    }
}

/// The constants block of weights with output channels outermost, and how much of it is padding.
fn products_block(inputs: &[&QuantTensor], channels: usize) -> Result<(Vec<u8>, usize), OpError> {
    let constant = |index: usize, name: &str| {
        let values = inputs.get(index).and_then(|tensor| tensor.data.as_deref());
        let values = values.ok_or_else(|| OpError::new(format!("its {name} are not constant")))?;
        Ok(values.data.to_le_bytes())
    };
    let mut block = if inputs.len() > 2 {
        constant(2, "biases")?
    } else {
        vec![0; channels * 4]
    };
    let bytes = block.len();
    block.resize(bytes.next_multiple_of(CONSTANT_ALIGN as usize), 0);
    let padding_bytes = block.len() - bytes;
    block.extend(constant(1, "weights")?);
    Ok((block, padding_bytes))
}

/// A convolution.
pub(super) fn convolution(
    window: &Window,
    groups: usize,
    clamp: Clamp,
    inputs: &[&QuantTensor],
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let (x, y) = (&inputs[0].ty.shape, &y.ty.shape);
    let (min, max) = ends(clamp);
    let record = Conv2dF32 {
        window: window.record([x[1], x[2]], [y[1], y[2]])?,
        in_c: fitting(x[3])?,
        out_c: fitting(y[3])?,
        groups: fitting(groups)?,
        min,
        max,
        ..Conv2dF32::default()
    };
    let (constants, padding_bytes) = products_block(inputs, y[3])?;
    Ok(Lowered::from(KernelCall {
        padding_bytes,
        ..KernelCall::new(Layer::Conv2dF32(record), vec![FIRST], constants)
    }))
}

/// A product with constant weights.
pub(super) fn dense(clamp: Clamp, inputs: &[&QuantTensor], y: &QuantTensor) -> Result<Lowered, LowerError> {
    let (out_features, in_features) = (inputs[1].ty.shape[0], inputs[1].ty.shape[1]);
    let (min, max) = ends(clamp);
    let record = DenseF32 {
        rows: fitting(y.ty.len() / out_features.max(1))?,
        in_features: fitting(in_features)?,
        out_features: fitting(out_features)?,
        min,
        max,
        ..DenseF32::default()
    };
    let (constants, padding_bytes) = products_block(inputs, out_features)?;
    Ok(Lowered::from(KernelCall {
        padding_bytes,
        ..KernelCall::new(Layer::DenseF32(record), vec![FIRST], constants)
    }))
}

/// Two operands, broadcast.
pub(super) fn binary(
    kind: BinaryKind,
    clamp: Clamp,
    inputs: &[&QuantTensor],
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let geometry = Geometry::new([&inputs[0].ty.shape, &inputs[1].ty.shape], &y.ty.shape)?;
    let (min, max) = ends(clamp);
    let record = BinaryF32 {
        dims: geometry.dims()?,
        a_strides: geometry.strides(0)?,
        b_strides: geometry.strides(1)?,
        min,
        max,
        kind: match kind {
            BinaryKind::Add => 0,
            BinaryKind::Sub => 1,
            BinaryKind::Mul => 2,
            BinaryKind::Div => 3,
        },
        ..BinaryF32::default()
    };
    let operand = |index: usize| Operand::of_input(index, inputs[index]);
    let in_place = (0..2).filter(|&i| inputs[i].data.is_none() && inputs[i].ty.len() == y.ty.len());
    Ok(Lowered::from(KernelCall {
        in_place: in_place.collect(),
        ..KernelCall::new(Layer::BinaryF32(record), vec![operand(0), operand(1)], Vec::new())
    }))
}

/// A function of one value.
pub(super) fn unary(kind: UnaryKind, x: &QuantTensor) -> Result<Lowered, LowerError> {
    let (code, clamp) = match kind {
        UnaryKind::Clamp(clamp) => (0, clamp),
        UnaryKind::Sigmoid => (1, Clamp::NONE),
        UnaryKind::Tanh => (2, Clamp::NONE),
    };
    let (min, max) = ends(clamp);
    let record = UnaryF32 {
        count: fitting(x.ty.len())?,
        min,
        max,
        kind: code,
        ..UnaryF32::default()
    };
    Ok(Lowered::from(KernelCall {
        in_place: vec![0],
        ..KernelCall::new(Layer::UnaryF32(record), vec![FIRST], Vec::new())
    }))
}

/// Softmax along rows of `depth` elements.
pub(super) fn softmax(depth: usize, x: &QuantTensor) -> Result<Lowered, LowerError> {
    let record = SoftmaxF32 {
        rows: fitting(x.ty.len() / depth.max(1))?,
        depth: fitting(depth)?,
        ..SoftmaxF32::default()
    };
    Ok(Lowered::from(KernelCall {
        in_place: vec![0],
        ..KernelCall::new(Layer::SoftmaxF32(record), vec![FIRST], Vec::new())
    }))
}

/// A pool: one call of a record that its operator fills in.
pub(super) fn pool(layer: Layer) -> Lowered {
    Lowered::from(KernelCall::new(layer, vec![FIRST], Vec::new()))
}

/// The change between codes and reals that a node makes which otherwise leaves every element where it is; `None` where
/// both sides are of one kind.
pub(super) fn cast(x: &QuantTensor, y: &QuantTensor) -> Result<Option<Lowered>, OpError> {
    let count = fitting(y.ty.len())?;
    let layer = match (x.params(), y.params()) {
        (None, Some(params)) if x.is_real() => Layer::Quantize(Quantize {
            count,
            scale: params.scale,
            zero_point: fitting(params.zero_point)?,
            ..Quantize::default()
        }),
        (Some(params), None) if y.is_real() => Layer::Dequantize(Dequantize {
            count,
            scale: params.scale,
            zero_point: fitting(params.zero_point)?,
            ..Dequantize::default()
        }),
        _ => return Ok(None),
    };
    Ok(Some(Lowered::from(KernelCall::new(
        layer,
        vec![FIRST],
        Vec::new(),
    ))))
}

impl From<KernelCall> for Lowered {
    /// One call, with nothing to prove.
    fn from(call: KernelCall) -> Self {
        Self::one(call, Proof::default())
    }
}
