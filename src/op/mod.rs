//! Operators: one file each, holding all that the compiler knows about it, and the tensor types they act on.
//!
//! Inside the compiler every image-like tensor is channels-last: `[n, h, w, c]`; convolution weights are
//! `[out_c, kernel_h, kernel_w, in_c / groups]`; dense weights `[out, in]`. ONNX's own layouts end in
//! [`crate::import`], which writes the transposes that [`crate::optimize`] then removes.
//!
//! An operator sees tensors, never the graph: rewriting across nodes is a pass, placing is the scheduler's.

mod attention;
mod average_pool;
mod batch_norm;
mod binary;
mod bit_cast;
mod cast;
mod compare;
mod concat;
mod conv2d;
mod conv_nd;
pub(crate) mod convolve;
mod cumulate;
pub(crate) mod data;
mod delay;
mod dense;
mod depthwise;
mod dtype;
pub(crate) mod element;
mod exactly;
mod expand;
mod expect;
mod gather;
mod gather_elements;
mod gather_nd;
pub(crate) mod gemm;
mod geometry;
mod grid_sample;
mod int4;
mod layer_norm;
mod layer_norm_codes;
mod lookup;
mod lower;
mod lstm;
mod matmul;
mod max_pool;
mod max_pool_indices;
mod movement;
mod narrow;
mod non_max_suppression;
pub(crate) mod non_zero;
mod pad;
mod pairwise;
mod places;
pub(crate) mod plain;
mod prelu;
mod products;
pub mod quant;
mod quantize_linear;
mod quantize_to;
mod ranking;
mod real;
mod recurrent;
mod reduce;
mod repeat;
mod resample;
pub mod rescale;
mod reshape;
mod roi_align;
mod runs;
mod scatter;
mod select;
mod slice;
mod softmax;
mod stored;
mod sums;
pub mod tensor;
mod tf_idf;
mod transpose;
mod tree_ensemble;
mod trilu;
mod unary;
pub(crate) mod unique;
pub mod vectors;
pub mod wide;
mod window;
mod window_nd;

use serde::{Deserialize, Serialize};

pub use attention::{Attention, Heads};
pub use average_pool::AveragePool;
pub use batch_norm::BatchNormalization;
pub use binary::{Binary, BinaryKind};
pub use bit_cast::BitCast;
pub use cast::{Cast, NarrowCast};
pub use compare::{Compare, CompareKind};
pub use concat::Concat;
pub use conv_nd::ConvNd;
pub use conv2d::Conv2d;
pub use cumulate::Cumulate;
pub use delay::Delay;
pub use dense::Dense;
pub use expand::Expand;
pub use gather::Gather;
pub use gather_elements::GatherElements;
pub use gather_nd::GatherNd;
pub use grid_sample::{Coordinates, GridSample, SampleMode, SamplePadding};
pub use layer_norm::LayerNorm;
pub use lookup::Lookup;
pub use lower::{KernelCall, LowerError, Lowered, Operand, Proof, View};
pub use lstm::{Gives, Lstm};
pub use matmul::MatMul;
pub use max_pool::MaxPool;
pub use max_pool_indices::MaxPoolIndices;
pub use narrow::{Encoding, RoundMode};
pub use non_max_suppression::NonMaxSuppression;
pub use non_zero::NonZero;
pub use pad::{Pad, PadMode};
pub use quantize_linear::{DequantizeLinear, QuantizeLinear};
pub use quantize_to::{DequantizeTo, QuantizeTo};
pub use ranking::TopK;
pub use recurrent::{Activation, Cell, Function, Recurrent};
pub use reduce::{Reduce, ReduceKind};
pub use repeat::Repeat;
pub use resample::{AlongAxis, Resample};
pub use reshape::Reshape;
pub use roi_align::RoiAlign;
pub use scatter::{Reduction, Scatter, ScatterKind};
pub use select::Select;
pub use slice::Slice;
pub use softmax::{Softmax, SoftmaxKind};
pub use tf_idf::{Gram, TfIdf};
pub use transpose::Transpose;
pub use tree_ensemble::{Aggregate, Test, TreeEnsemble, TreeNode};
pub use trilu::Trilu;
pub use unary::{Unary, UnaryKind};
pub use unique::Unique;
pub use window::Window;
pub use window_nd::WindowNd;

use crate::target::Target;
use quant::{QuantParams, QuantTensor, Range};
use tensor::{TensorType, Values};

/// What keeps an operator from acting on its inputs: lower case, wanted and found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct OpError {
    /// What was wanted and what was found.
    pub reason: String,
    /// The way out, if there is one.
    pub help: Option<String>,
}

impl OpError {
    /// An error without a known way out.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            help: None,
        }
    }

    /// The same error with a way out.
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }
}

/// A limit on what the int8 kernels of an operator take, written once: for the check, the message and the table of
/// supported operators.
pub struct Constraint<O> {
    /// The limit in words, such as `groups divide the channels`.
    pub text: &'static str,
    /// Whether it holds for this operator on these inputs.
    pub holds: fn(&O, inputs: &[&TensorType]) -> bool,
}

/// The values a fused activation lets through; a missing end is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clamp {
    /// Lower end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f32>,
    /// Upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f32>,
}

impl Clamp {
    /// ReLU.
    pub const RELU: Self = Self {
        min: Some(0.0),
        max: None,
    };
    /// Lets everything through.
    pub const NONE: Self = Self { min: None, max: None };

    /// `x` limited to the two ends.
    #[inline]
    pub fn apply(self, x: f32) -> f32 {
        let x = self.min.map_or(x, |min| if x < min { min } else { x });
        self.max.map_or(x, |max| if x > max { max } else { x })
    }

