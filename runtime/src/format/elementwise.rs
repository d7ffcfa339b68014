//! Records of elementwise steps over plain numbers and Booleans. Element types are [`crate::kernels::number::Number`]s.

use super::record::{Field, Pair, fields, record};

record! {
    /// `ofm[i] = a[i] ∘ b[i]`, 0 or 1 in a byte each, with broadcasting. NaN compares as false.
    Compare = 44 {
        /// The operands and the output.
        operands: Pair,
        /// 0: equal; 1: less; 2: less or equal.
        kind: u8,
        /// Element type of both operands.
        element: u8,
    }
}

record! {
    /// `ofm[i] = a[i] ∘ b[i]` over integers or Booleans, with broadcasting; results wrap.
    BinaryInteger = 45 {
        /// The operands and the output.
        operands: Pair,
        /// Which operation, see [`crate::kernels::binary_integer::IntegerOperation`].
        kind: u8,
        /// Element type of the operands and of the output; not f32.
        element: u8,
    }
}

record! {
    /// `ofm[i] = a[i]` where `condition[i]` is not 0, `b[i]` else, with broadcasting.
    Select = 46 {
        /// Source of the condition, a byte each (arena, or [`super::IN_CONSTANTS`]).
        condition: u32,
        /// Source of what a true condition takes (arena, or [`super::IN_CONSTANTS`]).
        a: u32,
        /// Source of what a false condition takes (arena, or [`super::IN_CONSTANTS`]).
        b: u32,
        /// Arena offset of the output, `dims` in row-major order.
        ofm: u32,
        /// Output shape, outermost first.
        dims: [u32; 4],
        /// Elements from one index of the condition to the next, per dimension; 0 broadcasts.
        condition_strides: [u32; 4],
        /// As [`super::Pair::a_strides`].
        a_strides: [u32; 4],
        /// As [`super::Pair::b_strides`].
        b_strides: [u32; 4],
        /// Bytes of an element of `a`, `b` and the output: 1, 2, 4 or 8.
        element_bytes: u8,
    }
}

record! {
    /// `ofm[i]` is `ifm[i]` in another element type: reals are cut toward zero and saturate, NaN becomes 0; integers
    /// wrap into narrower ones and round to nearest, ties to even, into reals; anything but zero is true.
    Convert = 47 {
        /// Source of the elements (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Arena offset of the output.
        ofm: u32,
        /// Elements.
        count: u32,
        /// Element type of the source.
        from: u8,
        /// Element type of the output.
        to: u8,
    }
}

record! {
    /// `ofm[i]` is the lesser or the greater of `a_table[a[i] + 128]` and `b_table[b[i] + 128]`, with broadcasting:
    /// rounding is monotone, so each operand is rescaled by itself.
    MinMax = 48 {
        /// Source of the first operand (arena, or [`super::IN_CONSTANTS`]).
        a: u32,
        /// Source of the second operand (arena, or [`super::IN_CONSTANTS`]).
        b: u32,
        /// Arena offset of the output, `dims` in row-major order.
        ofm: u32,
        /// Offset of the two tables of 256 entries, for codes −128 to 127, the first operand's first.
        constants: u32,
        /// Output shape, outermost first.
        dims: [u32; 4],
        /// As [`super::Pair::a_strides`].
        a_strides: [u32; 4],
        /// As [`super::Pair::b_strides`].
        b_strides: [u32; 4],
        /// 0: the lesser; 1: the greater.
        greatest: u8,
    }
}

record! {
    /// `ofm[o][c][i] = requantize(ifm[o][c][i] − ifm_zero_point)`: by one factor where that is not negative, by channel
    /// `c`'s where it is.
    ///
    /// Constants block: `multiplier: i32[channels]`, a negative one for a factor below zero, then `shift: u8[channels]`.
    PRelu = 49 {
        /// Arena offset of the input, `[outer][channels][inner]`.
        ifm: u32,
        /// Arena offset of the output; may equal `ifm`.
        ofm: u32,
        /// Offset of the constants block.
        constants: u32,
        /// Rows before the channels.
        outer: u32,
        /// Channels.
        channels: u32,
        /// Elements of a channel that lie side by side.
        inner: u32,
        /// Multiplier of what is not negative.
        multiplier: i32,
        /// Its shift, stored as in a products block.
        shift: u8,
        /// As [`super::Conv2d::left_shift`].
        left_shift: u8,
        /// Zero point of the input.
        ifm_zero_point: i8,
        /// Zero point of the output.
        ofm_zero_point: i8,
        /// Fused clamp, lower end.
        min: i8,
        /// Fused clamp, upper end.
        max: i8,
    }
}

record! {
    /// `ofm[i] = clamp((a[i] − a_zp)·multiplier / ((b[i] − b_zp)·2^right_shift) + zp)`, rounded to nearest, ties to even,
    /// with broadcasting. What is divided by zero lies beyond all codes, zero over zero is zero.
    Div = 50 {
        /// The operands and the output.
        operands: Pair,
        /// Factor of the quotient, not negative.
        multiplier: i32,
        /// The quotient is shifted right by this, at most 46.
        right_shift: u8,
        /// Zero point of the dividend.
        a_zero_point: i8,
        /// Zero point of the divisor.
        b_zero_point: i8,
        /// Zero point of the output.
        ofm_zero_point: i8,
        /// Fused clamp, lower end.
        min: i8,
        /// Fused clamp, upper end.
        max: i8,
    }
}
