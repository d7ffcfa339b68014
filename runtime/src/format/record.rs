//! Step records: what stands in the program section, one struct per opcode.
//!
//! A record is a head of four bytes (opcode, length of the fields in 4-byte words, two zero bytes) and the fields in
//! the order of their list, without gaps, padded to 4 bytes.

/// Bytes of a record's head.
pub const HEAD_BYTES: usize = 4;

/// Guards of one record, at most.
pub const MOST_GUARDS: usize = 4;

/// Set in a guard whose condition must not hold; the other bits are the condition's arena offset.
pub const WHEN_FALSE: u32 = 1 << 31;

/// A little-endian value of a record.
pub(crate) trait Field: Sized {
    /// Takes the value off the front of `bytes`.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
    /// Puts the value at the front of `bytes` and moves past it.
    fn put(&self, bytes: &mut &mut [u8]) -> Option<()>;
}

macro_rules! number_fields {
    ($($number:ty),*) => {$(
        impl Field for $number {
            #[inline(always)]
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let (head, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_le_bytes(*head))
            }
            fn put(&self, bytes: &mut &mut [u8]) -> Option<()> {
                let (head, rest) = core::mem::take(bytes).split_first_chunk_mut()?;
                *head = self.to_le_bytes();
                *bytes = rest;
                Some(())
            }
        }
    )*};
}

number_fields! { u8, i8, u16, i16, u32, i32, i64, f32 }

impl<T: Field + Copy + Default, const N: usize> Field for [T; N] {
    #[inline(always)]
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let mut array = [T::default(); N];
        for slot in &mut array {
            *slot = T::take(bytes)?;
        }
        Some(array)
    }
    fn put(&self, bytes: &mut &mut [u8]) -> Option<()> {
        self.iter().try_for_each(|value| value.put(bytes))
    }
}

/// Defines a group of fields and both directions of its encoding from one list.
macro_rules! fields {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $kind,)* }

        impl Field for $name {
            #[inline(always)]
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: Field::take(bytes)?,)* })
            }
            fn put(&self, bytes: &mut &mut [u8]) -> Option<()> {
                $(self.$field.put(bytes)?;)*
                Some(())
            }
        }
    };
}
pub(super) use fields;

/// Defines a record: its struct, opcode, size and both directions of its encoding.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident = $opcode:literal {
        $($(#[$field_doc:meta])* $field:ident: $kind:ty,)*
    }) => {
        fields! { $(#[$doc])* $name { $($(#[$field_doc])* $field: $kind,)* } }

        impl $name {
            /// The record's first byte.
            pub const OPCODE: u8 = $opcode;
            /// Bytes of the fields, without the four of the record's head.
            pub const BYTES: usize = (0 $(+ core::mem::size_of::<$kind>())*).next_multiple_of(4);

            /// Reads the fields; `None` where `bytes` is too short.
            pub fn read(bytes: &[u8]) -> Option<Self> {
                // One length check here lets the compiler drop those of the single fields.
                let bytes: &[u8; Self::BYTES] = bytes.first_chunk()?;
                Self::take(&mut bytes.as_slice())
            }

            /// Writes the fields; `None` where `bytes` is too short.
            pub fn write(&self, mut bytes: &mut [u8]) -> Option<()> {
                self.put(&mut bytes)
            }
        }
    };
}
pub(super) use record;

fields! {
    /// The sliding window that convolutions and pools share, over channels-last rows. Output `[y][x]` sees the taps
    /// `[y·stride_h − pad_top + ky·dilation_h][x·stride_w − pad_left + kx·dilation_w]`; those outside the input are
    /// padding. How much padding lies below and at the right follows from the output's extents.
    Window {
        /// Input rows.
        in_h: u16,
        /// Input columns.
        in_w: u16,
        /// Output rows.
        out_h: u16,
        /// Output columns.
        out_w: u16,
        /// Kernel rows.
        kernel_h: u16,
        /// Kernel columns.
        kernel_w: u16,
        /// Rows of padding above.
        pad_top: u16,
        /// Columns of padding at the left.
        pad_left: u16,
        /// Rows from one output row to the next.
        stride_h: u16,
        /// Columns from one output column to the next.
        stride_w: u16,
        /// Rows from one tap to the next.
        dilation_h: u16,
        /// Columns from one tap to the next.
        dilation_w: u16,
    }
}

record! {
    /// A convolution over channels-last rows: `ofm[y][x][o] = requantize(bias[o] + Σ ifm[…]·weights[o][ky][kx][i])`.
    ///
    /// Constants block: `bias: i32[out_c]`, `multiplier: i32[out_c]`, `shift: u8[out_c]`, padding to
    /// [`super::CONSTANT_ALIGN`], then the weights in the packing named.
    Conv2d = 1 {
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
        groups: u16,
        /// What padding taps read.
        ifm_zero_point: i8,
        /// Added after the rescale.
        ofm_zero_point: i8,
        /// Fused clamp, lower end.
        min: i8,
        /// Fused clamp, upper end.
        max: i8,
        /// The accumulator is shifted left by this before the rescale; the compiler proved that it fits.
        left_shift: u8,
        /// Weight packing, see [`crate::lanes::Packing`].
        packing: u8,
    }
}

/// One filter per channel: `out_c = in_c · k` for a channel multiplier `k`, and output channel `o` reads input
/// channel `o / k`. The fields and constants are [`Conv2d`]'s, with `groups = in_c`; the weights are
/// `[kernel_h][kernel_w][out_c]`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DepthwiseConv2d(pub Conv2d);

impl DepthwiseConv2d {
    /// The record's first byte.
    pub const OPCODE: u8 = 2;
    /// Bytes of the fields.
    pub const BYTES: usize = Conv2d::BYTES;

    /// Reads the fields; `None` where `bytes` is too short.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Conv2d::read(bytes).map(Self)
    }

    /// Writes the fields; `None` where `bytes` is too short.
    pub fn write(&self, bytes: &mut [u8]) -> Option<()> {
        self.0.write(bytes)
    }
}

