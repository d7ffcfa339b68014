//! What lowering an operator yields: kernel calls with their constants, views, and the proof of exactness.

use tinsmith_runtime::kernels::Layer;

use super::quant::QuantTensor;
use super::tensor::TensorType;
use super::{OpError, Operator};

/// Where a kernel's source lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// The node's input of this index, from this byte on.
    Input {
        /// Index among the node's inputs.
        index: usize,
        /// First byte read.
        byte_offset: usize,
    },
    /// What an earlier call of the same node wrote to its output.
    Output,
    /// Bytes of the constants section.
    Constant(Vec<u8>),
}

/// One kernel call: a record of the runtime whose offsets the scheduler fills in.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelCall {
    /// The record; its source, output, constants and state offsets are still zero.
    pub layer: Layer,
    /// The sources, in the record's order.
    pub sources: Vec<Operand>,
    /// First byte of the node's output that the record's `ofm` names.
    pub ofm_byte_offset: usize,
    /// The constants block (weights, biases, tables); empty for none.
    pub constants: Vec<u8>,
    /// Bytes of the constants block that are padding or packing, not information.
    pub padding_bytes: usize,
    /// Bytes of the state region it keeps between runs.
    pub state_bytes: usize,
    /// Indices into `sources` whose region may be the output's own.
    pub in_place: Vec<usize>,
}

impl Operand {
    /// All of a node's input of this index, from the constants section where it is a constant.
    pub(super) fn of_input(index: usize, tensor: &QuantTensor) -> Self {
        match &tensor.data {
            Some(values) => Self::Constant(values.data.to_le_bytes()),
            None => Self::Input {
                index,
                byte_offset: 0,
            },
        }
    }
}

impl KernelCall {
    /// A call that writes its node's output from the first byte on, keeps no state and works apart from its sources.
    pub(super) fn new(layer: Layer, sources: Vec<Operand>, constants: Vec<u8>) -> Self {
        Self {
            layer,
            sources,
            ofm_byte_offset: 0,
            constants,
            padding_bytes: 0,
            state_bytes: 0,
            in_place: Vec::new(),
        }
    }
}

/// How an output can be had without a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// The output is input 0 from this byte on.
    OfInput {
        /// First byte.
        byte_offset: usize,
    },
    /// The output is its inputs, one after the other: they may be written straight into it, from these bytes on.
    JoinsInputs {
        /// First byte of each input within the output.
        byte_offsets: Vec<usize>,
    },
}

/// What the compiler proved about a node's rescales, and what it could not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proof {
    /// Channels (or whole elementwise operators) whose integers equal ONNX's meaning, ties toward +∞.
    pub up: usize,
    /// The same with ties to even.
    pub even: usize,
    /// Channels whose nearest multiplier was not exact, and another one is.
    pub moved: usize,
    /// Channels without an exact form.
    pub inexact: Vec<InexactChannel>,
}

/// A channel for which no multiplier and form agree with exact rounding on every reachable accumulator.
#[derive(Clone, Debug, PartialEq)]
pub struct InexactChannel {
    /// Index of the output channel.
    pub channel: usize,
    /// The real factor.
    pub factor: f64,
}

impl Proof {
    /// Adds another proof's counts.
    pub fn merge(&mut self, other: Self) {
        self.up += other.up;
        self.even += other.even;
        self.moved += other.moved;
        self.inexact.extend(other.inexact);
    }
}

/// The kernels of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lowered {
    /// The calls that compute the output, in order. Always there, even where a view would do.
    pub calls: Vec<KernelCall>,
    /// How the scheduler may do without them.
    pub view: Option<View>,
    /// The proof of exactness.
    pub proof: Proof,
    /// Of a loop: the kernels of its body's nodes. Its own calls are one per carried value, which writes the output of
    /// that number, and the step in front of the body.
    pub body: Vec<Self>,
}

impl Lowered {
    /// Which of the node's outputs a call writes.
    pub fn output_of(&self, call: usize) -> usize {
        if self.body.is_empty() { 0 } else { call }
    }

    /// One call and its proof.
    pub(super) fn one(call: KernelCall, proof: Proof) -> Self {
        Self {
            calls: vec![call],
            proof,
            ..Self::default()
        }
    }
}

/// Why an operator has no integer kernel here: one or more unmet limits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct LowerError(pub Vec<OpError>);

impl From<OpError> for LowerError {
    fn from(error: OpError) -> Self {
        Self(vec![error])
    }
}

/// Reports every constraint of `op` that its inputs do not meet.
pub(super) fn meet_constraints<O: Operator>(op: &O, inputs: &[&QuantTensor]) -> Result<(), LowerError> {
    let kind = if inputs.first().is_some_and(|input| input.is_real()) {
        "f32"
    } else if inputs.first().is_some_and(|input| input.is_wide()) {
        "int16"
    } else {
        "int8"
    };
    let types: Vec<&TensorType> = inputs.iter().map(|tensor| &tensor.ty).collect();
    let unmet: Vec<OpError> = O::CONSTRAINTS
        .iter()
        .filter(|constraint| !(constraint.holds)(op, &types))
        .map(|constraint| OpError::new(format!("{kind} needs that {}", constraint.text)))
        .collect();
    if unmet.is_empty() {
        Ok(())
    } else {
        Err(LowerError(unmet))
    }
}