    /// What applying `self` and then `next` lets through.
    pub fn then(self, next: Self) -> Self {
        // Clamping commutes with clamping its ends: next(self(x)) has the ends of self, seen through next.
        let low = self.min.map(|min| next.apply(min)).or(next.min);
        let high = self.max.map(|max| next.apply(max)).or(next.max);
        Self { min: low, max: high }
    }

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// How a quantizer chooses the parameters of an operator's output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OutputParams {
    /// From the range that calibration observed.
    Observed,
    /// Those of the given input: the operator only moves values or takes the largest.
    SameAsInput(usize),
    /// Fixed by the operator, whatever is observed.
    Fixed(QuantParams),
}

/// Everything the compiler asks of an operator. No method has a default body: a missing answer is a compile error,
/// not a silent nothing.
pub trait Operator: Sized + 'static {
    /// The ONNX node types it stands for.
    const ONNX: &'static [&'static str];
    /// What the int8 kernels take.
    const CONSTRAINTS: &'static [Constraint<Self>];

    /// Types of the outputs.
    ///
    /// # Errors
    /// Where the inputs' number, shapes or element types do not fit the operator.
    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError>;

    /// The operator's meaning, in ONNX's element types: the reference executor. Deterministic: sums run in one
    /// fixed order, without fused multiply-add.
    ///
    /// # Errors
    /// Where a value, not a type, is out of range (an index, say).
    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError>;

    /// How the output's quantization parameters come about.
    fn output_params(&self) -> OutputParams {
        OutputParams::Observed
    }

    /// The range of the output as far as the operator itself limits it, met with what was observed.
    fn output_range(&self, observed: Range) -> Range {
        observed
    }

    /// The kernels that compute it on a target, with their constants, and the proof that they are exact.
    ///
    /// # Errors
    /// Where no integer kernel can.
    fn lower(
        &self,
        target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError>;

    /// Multiply-accumulates of one evaluation.
    fn macs(&self, _inputs: &[&TensorType]) -> u64 {
        0
    }
}

/// Writes the closed enum of operators and the matches that forward to each.
macro_rules! operators {
    ($($name:ident),* $(,)?) => {
        /// An operator: the closed set that the compiler knows.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "documented at each operator")]
        pub enum Op { $($name($name),)* }

        impl Op {
            /// The operator's name in the code, in text graphs and in messages.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }
            /// See [`Operator::output_types`].
            #[allow(missing_docs, clippy::missing_errors_doc, reason = "documented at the trait")]
            pub fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
                let types = match self { $(Self::$name(op) => op.output_types(inputs),)* }?;
                expect::sizes(types)
            }
            /// See [`Operator::eval`].
            #[allow(clippy::missing_errors_doc, reason = "documented at the trait")]
            pub fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
                match self { $(Self::$name(op) => op.eval(inputs),)* }
            }
            /// See [`Operator::output_params`].
            pub fn output_params(&self) -> OutputParams {
                match self { $(Self::$name(op) => op.output_params(),)* }
            }
            /// See [`Operator::output_range`].
            pub fn output_range(&self, observed: Range) -> Range {
                match self { $(Self::$name(op) => op.output_range(observed),)* }
            }
            /// See [`Operator::lower`]; unmet constraints are reported first, all of them.
            #[allow(clippy::missing_errors_doc, reason = "documented at the trait")]
            pub fn lower(
                &self,
                target: &Target,
                inputs: &[&QuantTensor],
                outputs: &[&QuantTensor],
            ) -> Result<Lowered, LowerError> {
                match self { $(Self::$name(op) => {
                    lower::meet_constraints(op, inputs)?;
                    op.lower(target, inputs, outputs)
                })* }
            }
            /// See [`Operator::macs`].
            pub fn macs(&self, inputs: &[&TensorType]) -> u64 {
                match self { $(Self::$name(op) => op.macs(inputs),)* }
            }
        }

        /// Every operator with the ONNX node types it stands for and the limits of its int8 kernels.
        pub fn supported() -> Vec<Support> {
            vec![$(Support {
                operator: stringify!($name),
                onnx: $name::ONNX,
                constraints: $name::CONSTRAINTS.iter().map(|c| c.text).collect(),
            },)*]
        }
    };
}

/// One row of the table of supported operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Support {
    /// The operator's name here.
    pub operator: &'static str,
    /// The ONNX node types it stands for.
    pub onnx: &'static [&'static str],
    /// Limits of its int8 kernels.
    pub constraints: Vec<&'static str>,
}

operators! {
    Attention,
    AveragePool,
    BatchNormalization,
    Binary,
    BitCast,
    Cast,
    Compare,
    Concat,
    Conv2d,
    Cumulate,
    ConvNd,
    Delay,
    Dense,
    DequantizeLinear,
    DequantizeTo,
    Expand,
    Gather,
    GatherElements,
    GatherNd,
    LayerNorm,
    Lookup,
    Lstm,
    MatMul,
    MaxPool,
    NarrowCast,
    NonMaxSuppression,
    NonZero,
    Pad,
    QuantizeLinear,
    Reduce,
    QuantizeTo,
    Recurrent,
    Repeat,
    Reshape,
    Select,
    Scatter,
    GridSample,
    MaxPoolIndices,
    Resample,
    RoiAlign,
    Slice,
    Softmax,
    TfIdf,
    TopK,
    Transpose,
    TreeEnsemble,
    Trilu,
    Unary,
    Unique,
}
