//! Kernels: one file per operator. A kernel is a function of its record and slices.

pub mod add;
pub mod average_pool;
pub mod binary_integer;
pub mod compare;
pub mod conv2d;
pub mod conv_nd;
pub mod convert;
pub mod delay;
pub mod dense;
pub mod dense_int4;
pub mod depthwise;
pub mod div;
mod elementwise;
mod exponential;
pub mod fill;
mod filters;
pub mod float;
pub mod layer_norm;
pub mod lstm;
pub mod matmul;
pub mod max_pool;
pub mod min_max;
pub mod mul;
pub mod non_zero;
pub mod number;
pub mod places;
pub mod prelu;
pub mod rank;
pub mod repeat;
pub mod resample;
pub mod select;
pub mod softmax;
pub mod strided_copy;
pub mod table;
pub mod wide;
mod window;
mod window3;

use crate::arena::Memory;
use crate::format::{
    Add, AveragePool, CONSTANT_ALIGN, Conv2d, Delay, Dense, DepthwiseConv2d, Fill, IN_CONSTANTS, MaxPool,
    Mul, Softmax, StridedCopy, Table,
};
use crate::format::{
    AttentionF32, AveragePoolF32, BinaryF32, Conv2dF32, DenseF32, Dequantize, FillF32, FunctionF32,
    LayerNormF32, MatMulF32, MaxPoolF32, PowerF32, Quantize, RecurrentF32, ReduceF32, SoftmaxF32, UnaryF32,
};
use crate::format::{Binary16, Conv16, Dequantize16, Function16, Pool16, Quantize16, Rescale16};
use crate::format::{BinaryInteger, Compare, Convert, MinMax, Select};
use crate::format::{ConvNd, ConvNdF32, GridSampleF32, MaxPoolIndicesF32, ResampleF32, RoiAlignF32};
use crate::format::{
    CumulateF32, GatherElements, GatherRows, NonMaxSuppressionF32, NonZero, Rank, Repeat, Scatter,
};
use crate::format::{DenseInt4, Div, LayerNorm, Lstm, MatMul, PRelu, Resample};
use crate::lanes::Portable;

/// What records of one kind are proven and executed by.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// The records it is for.
    pub opcode: u8,
    /// Computes a record's fields over the arena, and tells the region written. `None` only where the record does not
    /// fit the memory, which a checked blob's always do.
    pub run: fn(&[u8], &mut Memory<'_>) -> Option<Extent>,
    /// What a record's fields touch and how much work that is. `None` where the fields are not as long as they must
    /// be, or a number does not fit.
    pub(crate) account: fn(&[u8]) -> Option<(Extents, u64)>,
    /// Whether the fields and the constants block hold what `run` relies on, beyond the extents.
    pub(crate) is_valid: fn(&[u8], &[u8]) -> bool,
}

/// The kernel of a record, executed by a function.
macro_rules! kernel_of {
    ($record:ident, $run:expr) => {
        $crate::kernels::Kernel {
            opcode: $record::OPCODE,
            run: $run,
            account: |fields| {
                let record = $record::read(fields).filter(|_| fields.len() == $record::BYTES)?;
                Some((record.extents()?, record.work()?))
            },
            is_valid: |fields, constants| {
                $record::read(fields).is_some_and(|record| record.is_valid(constants))
            },
        }
    };
}
pub(crate) use kernel_of;

