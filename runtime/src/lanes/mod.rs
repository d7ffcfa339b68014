//! Register blocks: the few inner loops that an instruction set may speed up. The loops around them are the kernels'.
//!
//! [`Portable`] is the definition. Bytes of tensors and weights are int8; lanes take them as `u8` so that no cast of
//! slices is needed.

mod portable;

pub use portable::Portable;

/// Which lanes a blob was packed for, by its stored code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LaneId {
    /// Safe Rust, every core.
    Portable = 0,
}

impl LaneId {
    /// The lanes of a stored code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Portable),
            _ => None,
        }
    }
}

/// The order of weights within a constants block, by its stored code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Packing {
    /// Row-major, as the record's documentation says.
    Plain = 0,
}

impl Packing {
    /// The packing of a stored code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Plain),
            _ => None,
        }
    }
}

/// Output channels of one [`Lanes::dot`].
pub const DOT_CHANNELS: usize = 4;
/// Channels of one [`Lanes::columns`].
pub const COLUMN_CHANNELS: usize = 8;

/// Register blocks over a whole inner dimension.
pub trait Lanes {
    /// `acc[o] += Σ_k x[k]·weights[o][k]`, over the shortest of the slices.
    fn dot(acc: &mut [i32; DOT_CHANNELS], x: &[u8], weights: [&[u8]; DOT_CHANNELS]);

    /// `acc[c] += Σ_t x[t·x_step + c]·weights[t·weights_step + c]` for `t` in `0..taps`; stops early where a slice
    /// ends.
    fn columns(acc: &mut [i32; COLUMN_CHANNELS], taps: usize, x: (&[u8], usize), weights: (&[u8], usize));
}
