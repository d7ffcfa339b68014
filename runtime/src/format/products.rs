//! Records of products of computed int8 tensors; their opcodes start at 112.

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
