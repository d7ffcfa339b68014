//! What the kernels over reals share: operators whose output is f32 and not quantized.

use tinsmith_runtime::format::{
    AttentionF32, BinaryF32, CONSTANT_ALIGN, Conv2dF32, ConvNdF32, DenseF32, Dequantize, Dequantize16,
    FunctionF32, LayerNormF32, MatMulF32, PowerF32, Quantize, Quantize16, ReduceF32, SoftmaxF32, UnaryF32,
};
use tinsmith_runtime::kernels::Layer;

use super::geometry::Geometry;
use super::lower::{KernelCall, LowerError, Lowered, Operand, Proof};
use super::movement::fitting;
use super::quant::QuantTensor;
use super::tensor::{TensorType, row_major_strides};
use super::window::per_image;
use super::{
    Attention, BinaryKind, Clamp, ConvNd, Heads, LayerNorm, OpError, Reduce, ReduceKind, Softmax,
    SoftmaxKind, UnaryKind, Window,
};

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
    let (input, output) = (inputs[0], y);
    let (x, y) = (&input.ty.shape, &output.ty.shape);
    if inputs[1..].iter().any(|tensor| tensor.data.is_none()) {
        let window = window.general([y[1], y[2]]);
        return Ok(convolution_nd(
            &ConvNd {
                window,
                groups,
                clamp,
            },
            inputs,
        )?);
    }
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
    let call = KernelCall {
        padding_bytes,
        ..KernelCall::new(Layer::Conv2dF32(record), vec![FIRST], constants)
    };
    Ok(per_image(call, input, output))
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
    let operation = kind
        .of_reals()
        .ok_or_else(|| OpError::new(format!("{kind:?} has no kernel over reals")))?;
    let geometry = Geometry::new([&inputs[0].ty.shape, &inputs[1].ty.shape], &y.ty.shape)?;
    let (min, max) = ends(clamp);
    let record = BinaryF32 {
        operands: geometry.pair()?,
        min,
        max,
        kind: operation.code(),
    };
    let layer = if operation.is_simple() {
        Layer::BinaryF32(record)
    } else {
        Layer::PowerF32(PowerF32(record))
    };
    Ok(Lowered {
        calls: geometry.calls(layer, inputs, y),
        ..Lowered::default()
    })
}

/// A function of one value.
pub(super) fn unary(kind: UnaryKind, x: &QuantTensor) -> Result<Lowered, LowerError> {
    let (function, alpha, beta) = kind.function();
    let (count, kind) = (fitting(x.ty.len())?, function.code());
    let layer = if function.is_simple() {
        Layer::UnaryF32(UnaryF32 {
            count,
            alpha,
            beta,
            kind,
            ..UnaryF32::default()
        })
    } else {
        Layer::FunctionF32(FunctionF32 {
            count,
            kind,
            ..FunctionF32::default()
        })
    };
    Ok(Lowered::from(KernelCall {
        in_place: vec![0],
        ..KernelCall::new(layer, vec![FIRST], Vec::new())
    }))
}

/// Lines made probabilities.
pub(super) fn softmax(op: &Softmax, x: &QuantTensor) -> Result<Lowered, LowerError> {
    let shape = &x.ty.shape;
    let (depth, inner) = (shape[op.axis], shape[op.axis + 1..].iter().product::<usize>());
    let record = SoftmaxF32 {
        rows: fitting(x.ty.len() / (depth * inner).max(1))?,
        depth: fitting(depth)?,
        inner: fitting(inner)?,
        kind: match op.kind {
            SoftmaxKind::Probability => 0,
            SoftmaxKind::Logarithm => 1,
            SoftmaxKind::Greatest => 2,
            SoftmaxKind::Attended => 3,
        },
        ..SoftmaxF32::default()
    };
    Ok(Lowered::from(KernelCall {
        in_place: vec![0],
        ..KernelCall::new(Layer::SoftmaxF32(record), vec![FIRST], Vec::new())
    }))
}

