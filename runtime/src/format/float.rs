//! Records of steps over reals, 4 bytes each, little-endian; their opcodes start at 32.

use super::record::{Field, Pair, Window, fields, record};

record! {
    /// `ofm[i] = saturate(round_half_even(ifm[i] / scale) + zero_point)`: reals to int8.
    Quantize = 32 {
        /// Source of the reals (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Arena offset of the output.
        ofm: u32,
        /// Elements.
        count: u32,
        /// Real units of one step; positive and finite.
        scale: f32,
        /// The step that means zero.
        zero_point: i8,
    }
}

record! {
    /// `ofm[i] = (ifm[i] − zero_point) · scale`: int8 to reals.
    Dequantize = 33 {
        /// Source of the codes (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Arena offset of the output.
        ofm: u32,
        /// Elements.
        count: u32,
        /// Real units of one step; positive and finite.
        scale: f32,
        /// The step that means zero.
        zero_point: i8,
    }
}

record! {
    /// A convolution of reals over channels-last rows: `ofm[y][x][o] = clamp(Σ ifm[…]·weights[o][ky][kx][i] + bias[o])`.
    ///
    /// Constants block: `bias: f32[out_c]`, padding to [`super::CONSTANT_ALIGN`], then `weights: f32`, row-major.
    Conv2dF32 = 34 {
        /// Arena offset of the input, `[in_h][in_w][in_c]`.
        ifm: u32,
        /// Arena offset of the output, `[out_h][out_w][out_c]`.
        ofm: u32,
        /// Offset of the constants block.
        constants: u32,
        /// Rows, columns, strides, padding.
        window: Window,
        /// Input channels.
        in_c: u16,
        /// Output channels.
        out_c: u16,
        /// Channel groups; `in_c` and `out_c` are multiples of it.
        groups: u32,
        /// Fused clamp, lower end.
        min: f32,
        /// Fused clamp, upper end.
        max: f32,
    }
}

record! {
    /// A product of reals with constant weights: `ofm[r][o] = clamp(Σ ifm[r][i]·weights[o][i] + bias[o])`.
    ///
    /// Constants block as [`Conv2dF32`]'s.
    DenseF32 = 35 {
        /// Arena offset of the input, `[rows][in_features]`.
        ifm: u32,
        /// Arena offset of the output, `[rows][out_features]`.
        ofm: u32,
        /// Offset of the constants block.
        constants: u32,
        /// Rows.
        rows: u32,
        /// Inputs of one row.
        in_features: u32,
        /// Outputs of one row.
        out_features: u32,
        /// Fused clamp, lower end.
        min: f32,
        /// Fused clamp, upper end.
        max: f32,
    }
}

record! {
    /// `ofm[i] = clamp(a[i] ∘ b[i])` over reals, with broadcasting.
    BinaryF32 = 36 {
        /// The operands and the output.
        operands: Pair,
        /// Fused clamp, lower end.
        min: f32,
        /// Fused clamp, upper end.
        max: f32,
        /// Which operation, see [`crate::kernels::float::function::Operation`]: 0 to 6.
        kind: u8,
    }
}

record! {
    /// `ofm[i] = f(ifm[i])` over reals.
    UnaryF32 = 37 {
        /// Arena offset of the input.
        ifm: u32,
        /// Arena offset of the output; may equal `ifm`.
        ofm: u32,
        /// Elements.
        count: u32,
        /// The function's first parameter: the lower end of a clamp.
        alpha: f32,
        /// The function's second parameter: the upper end of a clamp.
        beta: f32,
        /// Which function, see [`crate::kernels::float::function::Function`]: 0 to 21.
        kind: u8,
    }
}

record! {
    /// The largest real of each window, channels-last; padding does not take part.
    MaxPoolF32 = 38 {
        /// Arena offset of the input, `[in_h][in_w][channels]`.
        ifm: u32,
        /// Arena offset of the output, `[out_h][out_w][channels]`.
        ofm: u32,
        /// Rows, columns, strides, padding.
        window: Window,
        /// Channels, at most 65535.
        channels: u32,
        /// Fused clamp, lower end.
        min: f32,
        /// Fused clamp, upper end.
        max: f32,
    }
}

