//! Records of recurrent layers over int8.

use super::record::{Field, fields, record};

record! {
    /// One direction of an LSTM over int8, products with its input included; see [`crate::kernels::lstm`] for the numbers.
    ///
    /// Constants block, with a row for each element of the gates i, o, f and c: `tanh: u16[513]`, then `bias: i32[rows]`,
    /// `ifm_multiplier: i32[rows]`, `h_multiplier: i32[rows]`, `ifm_shift: u8[rows]`, `h_shift: u8[rows]`, then
    /// `weights: i8[rows][features]` and `recurrence: i8[rows][hidden]`.
    Lstm = 97 {
        /// Source of the input, `[steps][batch][features]` (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Source of the first `h`, `[batch][hidden]` (arena, or [`super::IN_CONSTANTS`]).
        h: u32,
        /// Source of the first `c`, `[batch][hidden]` (arena, or [`super::IN_CONSTANTS`]).
        c: u32,
        /// Arena offset of the output: `h` of every step and the last one, `[steps + 1][batch][hidden]`, or the last `c`,
        /// `[batch][hidden]`.
        ofm: u32,
        /// Offset of the constants block.
        constants: u32,
        /// Arena offset of room to work in, 8 bytes for each element of the state.
        state: u32,
        /// Steps, at least 1.
        steps: u32,
        /// Samples, at least 1.
        batch: u32,
        /// Elements of an input, from 1 to 65536.
        features: u32,
        /// Elements of the state, from 1 to 32768.
        hidden: u32,
        /// Factor of the first `h`.
        h_multiplier: i32,
        /// Factor of the first `c`.
        c_multiplier: i32,
        /// The output rescale's multiplier.
        multiplier: i32,
        /// Shift of the first `h`.
        h_shift: u8,
        /// Shift of the first `c`.
        c_shift: u8,
        /// The output rescale's shift, stored as in a products block.
        shift: u8,
        /// Zero point of the input.
        ifm_zero_point: i8,
        /// Zero point of the first `h`.
        h_zero_point: i8,
        /// Zero point of the first `c`.
        c_zero_point: i8,
        /// Zero point of the output.
        ofm_zero_point: i8,
        /// 1: from the last step to the first.
        backward: u8,
        /// 0: gives every `h`; 1: the last `c`.
        cell: u8,
    }
}