/// Rows made alike in mean and deviation.
pub(super) fn layer_norm(op: &LayerNorm, inputs: &[&QuantTensor]) -> Result<Lowered, OpError> {
    let x = inputs[0];
    let width: usize = x.ty.shape[op.axis..].iter().product();
    let record = LayerNormF32 {
        rows: fitting(x.ty.len() / width.max(1))?,
        width: fitting(width)?,
        epsilon: op.epsilon,
        ..LayerNormF32::default()
    };
    let vector = |index: usize, missing: f32| match inputs.get(index) {
        Some(tensor) => Operand::of_input(index, tensor),
        None => Operand::Constant(missing.to_le_bytes().repeat(width)),
    };
    let sources = vec![Operand::of_input(0, x), vector(1, 1.0), vector(2, 0.0)];
    Ok(Lowered::from(KernelCall {
        in_place: vec![0],
        ..KernelCall::new(Layer::LayerNormF32(record), sources, Vec::new())
    }))
}

/// Attention without room for its scores.
pub(super) fn attention(op: &Attention, inputs: &[&QuantTensor]) -> Result<Lowered, OpError> {
    let types: Vec<&TensorType> = inputs.iter().map(|input| &input.ty).collect();
    let sizes = op.sizes(&types)?;
    let bits = |set: &mut dyn Iterator<Item = bool>| {
        set.enumerate()
            .fold(0, |bits, (i, is_set)| bits | u8::from(is_set) << i)
    };
    let mask_axes = inputs.get(3).map_or(0, |mask| {
        bits(&mut mask.ty.shape.iter().map(|&extent| extent != 1))
    });
    let record = AttentionF32 {
        batch: fitting(sizes.batch)?,
        heads: fitting(sizes.heads)?,
        kv_heads: fitting(sizes.kv_heads)?,
        queries: fitting(sizes.queries)?,
        keys: fitting(sizes.keys)?,
        depth: fitting(sizes.depth)?,
        width: fitting(sizes.width)?,
        scale: op.scale,
        inside: bits(&mut op.heads.iter().map(|&heads| heads == Heads::Inside)),
        mask_axes,
        kind: u8::from(op.kind == SoftmaxKind::Attended),
        ..AttentionF32::default()
    };
    let mask = match inputs.get(3) {
        Some(mask) => Operand::of_input(3, mask),
        None => Operand::Constant(0.0f32.to_le_bytes().to_vec()),
    };
    let operand = |index: usize| Operand::of_input(index, inputs[index]);
    let sources = vec![operand(0), operand(1), operand(2), mask];
    Ok(Lowered::from(KernelCall::new(
        Layer::AttentionF32(record),
        sources,
        Vec::new(),
    )))
}

/// Elements along axes made one.
pub(super) fn reduce(op: &Reduce, x: &QuantTensor) -> Result<Lowered, LowerError> {
    let shape = &x.ty.shape;
    let strides = row_major_strides(shape);
    let [mut kept, mut reduced] = [Nest::default(), Nest::default()];
    let mut last = None;
    for (axis, (&extent, &stride)) in shape.iter().zip(&strides).enumerate() {
        if extent == 1 {
            continue;
        }
        let is_reduced = op.axes.contains(&axis);
        let nest = if is_reduced { &mut reduced } else { &mut kept };
        nest.push(extent, stride, last == Some(is_reduced));
        last = Some(is_reduced);
    }
    let record = ReduceF32 {
        kept: kept.extents()?,
        kept_strides: kept.strides()?,
        reduced: reduced.extents()?,
        reduced_strides: reduced.strides()?,
        kind: match op.kind {
            ReduceKind::Sum => 0,
            ReduceKind::Mean => 1,
            ReduceKind::Max => 2,
            ReduceKind::Min => 3,
            ReduceKind::Prod => 4,
        },
        ..ReduceF32::default()
    };
    Ok(Lowered::from(KernelCall::new(
        Layer::ReduceF32(record),
        vec![FIRST],
        Vec::new(),
    )))
}

/// Loops over elements that lie a stride apart, as a record holds them: at most four, outermost first.
#[derive(Default)]
struct Nest(Vec<(usize, usize)>);

impl Nest {
    /// One more loop inside the others; `runs_on` where it goes on in the innermost one's steps.
    fn push(&mut self, extent: usize, stride: usize, runs_on: bool) {
        match self.0.last_mut() {
            Some(innermost) if runs_on => *innermost = (innermost.0 * extent, stride),
            _ => self.0.push((extent, stride)),
        }
    }

