//! The blob's layout: header fields and step records, defined once for writer and reader. `FORMAT.md` is the
//! description byte by byte; [`VERSION`] changes with it.
//!
//! Everything is little-endian. Offsets in the header count from the blob's first byte; offsets in records count
//! from the arena's first byte, or from the constants section's where the field's comment or [`IN_CONSTANTS`] says so.

mod control;
mod elementwise;
mod float;
mod int4;
mod integrity;
pub mod metadata;
mod place;
mod products;
mod record;
mod sequence;
mod wide;
mod windows;

pub use control::{MOST_NESTING, Repeat};
pub use elementwise::{BinaryInteger, Compare, Convert, Div, MinMax, PRelu, Select};
pub use float::{
    AttentionF32, AveragePoolF32, BinaryF32, Conv2dF32, DenseF32, Dequantize, FillF32, FunctionF32,
    LayerNormF32, MatMulF32, MaxPoolF32, PowerF32, Quantize, RecurrentF32, ReduceF32, SoftmaxF32, UnaryF32,
};
pub use int4::DenseInt4;
#[cfg(feature = "verify")]
pub use integrity::digest;
pub use integrity::{checksum, crc32};
pub use place::{CumulateF32, GatherElements, GatherRows, NonMaxSuppressionF32, NonZero, Rank, Scatter};
pub use products::{LayerNorm, MatMul};
pub(crate) use record::Field;
pub use record::{
    Add, AveragePool, Conv2d, Delay, Dense, DepthwiseConv2d, Fill, HEAD_BYTES, MOST_GUARDS, MaxPool, Mul,
    Pair, Softmax, StridedCopy, Table, WHEN_FALSE, Window,
};
pub use sequence::Lstm;
pub use wide::{Binary16, Conv16, Dequantize16, Function16, Pool16, Quantize16, Ratio, Rescale16};
pub use windows::{
    ConvNd, ConvNdF32, GridSampleF32, MaxPoolIndicesF32, Resample, ResampleF32, RoiAlignF32, Window3,
};

/// The first four bytes of every blob.
pub const MAGIC: [u8; 4] = *b"TINB";
/// The version this code writes and reads.
pub const VERSION: u16 = 1;
/// Bytes of the SHA-256 digest that ends a blob.
pub const DIGEST_BYTES: usize = 32;
/// Weights start at multiples of this within the constants section, which itself is aligned so.
pub const CONSTANT_ALIGN: u32 = 16;
/// The arena must start at a multiple of this.
pub const ARENA_ALIGN: u32 = 16;
/// Set in a source offset that points into the constants section instead of the arena.
pub const IN_CONSTANTS: u32 = 1 << 31;

/// Header fields: offsets of little-endian values from the blob's start.
pub mod field {
    /// `[u8; 4]`: [`super::MAGIC`].
    pub const MAGIC: usize = 0;
    /// `u16`: [`super::VERSION`].
    pub const VERSION: usize = 4;
    /// `u8`: the lanes whose weight packing the blob uses, see [`crate::lanes::LaneId`].
    pub const LANES: usize = 6;
    /// `u8`: zero.
    pub const RESERVED: usize = 7;
    /// `u32`: bytes of the whole blob, digest included.
    pub const TOTAL_BYTES: usize = 8;
    /// `u32`: CRC-32 (ISO-HDLC), see [`super::checksum`].
    pub const CRC: usize = 12;
    /// `u32`: bytes of arena that an inference needs.
    pub const ARENA_BYTES: usize = 16;
    /// `u32`: arena offset of the state region, kept between runs.
    pub const STATE_OFFSET: usize = 20;
    /// `u32`: bytes of the state region.
    pub const STATE_BYTES: usize = 24;
    /// `u32`: number of steps.
    pub const STEP_COUNT: usize = 28;
    /// `u32`: start of the metadata section, see [`super::metadata`].
    pub const METADATA_OFFSET: usize = 32;
    /// `u32`: its bytes.
    pub const METADATA_BYTES: usize = 36;
    /// `u32`: start of the program section: records, one after the other. A multiple of 4.
    pub const PROGRAM_OFFSET: usize = 40;
    /// `u32`: its bytes.
    pub const PROGRAM_BYTES: usize = 44;
    /// `u32`: start of the constants section, a multiple of [`super::CONSTANT_ALIGN`].
    pub const CONSTANTS_OFFSET: usize = 48;
    /// `u32`: its bytes.
    pub const CONSTANTS_BYTES: usize = 52;
    /// `u32`: start of the debug names section, one text per step; its bytes are zero where it was stripped.
    pub const NAMES_OFFSET: usize = 56;
    /// `u32`: its bytes.
    pub const NAMES_BYTES: usize = 60;
    /// Bytes of the header.
    pub const HEADER_BYTES: usize = 64;
}