record! {
    /// A product with constant weights: `ofm[r][o] = requantize(bias[o] + Σ ifm[r][i]·weights[o][i])`.
    ///
    /// Constants block as [`Conv2d`]'s.
    Dense = 3 {
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
        /// Added after the rescale.
        ofm_zero_point: i8,
        /// Fused clamp, lower end.
        min: i8,
        /// Fused clamp, upper end.
        max: i8,
        /// As [`Conv2d::left_shift`].
        left_shift: u8,
        /// Weight packing, see [`crate::lanes::Packing`].
        packing: u8,
    }
}

fields! {
    /// Two operands that are broadcast to one shape, and the output that is computed of them element by element.
    Pair {
        /// Source of the first operand (arena, or [`super::IN_CONSTANTS`]).
        a: u32,
        /// Source of the second operand (arena, or [`super::IN_CONSTANTS`]).
        b: u32,
        /// Arena offset of the output, `dims` in row-major order.
        ofm: u32,
        /// Output shape, outermost first.
        dims: [u32; 4],
        /// Elements from one index of the first operand to the next, per dimension; 0 broadcasts.
        a_strides: [u32; 4],
        /// The same of the second operand.
        b_strides: [u32; 4],
    }
}

record! {
    /// `ofm[i] = clamp(((a[i] − a_zp)·a_multiplier + (b[i] − b_zp)·b_multiplier) · 2^(−right_shift) + zp)`, rounded
    /// to nearest, with broadcasting; a negative multiplier subtracts.
    Add = 4 {
        /// The operands and the output.
        operands: Pair,
        /// Factor of the first operand.
        a_multiplier: i32,
        /// Factor of the second operand.
        b_multiplier: i32,
        /// Zero point of the first operand.
        a_zero_point: i8,
        /// Zero point of the second operand.
        b_zero_point: i8,
        /// Zero point of the output.
        ofm_zero_point: i8,
        /// Fused clamp, lower end.
        min: i8,
        /// Fused clamp, upper end.
        max: i8,
        /// The sum is shifted right by this: `1..=62`, and `1..=31` where `wide` is 0.
        right_shift: u8,
        /// 0: ties toward +∞; 1: ties to even.
        rounding: u8,
        /// 0: products, sum and the rounding's nudge fit `i32` (proven); 1: they need `i64`.
        wide: u8,
    }
}

record! {
    /// `ofm[i] = requantize((a[i] − a_zp)·(b[i] − b_zp))` with broadcasting.
    Mul = 5 {
        /// The operands and the output.
        operands: Pair,
        /// The rescale's multiplier.
        multiplier: i32,
        /// Zero point of the first operand.
        a_zero_point: i8,
        /// Zero point of the second operand.
        b_zero_point: i8,
        /// Zero point of the output.
        ofm_zero_point: i8,
        /// Fused clamp, lower end.
        min: i8,
        /// Fused clamp, upper end.
        max: i8,
        /// The rescale's stored shift, see [`crate::FixedScale::from_stored`].
        shift: u8,
        /// As [`Conv2d::left_shift`].
        left_shift: u8,
    }
}

