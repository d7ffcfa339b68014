//! A scheduled program: steps with their records bound to a memory plan.

use std::collections::BTreeSet;

use tinsmith_runtime::format::Window;
use tinsmith_runtime::format::metadata::Layout;
use tinsmith_runtime::kernels::Layer;

use super::{Arena, Handle};
use crate::op::Proof;
use crate::op::quant::Quantization;
use crate::op::tensor::{DType, Shape, TensorType};

/// The steps during which a buffer holds something: written at `first` (or an input: 0), last read at `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveRange {
    /// First step.
    pub first: usize,
    /// Last step, inclusive.
    pub last: usize,
}

impl LiveRange {
    /// Whether the two share a step.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// A region of the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Name of the tensor it was made for.
    pub name: String,
    /// Bytes needed.
    pub bytes: u32,
    /// When it is needed.
    pub live: LiveRange,
    /// First byte within the arena.
    pub offset: u32,
    /// Kept from run to run: part of the state region.
    pub state: bool,
}

/// Bytes of a buffer that a step reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The buffer.
    pub buffer: Handle<Buffer>,
    /// First byte within it.
    pub offset: u32,
    /// Bytes.
    pub bytes: u32,
}

/// A condition without which a step rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepGuard {
    /// Where the condition lies.
    pub access: Access,
    /// How it has to turn out for the step to run.
    pub when: bool,
}

/// One kernel call.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Name of the ONNX node that produces the output.
    pub name: String,
    /// Position of that node in the QuantGraph, or in the body that it belongs to.
    pub node: usize,
    /// Which of the node's kernel calls it is.
    pub call: usize,
    /// The runtime's record, all offsets filled in.
    pub layer: Layer,
    /// Arena regions read, in the record's order; `None` where the source is a constant.
    pub reads: Vec<Option<Access>>,
    /// Arena region written.
    pub write: Access,
    /// State region used.
    pub state: Option<Access>,
    /// The step in front of the body that it belongs to; the innermost, if several.
    pub within: Option<usize>,
    /// Of a step in front of a body: where the body's inputs lie, in their order. Empty for all others.
    pub body: Vec<Access>,
    /// Conditions that must all turn out as they say for it to run.
    pub guards: Vec<StepGuard>,
    /// Multiply-accumulates; in a body, as often as it may run.
    pub macs: u64,
    /// Instructions that the target's cost figures predict; in a body, as often as it may run.
    pub instructions: u64,
}

/// An input or output of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// The ONNX name.
    pub name: String,
    /// Shape and stored element type at the blob's edge.
    pub ty: TensorType,
    /// What the stored numbers mean.
    pub quantization: Quantization,
    /// The element type that the ONNX model has here: a float type where hosts quantize for the user.
    pub model_dtype: DType,
    /// Whether a transpose was left to the caller (`--io-layout channels-last`).
    pub layout: Layout,
    /// The ONNX model's shape: another one where a transpose was left to the caller (`--io-layout channels-last`).
    pub onnx_shape: Shape,
    /// Where it lies.
    pub access: Access,
}

/// The memory plan's argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Bytes of arena, alignment padding included.
    pub arena_bytes: u32,
    /// No plan can need less: the state and the largest simultaneous live set.
    pub lower_bound_bytes: u32,
    /// Whether the bound holds over all orders of the operators, not only for the one chosen: the search for an
    /// order ran to its end.
    pub all_orders: bool,
    /// Name of the step at the peak.
    pub peak_at: String,
    /// Names and bytes of the buffers alive there.
    pub at_peak: Vec<(String, u32)>,
    /// Arena offset of the state region.
    pub state_offset: u32,
    /// Bytes of the state region.
    pub state_bytes: u32,
}

/// What the runtime executes.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The model's name.
    pub name: String,
    /// Regions of the arena.
    pub buffers: Arena<Buffer>,
    /// Kernel calls in order.
    pub steps: Vec<Step>,
    /// What the caller writes.
    pub inputs: Vec<Port>,
    /// What the caller reads.
    pub outputs: Vec<Port>,
    /// The constants section.
    pub constants: Vec<u8>,
    /// Bytes of it that are alignment or packing padding.
    pub padding_bytes: usize,
    /// The plan.
    pub plan: MemoryPlan,
    /// The proof of exactness over all steps, by node name.
    pub proofs: Vec<(String, Proof)>,
}

impl Program {
    /// Instructions that are predicted for one run: those of all steps.
    pub fn instructions(&self) -> u64 {
        self.steps.iter().map(|step| step.instructions).sum()
    }
}