    fn extents(&self) -> Result<[u32; 4], OpError> {
        self.field(1, |&(extent, _)| extent)
    }

    fn strides(&self) -> Result<[u32; 4], OpError> {
        self.field(0, |&(_, stride)| stride)
    }

    fn field(&self, missing: u32, of: fn(&(usize, usize)) -> usize) -> Result<[u32; 4], OpError> {
        let mut field = [missing; 4];
        let first = field.len().checked_sub(self.0.len()).ok_or_else(|| {
            OpError::new(format!(
                "the reduced axes alternate with others {} times; at most {} are possible",
                self.0.len(),
                field.len()
            ))
            .with_help("reduce them in two steps")
        })?;
        for (slot, level) in field[first..].iter_mut().zip(&self.0) {
            *slot = fitting(of(level))?;
        }
        Ok(field)
    }
}

/// A product of two computed matrices, or of batches of them.
pub(super) fn matmul(
    [rows, depth, columns]: [usize; 3],
    batches: [&[usize]; 2],
    batch: &[usize],
    inputs: &[&QuantTensor],
) -> Result<Lowered, LowerError> {
    let geometry = Geometry::new(batches, batch)?.in_one_call()?;
    let record = MatMulF32 {
        batch: geometry.dims()?,
        a_strides: geometry.strides_of_blocks(0, rows * depth)?,
        b_strides: geometry.strides_of_blocks(1, depth * columns)?,
        rows: fitting(rows)?,
        depth: fitting(depth)?,
        columns: fitting(columns)?,
        ..MatMulF32::default()
    };
    let sources = vec![Operand::of_input(0, inputs[0]), Operand::of_input(1, inputs[1])];
    Ok(Lowered::from(KernelCall::new(
        Layer::MatMulF32(record),
        sources,
        Vec::new(),
    )))
}

/// A pool: a call per image of a record that its operator fills in.
pub(super) fn pool(layer: Layer, x: &QuantTensor, y: &QuantTensor) -> Lowered {
    per_image(KernelCall::new(layer, vec![FIRST], Vec::new()), x, y)
}

/// A convolution over up to three axes, its weights and biases constant or computed.
pub(super) fn convolution_nd(op: &ConvNd, inputs: &[&QuantTensor]) -> Result<Lowered, OpError> {
    let (x, axes) = (&inputs[0].ty.shape, op.window.axes());
    let out_c = inputs[1].ty.shape[0];
    let (min, max) = ends(op.clamp);
    let record = ConvNdF32 {
        images: fitting(x[0])?,
        window: op.window.record(&x[1..=axes])?,
        in_c: fitting(x[axes + 1])?,
        out_c: fitting(out_c)?,
        groups: fitting(op.groups)?,
        min,
        max,
        ..ConvNdF32::default()
    };
    let bias = match inputs.get(2) {
        Some(bias) => Operand::of_input(2, bias),
        None => Operand::Constant(vec![0; 4 * out_c]),
    };
    let sources = vec![
        Operand::of_input(0, inputs[0]),
        Operand::of_input(1, inputs[1]),
        bias,
    ];
    Ok(Lowered::from(KernelCall::new(
        Layer::ConvNdF32(record),
        sources,
        Vec::new(),
    )))
}

/// The change between codes and reals that a node makes which otherwise leaves every element where it is; `None` where
/// both sides are of one kind.
pub(super) fn cast(x: &QuantTensor, y: &QuantTensor) -> Result<Option<Lowered>, OpError> {
    let count = fitting(y.ty.len())?;
    let layer = match (x.params(), y.params()) {
        (None, Some(params)) if x.is_real() && y.is_wide() => Layer::Quantize16(Quantize16 {
            count,
            scale: params.scale,
            zero_point: fitting(params.zero_point)?,
            ..Quantize16::default()
        }),
        (Some(params), None) if y.is_real() && x.is_wide() => Layer::Dequantize16(Dequantize16 {
            count,
            scale: params.scale,
            zero_point: fitting(params.zero_point)?,
            ..Dequantize16::default()
        }),
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