record! {
    /// The mean of the reals of each window, channels-last: summed and divided in f64, rounded once.
    AveragePoolF32 = 39 {
        /// Arena offset of the input, `[in_h][in_w][channels]`.
        ifm: u32,
        /// Arena offset of the output, `[out_h][out_w][channels]`.
        ofm: u32,
        /// Rows, columns, strides, padding.
        window: Window,
        /// Channels, at most 65535.
        channels: u32,
        /// Fused clamp, lower end.
        min: f32,
        /// Fused clamp, upper end.
        max: f32,
        /// 1: padding counts, as zeros, in the window's size; 0: it does not.
        count_include_pad: u8,
    }
}

record! {
    /// `ofm[r][i][k] = exp(ifm[r][i][k] − max_j ifm[r][j][k]) / Σ_j …` along lines of reals.
    SoftmaxF32 = 40 {
        /// Arena offset of the input, `[rows][depth][inner]`.
        ifm: u32,
        /// Arena offset of the output; may equal `ifm`.
        ofm: u32,
        /// Rows.
        rows: u32,
        /// Elements of a line.
        depth: u32,
        /// Lines side by side: elements from one of a line to the next.
        inner: u32,
        /// 0: softmax; 1: its logarithm; 2: 1 at the first of the greatest, 0 elsewhere; 3: softmax, 0 for a line of −∞.
        kind: u8,
    }
}

record! {
    /// Fills a region with one real.
    FillF32 = 41 {
        /// Arena offset.
        ofm: u32,
        /// Elements.
        count: u32,
        /// The real.
        value: f32,
    }
}

record! {
    /// `ofm[i] = f(ifm[i])` over reals, for the functions that are not [`UnaryF32`]'s.
    FunctionF32 = 42 {
        /// Arena offset of the input.
        ifm: u32,
        /// Arena offset of the output; may equal `ifm`.
        ofm: u32,
        /// Elements.
        count: u32,
        /// Which function, see [`crate::kernels::float::function::Function`]: 22 to 38.
        kind: u8,
    }
}

/// `ofm[i] = clamp(a[i] ∘ b[i])` over reals, with broadcasting, for the operations that are not [`BinaryF32`]'s: powers
/// and rests. The fields are [`BinaryF32`]'s; `kind` is 7 or 8.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PowerF32(pub BinaryF32);

impl PowerF32 {
    /// The record's first byte.
    pub const OPCODE: u8 = 43;
    /// Bytes of the fields.
    pub const BYTES: usize = BinaryF32::BYTES;

    /// Reads the fields; `None` where `bytes` is too short.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        BinaryF32::read(bytes).map(Self)
    }

    /// Writes the fields; `None` where `bytes` is too short.
    pub fn write(&self, bytes: &mut [u8]) -> Option<()> {
        self.0.write(bytes)
    }
}

record! {
    /// The reals along some dimensions made one: sums, means and products in f64, rounded once.
    ReduceF32 = 80 {
        /// Arena offset of the input.
        ifm: u32,
        /// Arena offset of the output, `kept` in row-major order.
        ofm: u32,
        /// Extents of the dimensions that stay, outermost first.
        kept: [u32; 4],
        /// Elements from one index of them to the next.
        kept_strides: [u32; 4],
        /// Extents of the dimensions reduced, in the order in which their elements are taken.
        reduced: [u32; 4],
        /// Elements from one index of them to the next.
        reduced_strides: [u32; 4],
        /// 0: sum; 1: mean; 2: greatest; 3: least; 4: product. NaN is both greatest and least.
        kind: u8,
    }
}

record! {
    /// Rows of reals normalized: `ofm[r][i] = (ifm[r][i] − mean) / √(variance + epsilon) · scale[i] + bias[i]`, with the
    /// row's mean and variance, summed in f64.
    LayerNormF32 = 82 {
        /// Arena offset of the input, `[rows][width]`.
        ifm: u32,
        /// Source of the scale (arena, or [`super::IN_CONSTANTS`]), `[width]`.
        scale: u32,
        /// Source of the bias (arena, or [`super::IN_CONSTANTS`]), `[width]`.
        bias: u32,
        /// Arena offset of the output; may equal `ifm`.
        ofm: u32,
        /// Rows.
        rows: u32,
        /// Elements of a row.
        width: u32,
        /// What is added to the variance, at least 0.
        epsilon: f32,
    }
}