/// Bytes of a program's constants that carry information.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredBytes {
    /// Weights of convolutions and dense layers.
    pub weights: usize,
    /// Bias, multiplier and shift of their output channels, and the factors of their blocks.
    pub channels: usize,
}

impl Program {
    /// What the products' constants take. Blocks that several steps share count once.
    pub fn stored_bytes(&self) -> StoredBytes {
        /// Bytes of a weight, and of the bias, multiplier and shift of a channel.
        const INT8: (usize, usize) = (1, 9);
        /// The same of int16 activations whose factors need divisors or more bits.
        const WIDE: (usize, usize) = (1, 21);
        /// The same of reals, which have a bias alone.
        const REAL: (usize, usize) = (4, 4);
        let taps = |window: &Window| usize::from(window.kernel_h) * usize::from(window.kernel_w);
        let mut seen = BTreeSet::new();
        let mut stored = StoredBytes::default();
        for step in &self.steps {
            let (block, inputs, outputs, width) = match &step.layer {
                Layer::Conv2d(r) => (
                    r.constants,
                    taps(&r.window) * usize::from(r.in_c / r.groups),
                    r.out_c.into(),
                    INT8,
                ),
                Layer::DepthwiseConv2d(r) => (r.0.constants, taps(&r.0.window), r.0.out_c.into(), INT8),
                Layer::Dense(r) => (r.constants, r.in_features as usize, r.out_features as usize, INT8),
                Layer::Conv2dF32(r) => (
                    r.constants,
                    taps(&r.window) * usize::from(r.in_c) / r.groups as usize,
                    r.out_c.into(),
                    REAL,
                ),
                Layer::ConvNd(r) => (
                    r.constants,
                    r.window.kernel.iter().map(|&k| usize::from(k)).product::<usize>() * r.in_c as usize
                        / r.groups as usize,
                    r.out_c as usize,
                    INT8,
                ),
                Layer::Conv16(r) => (
                    r.constants,
                    r.window.kernel.iter().map(|&k| usize::from(k)).product::<usize>() * r.in_c as usize
                        / r.groups as usize,
                    r.out_c as usize,
                    if r.wide == 0 { INT8 } else { WIDE },
                ),
                Layer::DenseInt4(r) => (
                    r.constants,
                    r.row_bytes() as usize,
                    r.out_features as usize,
                    (INT8.0, INT8.1 + r.blocks_of_row() as usize),
                ),
                Layer::DenseF32(r) => (r.constants, r.in_features as usize, r.out_features as usize, REAL),
                Layer::Add(_)
                | Layer::Mul(_)
                | Layer::Table(_)
                | Layer::MaxPool(_)
                | Layer::AveragePool(_)
                | Layer::Softmax(_)
                | Layer::StridedCopy(_)
                | Layer::Fill(_)
                | Layer::Delay(_)
                | Layer::Quantize(_)
                | Layer::Dequantize(_)
                | Layer::BinaryF32(_)
                | Layer::UnaryF32(_)
                | Layer::MaxPoolF32(_)
                | Layer::AveragePoolF32(_)
                | Layer::SoftmaxF32(_)
                | Layer::ConvNdF32(_)
                | Layer::MaxPoolIndicesF32(_)
                | Layer::ResampleF32(_)
                | Layer::GridSampleF32(_)
                | Layer::RoiAlignF32(_)
                | Layer::FillF32(_)
                | Layer::RecurrentF32(_)
                | Layer::FunctionF32(_)
                | Layer::PowerF32(_)
                | Layer::Compare(_)
                | Layer::BinaryInteger(_)
                | Layer::Select(_)
                | Layer::Convert(_)
                | Layer::MinMax(_)
                | Layer::PRelu(_)
                | Layer::Div(_)
                | Layer::Resample(_)
                | Layer::MatMul(_)
                | Layer::ReduceF32(_)
                | Layer::MatMulF32(_)
                | Layer::AttentionF32(_)
                | Layer::LayerNorm(_)
                | Layer::Lstm(_)
                | Layer::Binary16(_)
                | Layer::Pool16(_)
                | Layer::Rescale16(_)
                | Layer::Function16(_)
                | Layer::Quantize16(_)
                | Layer::Dequantize16(_)
                | Layer::LayerNormF32(_)
                | Layer::GatherRows(_)
                | Layer::GatherElements(_)
                | Layer::Scatter(_)
                | Layer::Rank(_)
                | Layer::CumulateF32(_)
                | Layer::NonMaxSuppressionF32(_)
                | Layer::NonZero(_)
                | Layer::Repeat(_) => continue,
            };
            if seen.insert(block) {
                stored.weights += width.0 * inputs * outputs;
                stored.channels += width.1 * outputs;
            }
        }
        stored
    }
}
