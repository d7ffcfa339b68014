//! Records of products with int4 weights; their opcodes start at 120.

use super::record::{Field, fields, record};

record! {
    /// A product of int8 pixels with constant int4 weights, that is, a dense layer or a convolution with a 1×1 kernel:
    /// `ofm[y][x][o] = requantize(bias[o] + Σ_b factor[o][b] · Σ_{i in block b} ifm[y·row_step + x·column_step + i]·weights[o][i])`.
    ///
    /// Constants block: biases, multipliers and shifts as [`super::Conv2d`]'s, with
    /// `−ifm_zero_point · Σ factor[o][b]·weights[o][i]` in the bias; `weights: [out_features][⌈in_features / 2⌉]` bytes of two
    /// weights each, the one of even index in the lower bits, two's complement, zero where a row has no more; with blocks,
    /// `factors: u8[out_features][⌈in_features / block⌉]`.
    DenseInt4 = 120 {
        /// Arena offset of the input's first pixel.
        ifm: u32,
        /// Arena offset of the output, `[rows][columns][out_features]`.
        ofm: u32,
        /// Offset of the constants block.
        constants: u32,
        /// Rows of pixels, at least 1.
        rows: u32,
        /// Bytes from one row of input pixels to the next.
        row_step: u32,
        /// Pixels of a row, at least 1.
        columns: u32,
        /// Bytes from one input pixel to the next.
        column_step: u32,
        /// Inputs of one pixel, at least 1.
        in_features: u32,
        /// Outputs of one pixel, at least 1.
        out_features: u32,
        /// Weights of one block, an even number; the last block of an output may have fewer. 0: no blocks, and no factors.
        block: u32,
        /// Added after the rescale.
        ofm_zero_point: i8,
        /// Fused clamp, lower end.
        min: i8,
        /// Fused clamp, upper end.
        max: i8,
        /// As [`super::Conv2d::left_shift`].
        left_shift: u8,
        /// Weight packing, see [`crate::lanes::Packing`].
        packing: u8,
    }
}