record! {
    /// A product of matrices of reals, or of batches of them: `ofm[…][m][n] = Σ_k a[…][m][k]·b[…][k][n]`.
    MatMulF32 = 81 {
        /// Source of the left matrices (arena, or [`super::IN_CONSTANTS`]), `[rows][depth]` each.
        a: u32,
        /// Source of the right matrices (arena, or [`super::IN_CONSTANTS`]), `[depth][columns]` each.
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
    }
}

record! {
    /// Attention of reals: `ofm[i] = Σ_j softmax_j(Σ_d q[i][d]·k[j][d]·scale + mask[i][j])·v[j]`, for every head.
    ///
    /// Operands are `[batch][heads][rows][features]`, or `[batch][rows][heads][features]` where the heads lie inside.
    AttentionF32 = 83 {
        /// Source of the queries (arena, or [`super::IN_CONSTANTS`]): `heads`, `queries`, `depth`.
        q: u32,
        /// Source of the keys (arena, or [`super::IN_CONSTANTS`]): `kv_heads`, `keys`, `depth`.
        k: u32,
        /// Source of the values (arena, or [`super::IN_CONSTANTS`]): `kv_heads`, `keys`, `width`.
        v: u32,
        /// Source of what is added to the scores (arena, or [`super::IN_CONSTANTS`]): `[batch][heads][queries][keys]`
        /// without the axes that `mask_axes` leaves out.
        mask: u32,
        /// Arena offset of the output: `heads`, `queries`, `width`.
        ofm: u32,
        /// Samples.
        batch: u32,
        /// Heads of queries and output; a multiple of `kv_heads`.
        heads: u32,
        /// Heads of keys and values; neighbouring query heads share one.
        kv_heads: u32,
        /// Rows of queries and output.
        queries: u32,
        /// Rows of keys and values.
        keys: u32,
        /// Features of queries and keys.
        depth: u32,
        /// Features of values and output.
        width: u32,
        /// Factor of the scores.
        scale: f32,
        /// Where the heads lie inside: bit 0 queries, 1 keys, 2 values, 3 output.
        inside: u8,
        /// Axes that the mask has: bit 0 batch, 1 heads, 2 queries, 3 keys.
        mask_axes: u8,
        /// 0: a row that attends to nothing is not a number; 1: it is 0.
        kind: u8,
    }
}

record! {
    /// One direction of an RNN, a GRU or an LSTM. Constants block: the samples' lengths, `u32[batch]`, at most `steps`.
    RecurrentF32 = 96 {
        /// Source of the gates' products with the input, `[steps][batch][gates·hidden]`.
        ifm: u32,
        /// Source of the recurrent weights, `[gates·hidden][hidden]`.
        recurrence: u32,
        /// Source of what starts and what stays: `h [batch][hidden]`, `c [batch][hidden]`, a GRU's bias inside the reset
        /// `[hidden]`, the peepholes of i, o and f `[3][hidden]`.
        side: u32,
        /// Arena offset of the output, `[steps + 2][batch][hidden]`: every step's `h`, the last `h`, the last `c`.
        ofm: u32,
        /// Offset of the constants block.
        constants: u32,
        /// Steps.
        steps: u32,
        /// Samples.
        batch: u32,
        /// Elements of the state.
        hidden: u32,
        /// What reaches the functions lies within ± this; positive, infinite for no limit.
        clip: f32,
        /// First parameters of the functions f, g and h.
        alphas: [f32; 3],
        /// Second parameters.
        betas: [f32; 3],
        /// 0: relu; 1: tanh; 2: sigmoid; 3: affine; 4: leaky relu; 5: thresholded relu; 6: scaled tanh; 7: hard sigmoid;
        /// 8: elu; 9: softsign; 10: softplus.
        functions: [u8; 3],
        /// 0: RNN; 1: GRU, gates z, r, h; 2: LSTM, gates i, o, f, c.
        cell: u8,
        /// 1: a GRU's linear part comes before the reset; an LSTM's input gate decides what is forgotten.
        flag: u8,
        /// 1: from the end of each sequence to its start.
        backward: u8,
    }
}
