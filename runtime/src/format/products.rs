//! Records of products of computed int8 tensors and of normalized rows; their opcodes start at 112.

use super::record::{Field, fields, record};

record! {
    /// A product of int8 matrices, or of batches of them:
    /// `ofm[…][m][n] = requantize(Σ_k (a[…][m][k] − a_zp)·(b[…][k][n] − b_zp))`.
    MatMul = 112 {
        /// Source of the left matrices (arena, or [`super::IN_CONSTANTS`]), row-major `[rows][depth]`.
        a: u32,
        /// Source of the right matrices (arena, or [`super::IN_CONSTANTS`]), row-major `[depth][columns]`.
        b: u32,
        /// Arena offset of the output, `[batch…][rows][columns]`.
        ofm: u32,
        /// Extents of the batches, outermost first.
        batch: [u32; 4],
        /// Elements from one left matrix to the next, per dimension of the batch; 0 broadcasts.
        a_strides: [u32; 4],
        /// The same of the right matrices.
        b_strides: [u32; 4],
        /// Rows of the left matrices.
        rows: u32,
        /// Columns of the left matrices, rows of the right ones.
        depth: u32,
        /// Columns of the right matrices.
        columns: u32,
        /// The rescale's multiplier.
        multiplier: i32,
        /// The rescale's shift, stored as in a products block.
        shift: u8,
        /// As [`super::Conv2d::left_shift`].
        left_shift: u8,
        /// Zero point of the left matrices.
        a_zero_point: i8,
        /// Zero point of the right matrices.
        b_zero_point: i8,
        /// Zero point of the output.
        ofm_zero_point: i8,
        /// Least code.
        min: i8,
        /// Greatest code.
        max: i8,
    }
}

record! {
    /// Rows of int8 normalized: `ofm[r][i] = clamp((x − mean) / √(variance + epsilon)·slope[i] + offset[i] + zp)` to nearest, ties to
    /// even, with the row's mean and variance; see [`crate::kernels::layer_norm`] for the numbers.
    ///
    /// Constants block: `epsilon: u128`, `inverse: u64`, padding to 32 bytes, `slopes: i64[width]`, `offsets: i64[width]`.
    LayerNorm = 113 {
        /// Arena offset of the input, `[rows][width]`.
        ifm: u32,
        /// Arena offset of the output; may equal `ifm`.
        ofm: u32,
        /// Offset of the constants block.
        constants: u32,
        /// Rows.
        rows: u32,
        /// Elements of a row, up to 65536.
        width: u32,
        /// What products are shifted right by, but for what the row's deviation asks for: from 33 to 130.
        right_shift: u8,
        /// Zero point of the output.
        ofm_zero_point: i8,
        /// Least code.
        min: i8,
        /// Greatest code.
        max: i8,
    }
}
