//! Predicted instructions of a kernel call, from the target's cost figures. Integer, so that it is the same on every
//! host.

use tinsmith_runtime::format::{Conv2d, DepthwiseConv2d};
use tinsmith_runtime::kernels::Layer;

use crate::target::Cost;

/// An operation on reals in software, roughly, in 1/256 instructions.
const FLOAT_Q8: u32 = 60 << 8;

/// A function of reals such as exp in software, roughly, in 1/256 instructions.
const FUNCTION_Q8: u32 = 600 << 8;

/// A division by shift and subtraction, roughly, in 1/256 instructions.
const LONG_DIVISION_Q8: u32 = 120 << 8;

/// The rescale of a sum of 64 bits by an exact ratio, roughly, in 1/256 instructions.
const RATIO_Q8: u32 = 40 << 8;

/// An element of any type read, computed with and written, roughly, in 1/256 instructions.
const PLAIN_Q8: u32 = 80 << 8;

/// Instructions that one run of `layer` is predicted to take.
pub fn instructions(cost: &Cost, layer: &Layer) -> u64 {
    let work = layer.work().unwrap_or(u64::MAX);
    let output = layer
        .extents()
        .map_or(0, |extents| u64::from(extents.output.bytes));
    // Counts of work with the figure of each; unused places are zero.
    let none = (0, 0);
    let terms = match layer {
        Layer::Conv2d(conv) => [
            (work, cost.conv_mac_q8),
            (rows(conv, output), cost.conv_row_q8),
            (output, cost.conv_output_q8),
        ],
        Layer::DepthwiseConv2d(DepthwiseConv2d(conv)) => [
            (work, cost.depthwise_mac_q8),
            (rows(conv, output), cost.depthwise_row_q8),
            (output, cost.depthwise_output_q8),
        ],
        Layer::Dense(_) => [(work, cost.dense_mac_q8), (output, cost.dense_output_q8), none],
        Layer::DenseInt4(layer) => [
            // Taking a weight out of its byte is about as much as multiplying with it.
            (work, 2 * cost.dense_mac_q8),
            (output, cost.dense_output_q8),
            (
                output.saturating_mul(layer.blocks_of_row().into()),
                cost.conv_row_q8,
            ),
        ],
        Layer::MaxPool(_) | Layer::AveragePool(_) => {
            [(work, cost.pool_tap_q8), (output, cost.pool_output_q8), none]
        }
        Layer::Softmax(_) => [(work, cost.softmax_q8), none, none],
        Layer::Add(_) | Layer::Mul(_) | Layer::MinMax(_) | Layer::PRelu(_) => {
            [(work, cost.binary_q8), none, none]
        }
        Layer::LayerNorm(layer) => [
            (work, 2 * cost.binary_q8 + LONG_DIVISION_Q8),
            (layer.rows.into(), 64 * LONG_DIVISION_Q8),
            none,
        ],
        Layer::Div(_) => [(work, cost.binary_q8 + LONG_DIVISION_Q8), none, none],
        Layer::Resample(_) | Layer::MatMul(_) | Layer::Lstm(_) => {
            [(work, cost.conv_mac_q8), (output, cost.conv_output_q8), none]
        }
        Layer::Compare(_) | Layer::BinaryInteger(_) | Layer::Select(_) | Layer::Convert(_) => {
            [(work, PLAIN_Q8), none, none]
        }
        Layer::Table(_) => [(work, cost.table_q8), none, none],
        Layer::StridedCopy(copy) => {
            let inner = u64::from(copy.dims[4]).max(1);
            let side_by_side = copy.ifm_strides[4] == 1 && copy.ofm_strides[4] == 1;
            let moved = if side_by_side {
                (work.saturating_mul(copy.element_bytes.into()), cost.copy_q8)
            } else {
                (work, cost.gather_q8)
            };
            [moved, (work / inner, cost.copy_row_q8), none]
        }
        Layer::Delay(_) => [(work, cost.copy_q8), none, none],
        Layer::Fill(_) => [(work, cost.fill_q8), none, none],
        Layer::ConvNd(_) => [(work, cost.conv_mac_q8), (output, cost.conv_output_q8), none],
        Layer::Conv2dF32(_)
        | Layer::RecurrentF32(_)
        | Layer::ConvNdF32(_)
        | Layer::DenseF32(_)
        | Layer::AttentionF32(_)
        | Layer::MatMulF32(_) => [(work, 2 * FLOAT_Q8), (output, FLOAT_Q8), none],
        Layer::SoftmaxF32(_) | Layer::UnaryF32(_) | Layer::FunctionF32(_) | Layer::PowerF32(_) => {
            [(work, FUNCTION_Q8), none, none]
        }
        Layer::Quantize(_)
        | Layer::Dequantize(_)
        | Layer::BinaryF32(_)
        | Layer::MaxPoolF32(_)
        | Layer::AveragePoolF32(_)
        | Layer::MaxPoolIndicesF32(_)
        | Layer::ResampleF32(_)
        | Layer::GridSampleF32(_)
        | Layer::RoiAlignF32(_)
        | Layer::LayerNormF32(_)
        | Layer::ReduceF32(_) => [(work, FLOAT_Q8), none, none],
        Layer::GatherRows(_) => [(work, cost.copy_q8), none, none],
        Layer::GatherElements(_) | Layer::Scatter(_) | Layer::Rank(_) | Layer::NonZero(_) => {
            [(work, cost.gather_q8), none, none]
        }
        Layer::CumulateF32(_) | Layer::NonMaxSuppressionF32(_) => [(work, FLOAT_Q8), none, none],
        Layer::FillF32(_) => [(work, 4 * cost.fill_q8), none, none],
        // Two bytes an element.
        Layer::Conv16(_) => [
            (work, 2 * cost.conv_mac_q8),
            (output / 2, cost.conv_output_q8 + RATIO_Q8),
            none,
        ],
        Layer::Pool16(_) => [
            (work, 2 * cost.pool_tap_q8),
            (output / 2, cost.pool_output_q8 + RATIO_Q8),
            none,
        ],
        Layer::Binary16(_) | Layer::Rescale16(_) => [(work, PLAIN_Q8 + RATIO_Q8), none, none],
        Layer::Function16(_) => [(work, PLAIN_Q8), none, none],
        Layer::Quantize16(_) | Layer::Dequantize16(_) => [(work, FLOAT_Q8), none, none],
        Layer::Repeat(_) => [none, none, none],
    };
    let term = |(count, q8): (u64, u32)| count.saturating_mul(q8.into());
    let q8 = terms
        .into_iter()
        .map(term)
        .fold(u64::from(cost.step_q8), u64::saturating_add);
    q8 >> 8
}

/// Inner products that a convolution starts: one per kernel row and output.
fn rows(conv: &Conv2d, output: u64) -> u64 {
    output.saturating_mul(conv.window.kernel_h.into())
}