/// Every kernel, with portable lanes. A firmware may name fewer; what it does not name is not linked.
pub static ALL: &[Kernel] = &[
    conv2d::kernel::<Portable>(),
    depthwise::kernel::<Portable>(),
    dense::kernel::<Portable>(),
    add::kernel(),
    mul::kernel(),
    table::kernel(),
    max_pool::kernel(),
    average_pool::kernel(),
    softmax::kernel(),
    strided_copy::kernel(),
    fill::kernel(),
    delay::kernel(),
    float::cast::quantize(),
    float::cast::dequantize(),
    float::conv2d::kernel(),
    float::dense::kernel(),
    float::binary::kernel(),
    float::unary::kernel(),
    float::max_pool::kernel(),
    float::average_pool::kernel(),
    float::softmax::kernel(),
    float::fill::kernel(),
    float::recurrent::kernel(),
    float::conv_nd::kernel(),
    conv_nd::kernel(),
    float::max_pool_indices::kernel(),
    float::resample::kernel(),
    float::grid_sample::kernel(),
    float::roi_align::kernel(),
    float::reduce::kernel(),
    float::matmul::kernel(),
    float::layer_norm::kernel(),
    float::attention::kernel(),
    float::unary::function(),
    float::binary::power(),
    compare::kernel(),
    binary_integer::kernel(),
    select::kernel(),
    convert::kernel(),
    min_max::kernel(),
    places::gather_rows(),
    places::gather_elements(),
    places::scatter(),
    rank::kernel(),
    non_zero::kernel(),
    float::cumulate::kernel(),
    float::non_max_suppression::kernel(),
    repeat::kernel(),
    prelu::kernel(),
    resample::kernel(),
    matmul::kernel(),
    div::kernel(),
    layer_norm::kernel(),
    lstm::kernel(),
    wide::conv::kernel(),
    wide::binary::kernel(),
    wide::pool::kernel(),
    wide::rescale::kernel(),
    wide::function::kernel(),
    wide::cast::quantize(),
    wide::cast::dequantize(),
    dense_int4::kernel(),
];

/// The kernels that compute on int8 in integers alone.
pub static INT8: &[Kernel] = &[
    conv2d::kernel::<Portable>(),
    depthwise::kernel::<Portable>(),
    dense::kernel::<Portable>(),
    add::kernel(),
    mul::kernel(),
    table::kernel(),
    max_pool::kernel(),
    average_pool::kernel(),
    softmax::kernel(),
    strided_copy::kernel(),
    fill::kernel(),
    delay::kernel(),
    min_max::kernel(),
    conv_nd::kernel(),
    prelu::kernel(),
    resample::kernel(),
    matmul::kernel(),
    div::kernel(),
    layer_norm::kernel(),
    lstm::kernel(),
    dense_int4::kernel(),
];

/// The kernels that compute on int16 in integers alone, and those of int8 that only move bytes.
pub static INT16: &[Kernel] = &[
    wide::conv::kernel(),
    wide::binary::kernel(),
    wide::pool::kernel(),
    wide::rescale::kernel(),
    wide::function::kernel(),
    strided_copy::kernel(),
    fill::kernel(),
    delay::kernel(),
];

/// A region of the arena or of the constants section: first byte and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// First byte. Sources may carry [`IN_CONSTANTS`].
    pub offset: u32,
    /// Bytes.
    pub bytes: u32,
}

impl Extent {
    /// Whether it lies in the constants section.
    pub const fn in_constants(self) -> bool {
        self.offset & IN_CONSTANTS != 0
    }
}

/// Everything a record touches. Sizes follow from its shape; `None` from [`Layer::extents`] means that they do not
/// fit 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    /// What it reads, in the record's order; strided sources by the smallest region that holds every byte read.
    pub sources: [Option<Extent>; MAX_SOURCES],
    /// Which sources may be the output's own region; others must not touch it.
    pub in_place: [bool; MAX_SOURCES],
    /// What it writes (the smallest region that holds every byte written).
    pub output: Extent,
    /// Its constants block, relative to the constants section.
    pub constants: Option<Extent>,
    /// Its part of the state region.
    pub state: Option<Extent>,
    /// What a reset fills that with.
    pub initial: u8,
}

/// The most sources a record reads.
pub const MAX_SOURCES: usize = 4;

/// Only the first source may be the output's own region.
const FIRST_IN_PLACE: [bool; MAX_SOURCES] = [true, false, false, false];

/// This source, and no other.
#[inline(always)]
const fn only(source: Extent) -> [Option<Extent>; MAX_SOURCES] {
    [Some(source), None, None, None]
}

/// These sources, in the record's order.
#[inline(always)]
fn sources<const N: usize>(given: [Extent; N]) -> [Option<Extent>; MAX_SOURCES] {
    let mut all = [None; MAX_SOURCES];
    for (slot, extent) in all.iter_mut().zip(given) {
        *slot = Some(extent);
    }
    all
}