record! {
    /// `ofm[i] = table[ifm[i] + 128]`: any function of one int8 value.
    Table = 6 {
        /// Arena offset of the input.
        ifm: u32,
        /// Arena offset of the output; may equal `ifm`.
        ofm: u32,
        /// Offset of the 256 entries, for inputs −128 to 127.
        constants: u32,
        /// Elements.
        count: u32,
    }
}

record! {
    /// The largest of each window, channels-last; padding does not take part.
    MaxPool = 7 {
        /// Arena offset of the input, `[in_h][in_w][channels]`.
        ifm: u32,
        /// Arena offset of the output, `[out_h][out_w][channels]`.
        ofm: u32,
        /// Rows, columns, strides, padding.
        window: Window,
        /// Channels.
        channels: u16,
        /// Fused clamp, lower end.
        min: i8,
        /// Fused clamp, upper end.
        max: i8,
    }
}

record! {
    /// The mean of each window, channels-last.
    AveragePool = 8 {
        /// Arena offset of the input, `[in_h][in_w][channels]`.
        ifm: u32,
        /// Arena offset of the output, `[out_h][out_w][channels]`.
        ofm: u32,
        /// Offset of `multiplier: i32[n]`, then `shift: u8[n]`, indexed by the window's count less one, where
        /// `divide` is 0; `n = kernel_h · kernel_w`.
        constants: u32,
        /// Rows, columns, strides, padding; at most 2^22 taps.
        window: Window,
        /// Channels.
        channels: u16,
        /// Zero point of the input.
        ifm_zero_point: i8,
        /// Zero point of the output.
        ofm_zero_point: i8,
        /// Fused clamp, lower end.
        min: i8,
        /// Fused clamp, upper end.
        max: i8,
        /// 1: exact integer division, ties to even (input and output have one scale); 0: the rescale of the count.
        divide: u8,
        /// 1: padding counts, as zeros, in the window's size; 0: it does not.
        count_include_pad: u8,
        /// As [`Conv2d::left_shift`], before the rescale of the count.
        left_shift: u8,
    }
}

record! {
    /// `ofm[r][i] = quantize(exp(s·ifm[r][i]) / Σ exp(s·ifm[r][j]))` along rows, by exponentials in fixed point and
    /// an integer division.
    Softmax = 9 {
        /// Arena offset of the input, `[rows][depth]`.
        ifm: u32,
        /// Arena offset of the output; may equal `ifm`.
        ofm: u32,
        /// Offset of the exponentials, see [`crate::kernels::softmax`].
        constants: u32,
        /// Rows.
        rows: u32,
        /// Elements of a row.
        depth: u32,
        /// The output's scale is `scale_mantissa · 2^(−scale_shift)`, exactly; `2^23 ≤ scale_mantissa < 2^24`.
        scale_mantissa: u32,
        /// See `scale_mantissa`; from 21 to 60.
        scale_shift: u8,
        /// Zero point of the output.
        ofm_zero_point: i8,
        /// Fused clamp, lower end.
        min: i8,
        /// Fused clamp, upper end.
        max: i8,
    }
}

record! {
    /// A strided copy: `ofm[Σ dᵢ·ofm_stridesᵢ] = ifm[Σ dᵢ·ifm_stridesᵢ]` over `dims`: transposes, concatenations,
    /// slices and the inside of pads.
    StridedCopy = 10 {
        /// Source of the first element (arena, or [`super::IN_CONSTANTS`]).
        ifm: u32,
        /// Arena offset of the first element written.
        ofm: u32,
        /// Offset of a 256-entry table applied on the way where `use_table` is 1.
        constants: u32,
        /// Elements per dimension, outermost first.
        dims: [u32; 5],
        /// Elements from one index to the next in the source; may be negative.
        ifm_strides: [i32; 5],
        /// Elements from one index to the next in the output.
        ofm_strides: [i32; 5],
        /// Bytes of an element: 1, 2, 4 or 8.
        element_bytes: u8,
        /// 1: bytes go through the table; elements are of 1 byte.
        use_table: u8,
    }
}

record! {
    /// Fills a region with one byte.
    Fill = 11 {
        /// Arena offset.
        ofm: u32,
        /// Bytes.
        count: u32,
        /// The byte.
        value: i8,
    }
}

record! {
    /// Gives out what came in one run before: `ofm = state; state = ifm`. A reset sets the state to `initial`.
    Delay = 12 {
        /// Arena offset of the input.
        ifm: u32,
        /// Arena offset of the output; may equal `ifm`.
        ofm: u32,
        /// Arena offset of the state, inside the state region.
        state: u32,
        /// Bytes of each.
        count: u32,
        /// What a reset fills the state with.
        initial: i8,
    }
}
