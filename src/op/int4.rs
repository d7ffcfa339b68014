//! Layers whose weights are int4: dense ones and convolutions with a 1×1 kernel, with one scale per output channel, or with blocks
//! of weights that count a whole number of times each.
//!
//! `acc[o] = bias[o] + Σ_b factor[o][b] · Σ_{i in b} (x[i] − zero_point)·weights[o][i]`, which is an ordinary weighted sum with the
//! weights `factor · weight`: its bounds and its rescale are proven as those of int8 weights are.

use super::lower::{KernelCall, LowerError, Lowered, Operand, Proof};
use super::quant::{QuantTensor, Quantization};
use super::tensor::{DType, Narrow, View};
use super::window::per_image;
use super::{Clamp, Conv2d, OpError, movement, rescale};
use tinsmith_runtime::format::DenseInt4;
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::lanes::Packing;

/// Whether the weights of a layer are int4.
pub(super) fn is_int4(inputs: &[&QuantTensor]) -> bool {
    let weights = inputs.get(1);
    weights.is_some_and(|weights| weights.ty.dtype == DType::Narrow(Narrow::I4))
}

/// Which pixels of the input a layer reads: one for each pixel of the output.
#[derive(Clone, Copy, Debug)]
struct Pixels {
    rows: usize,
    row_step: usize,
    columns: usize,
    column_step: usize,
}

/// A dense layer: `x […, in]` to `[…, out]`.
pub(super) fn dense(
    clamp: Clamp,
    inputs: &[&QuantTensor],
    output: &QuantTensor,
) -> Result<Lowered, LowerError> {
    let in_features = inputs[0].ty.shape.last().copied().unwrap_or(1);
    let out_features = output.ty.shape.last().copied().unwrap_or(1);
    let pixels = Pixels {
        rows: 1,
        row_step: 0,
        columns: output.ty.len() / out_features.max(1),
        column_step: in_features,
    };
    let (call, proof) = product(clamp, inputs, output, pixels)?;
    Ok(Lowered::one(call, proof))
}

/// A convolution with a 1×1 kernel: `x [n, h, w, in]` to `[n, h, w, out]`, all images at once where no pixel is left out.
pub(super) fn convolution(
    conv: &Conv2d,
    inputs: &[&QuantTensor],
    output: &QuantTensor,
) -> Result<Lowered, LowerError> {
    if !conv.takes_int4() {
        let reason = "int4 weights are for 1×1 kernels without padding and without groups";
        return Err(OpError::new(reason)
            .with_help("store these weights as int8")
            .into());
    }
    let (x, y) = (&inputs[0].ty.shape, &output.ty.shape);
    let [stride_h, stride_w] = conv.window.strides;
    if [stride_h, stride_w] == [1, 1] {
        let pixels = Pixels {
            rows: 1,
            row_step: 0,
            columns: y[0] * y[1] * y[2],
            column_step: x[3],
        };
        let (call, proof) = product(conv.clamp, inputs, output, pixels)?;
        return Ok(Lowered::one(call, proof));
    }
    let pixels = Pixels {
        rows: y[1],
        row_step: stride_h * x[2] * x[3],
        columns: y[2],
        column_step: stride_w * x[3],
    };
    let (call, proof) = product(conv.clamp, inputs, output, pixels)?;
    Ok(Lowered {
        proof,
        ..per_image(call, inputs[0], output)
    })
}

fn product(
    clamp: Clamp,
    inputs: &[&QuantTensor],
    output: &QuantTensor,
    pixels: Pixels,
) -> Result<(KernelCall, Proof), LowerError> {
    let weights = Weights::of(inputs[1])?;
    let sum = |channel: usize, bias, zero_point| {
        let row = &weights.values[channel * weights.row..][..weights.row];
        let counted = row.iter().enumerate();
        let counted = counted.map(|(i, &weight)| i64::from(weight) * weights.factor(channel, i));
        rescale::accumulator(counted, bias, zero_point)
    };
    let rescale::Rescaled {
        head,
        padding_bytes,
        input_zero_point: _,
        left_shift,
        codes,
        proof,
    } = rescale::rescaled(inputs, output, clamp, weights.scales, sum)?;
    let record = DenseInt4 {
        rows: movement::fitting(pixels.rows)?,
        row_step: movement::fitting(pixels.row_step)?,
        columns: movement::fitting(pixels.columns)?,
        column_step: movement::fitting(pixels.column_step)?,
        in_features: movement::fitting(weights.row)?,
        out_features: movement::fitting(weights.scales.len())?,
        block: movement::fitting(weights.block)?,
        ofm_zero_point: movement::fitting(codes.zero_point)?,
        min: codes.min,
        max: codes.max,
        left_shift,
        packing: Packing::Plain as u8,
        ..DenseInt4::default()
    };
    let mut constants = head;
    constants.extend(weights.packed());
    constants.extend(weights.factors);
    let source = Operand::Input {
        index: 0,
        byte_offset: 0,
    };
    let call = KernelCall {
        padding_bytes,
        ..KernelCall::new(Layer::DenseInt4(record), vec![source], constants)
    };
    Ok((call, proof))
}

/// The weights of a layer, output channels outermost.
struct Weights<'a> {
    values: Vec<i8>,
    /// Of one output channel.
    row: usize,
    scales: &'a [f32],
    /// 0 for no blocks.
    block: usize,
    factors: &'a [u8],
}

impl<'a> Weights<'a> {
    fn of(tensor: &'a QuantTensor) -> Result<Self, OpError> {
        let (scales, block, factors) = match &tensor.quantization {
            Quantization::PerChannel { axis: 0, scales } => (&scales[..], 0, &[][..]),
            Quantization::PerBlock {
                scales,
                block,
                factors,
            } => (&scales[..], *block, &factors[..]),
            Quantization::PerChannel { .. } | Quantization::PerTensor(_) | Quantization::Plain => {
                return Err(OpError::new(
                    "the int4 weights do not have one scale per output channel, with zero point 0",
                ));
            }
        };
        if !block.is_multiple_of(2) {
            return Err(OpError::new(format!(
                "blocks of an even number of weights wanted, {block} found"
            ))
            .with_help("store these weights as int8"));
        }
        let Some(View::Narrow(narrow, codes)) = tensor.data.as_ref().map(|values| values.data.view()) else {
            return Err(OpError::new("the weights are not an int4 constant")
                .with_help("weights must be known when compiling"));
        };
        let values: Option<Vec<i8>> = codes.iter().map(|&code| narrow.to_integer(code)).collect();
        let values = values.filter(|values| !values.is_empty() && !scales.is_empty());
        let values = values.ok_or_else(|| OpError::new("the weights hold no int4 integers"))?;
        Ok(Self {
            row: values.len() / scales.len(),
            values,
            scales,
            block,
            factors,
        })
    }

    /// How often a weight counts.
    fn factor(&self, channel: usize, i: usize) -> i64 {
        match self.block {
            0 => 1,
            block => self.factors[channel * self.row.div_ceil(block) + i / block].into(),
        }
    }

    /// Two in a byte, rows apart.
    fn packed(&self) -> impl Iterator<Item = u8> {
        self.values.chunks(self.row).flat_map(|row| {
            row.chunks(2).map(|pair| {
                let odd = pair.get(1).copied().unwrap_or(0) as u8;
                pair[0] as u8 & 15 | odd << 4
            })
        })
    }
}