macro_rules! layers {
    ($($name:ident),* $(,)?) => {
        /// A decoded record.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(missing_docs, reason = "documented at each record")]
        pub enum Layer { $($name($name),)* }

        impl Layer {
            /// The record's opcode.
            pub const fn opcode(&self) -> u8 {
                match self { $(Self::$name(_) => $name::OPCODE,)* }
            }
            /// Bytes of the record's fields, without its head.
            pub const fn field_bytes(&self) -> usize {
                match self { $(Self::$name(_) => $name::BYTES,)* }
            }
            /// The record's name in reports.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }
            /// Decodes the fields behind a head; `None` for an unknown opcode or too few bytes.
            pub fn read(opcode: u8, fields: &[u8]) -> Option<Self> {
                match opcode { $($name::OPCODE => $name::read(fields).map(Self::$name),)* _ => None }
            }
            /// Encodes the fields; `None` where `fields` is too short.
            pub fn write(&self, fields: &mut [u8]) -> Option<()> {
                match self { $(Self::$name(record) => record.write(fields),)* }
            }
            /// What the record touches.
            pub fn extents(&self) -> Option<Extents> {
                match self { $(Self::$name(record) => record.extents(),)* }
            }
            /// Multiply-accumulates of a product, taps of a pool, elements of all else: what its loops count to.
            /// `None` where that does not fit 64 bits.
            pub fn work(&self) -> Option<u64> {
                match self { $(Self::$name(record) => record.work(),)* }
            }
            /// Sets the offsets that the memory plan decided: `sources` in the record's order, the first byte of
            /// the output, the constants block, the state.
            pub fn bind(&mut self, sources: &[u32], ofm: u32, constants: u32, state: u32) {
                match self { $(Self::$name(record) => record.bind(sources, ofm, constants, state),)* }
            }
        }
    };
}

layers! {
    Conv2d,
    DepthwiseConv2d,
    Dense,
    Add,
    Mul,
    Table,
    MaxPool,
    AveragePool,
    Softmax,
    StridedCopy,
    Fill,
    Delay,
    Quantize,
    Dequantize,
    Conv2dF32,
    DenseF32,
    BinaryF32,
    UnaryF32,
    MaxPoolF32,
    AveragePoolF32,
    SoftmaxF32,
    FillF32,
    RecurrentF32,
    ConvNdF32,
    ConvNd,
    MaxPoolIndicesF32,
    ResampleF32,
    GridSampleF32,
    RoiAlignF32,
    ReduceF32,
    MatMulF32,
    LayerNormF32,
    AttentionF32,
    FunctionF32,
    PowerF32,
    Compare,
    BinaryInteger,
    Select,
    Convert,
    MinMax,
    GatherRows,
    GatherElements,
    Scatter,
    Rank,
    CumulateF32,
    NonMaxSuppressionF32,
    NonZero,
    Repeat,
    PRelu,
    Resample,
    MatMul,
    Div,
    LayerNorm,
    Lstm,
    Conv16,
    Binary16,
    Pool16,
    Rescale16,
    Function16,
    Quantize16,
    Dequantize16,
    DenseInt4,
}

/// Bytes of the three per-channel lists of a constants block: biases, multipliers, shifts.
const PER_CHANNEL_BYTES: u32 = 9;

/// The product of extents; `None` beyond 32 bits.
fn product(extents: &[u32]) -> Option<u32> {
    extents
        .iter()
        .try_fold(1u32, |product, &extent| product.checked_mul(extent))
}

/// The product of extents; `None` beyond 64 bits.
fn work_of(extents: &[u32]) -> Option<u64> {
    extents
        .iter()
        .try_fold(1u64, |product, &extent| product.checked_mul(u64::from(extent)))
}

/// The offset of source `index` among those of the memory plan; zero where the plan has fewer.
fn source(sources: &[u32], index: usize) -> u32 {
    sources.get(index).copied().unwrap_or(0)
}

/// The constants block of a product with `channels` outputs and `weights` bytes: per-channel lists, padded, weights.
fn weights_block(offset: u32, channels: u32, weights: u32) -> Option<Extent> {
    let lists = channels
        .checked_mul(PER_CHANNEL_BYTES)?
        .checked_next_multiple_of(CONSTANT_ALIGN)?;
    Some(Extent {
        offset,
        bytes: lists.checked_add(weights)?,
    })
}
