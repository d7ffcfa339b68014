//! Records of steps on int16 codes; their opcodes start at 128.

use super::Window3;
use super::record::{Field, fields, record};

fields! {
    /// The exact factor `multiplier / (divisor · 2^right_shift)` of a rescale, ties to even.
    Ratio {
        /// Above; negative for a factor below zero.
        multiplier: i64,
        /// Below. 0: none, and products with the multiplier stay below 2^62 (proven).
        divisor: u32,
        /// Shifted right by this: `1..=62` where the divisor is 0, `1..=126` else.
        right_shift: u32,
    }
}

record! {
    /// A convolution of int16 with int8 weights over up to three spatial axes, or a product with constant weights:
    /// `ofm[n][…][o] = clamp(ratio(bias[o] + Σ ifm[…]·weights[…]) + zp)`. Taps outside the input and between its
    /// elements read the input's zero point.
    ///
    /// Constants block: where `wide` is 0 `bias: i32[out_c]`, `multiplier: i32[out_c]`, `shift: u8[out_c]`, no divisors;
    /// where it is 1 `bias: i64[out_c]`, `multiplier: i64[out_c]`, `divisor: u32[out_c]`, `shift: u8[out_c]`; then padding
    /// to [`super::CONSTANT_ALIGN`] and the weights `[out_c][…][in_c / groups]`.
    Conv16 = 128 {
        /// Arena offset of the input, `[images][…][in_c]`.
        ifm: u32,
        /// Arena offset of the output, `[images][…][out_c]`.
        ofm: u32,
        /// Offset of the constants block.
        constants: u32,
        /// Images.
        images: u32,
        /// Extents, strides, padding.
        window: Window3,
        /// Input channels.
        in_c: u32,
        /// Output channels.
        out_c: u32,
        /// Channel groups; `in_c` and `out_c` are multiples of it.
        groups: u32,
        /// What padding taps read.
        ifm_zero_point: i16,
        /// Added after the rescale.
        ofm_zero_point: i16,
        /// Fused clamp, lower end.
        min: i16,
        /// Fused clamp, upper end.
        max: i16,
        /// Which form the constants block has.
        wide: u8,
    }
}

record! {
    /// `ofm[i] = clamp(ratio((a[i] − a_zp)·a_multiplier ∘ (b[i] − b_zp)·b_multiplier) + zp)` with broadcasting, of int16.
    Binary16 = 129 {
        /// Source of the first operand (arena, or [`super::IN_CONSTANTS`]).
        a: u32,
        /// Source of the second operand (arena, or [`super::IN_CONSTANTS`]).
        b: u32,
        /// Arena offset of the output, `dims` in row-major order.
        ofm: u32,
        /// Output shape, outermost first.
        dims: [u32; 4],
        /// As [`super::Pair::a_strides`].
        a_strides: [u32; 4],
        /// As [`super::Pair::b_strides`].
        b_strides: [u32; 4],
        /// Factor of the first operand, below 2^44 in magnitude.
        a_multiplier: i64,
        /// Factor of the second operand, the same; negative to subtract.
        b_multiplier: i64,
        /// The rescale.
        ratio: Ratio,
        /// Zero point of the first operand.
        a_zero_point: i16,
        /// Zero point of the second operand.
        b_zero_point: i16,
        /// Zero point of the output.
        ofm_zero_point: i16,
        /// Fused clamp, lower end.
        min: i16,
        /// Fused clamp, upper end.
        max: i16,
        /// 0: the sum; 1: the product, without the two factors; 2: the lesser; 3: the greater.
        kind: u8,
    }
}

record! {
    /// The largest or the mean of each window of int16, channels-last: `ofm = clamp(ratio(x) + zp)` where `x` is the largest
    /// difference to the input's zero point, or their sum, which the ratio divides by the window's count too.
    Pool16 = 130 {
        /// Arena offset of the input, `[images][…][channels]`.
        ifm: u32,
        /// Arena offset of the output, `[images][…][channels]`.
        ofm: u32,
        /// Images.
        images: u32,
        /// Extents, strides, padding.
        window: Window3,
        /// Channels.
        channels: u32,
        /// The rescale. Of means, the divisor is not 0, and fits 32 bits times the kernel's taps.
        ratio: Ratio,
        /// Zero point of the input.
        ifm_zero_point: i16,
        /// Zero point of the output.
        ofm_zero_point: i16,
        /// Fused clamp, lower end.
        min: i16,
        /// Fused clamp, upper end.
        max: i16,
        /// 0: the largest; 1: the mean, padding not counted; 2: the mean, padding counted as zeros.
        kind: u8,
    }
}

record! {
    /// A strided copy with a rescale on the way, int8 and int16 on either side:
    /// `ofm[Σ dᵢ·ofm_stridesᵢ] = clamp(ratio(ifm[Σ dᵢ·ifm_stridesᵢ] − ifm_zp) + zp)`.
    Rescale16 = 131 {
        /// Source of the first element (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Arena offset of the first element written; may equal `ifm` where both are dense and of one width.
        ofm: u32,
        /// Elements per dimension, outermost first.
        dims: [u32; 5],
        /// Elements from one index to the next in the source; may be negative.
        ifm_strides: [i32; 5],
        /// Elements from one index to the next in the output.
        ofm_strides: [i32; 5],
        /// The rescale of differences that are not negative.
        ratio: Ratio,
        /// The rescale of those that are.
        negative: Ratio,
        /// Zero point of the input.
        ifm_zero_point: i16,
        /// Zero point of the output.
        ofm_zero_point: i16,
        /// Fused clamp, lower end.
        min: i16,
        /// Fused clamp, upper end.
        max: i16,
        /// Bytes of an element of the input: 1 or 2.
        ifm_bytes: u8,
        /// Bytes of an element of the output: 1 or 2.
        ofm_bytes: u8,
    }
}

record! {
    /// A function of one int16 value, linear between the entries of a table: with `s = 16 − log2_segments`, `i` the upper
    /// bits of `ifm + 32768` and `f` its lower `s` bits, `ofm = t[i] + ((t[i + 1] − t[i])·f + 2^(s−1)) >> s`.
    ///
    /// Constants block: `t: i16[2^log2_segments + 1]`.
    Function16 = 132 {
        /// Arena offset of the input.
        ifm: u32,
        /// Arena offset of the output; may equal `ifm`.
        ofm: u32,
        /// Offset of the table.
        constants: u32,
        /// Elements.
        count: u32,
        /// From 1 to 15.
        log2_segments: u8,
    }
}

record! {
    /// `ofm[i] = saturate(round_half_even(ifm[i] / scale) + zero_point)`: reals to int16.
    Quantize16 = 133 {
        /// Arena offset of the input.
        ifm: u32,
        /// Arena offset of the output.
        ofm: u32,
        /// Elements.
        count: u32,
        /// Real units of a step.
        scale: f32,
        /// The code that means zero.
        zero_point: i16,
    }
}

record! {
    /// `ofm[i] = (ifm[i] − zero_point) · scale`: int16 to reals.
    Dequantize16 = 134 {
        /// Arena offset of the input.
        ifm: u32,
        /// Arena offset of the output.
        ofm: u32,
        /// Elements.
        count: u32,
        /// Real units of a step.
        scale: f32,
        /// The code that means zero.
        zero_point: i16,
    }
}
