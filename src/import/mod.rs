//! Import: the bytes of an ONNX file become a [`FloatGraph`]. The only place that names protobuf types.
//!
//! What leaves here has static shapes, resolved attributes and channels-last images:
//!
//! - Every symbolic dimension has its number: the first axis of an input (the batch) is 1 unless told otherwise.
//! - Arithmetic on shapes is done: a node whose inputs are all constant is evaluated on the spot. Only
//!   `DequantizeLinear` of a constant stays, because it says that the model is quantized.
//! - Convolutions, pools and batch normalization stand between transposes from and to ONNX's channels-first layout;
//!   one-dimensional ones have images of height 1. Removing those transposes is [`crate::optimize`]'s work.
//! - What ONNX writes in several ways (attributes or inputs, negative axes, `auto_pad`, `Gemm`) has one form.
//! - Nodes that no output depends on are gone.
//!
//! All problems of a model are reported at once: a node that cannot be taken leaves its outputs unknown, and nodes
//! that read those are passed over in silence, but for operators that are unknown themselves. Any bytes give a graph
//! or an error; nothing is allocated that the file's own size does not justify.
//!
//! Weights in files beside the model stay there: whoever calls hands in the files, mapped into memory.
//!
//! Functions of the model are inlined. Control flow ends here as far as it is known: the branch that is taken, the
//! iterations of a short loop; a longer one becomes a node that repeats a body. Sequences and optional values are lists of tensors that only import sees.
//!
//! Not read: sparse tensors.

mod attrs;
mod builder;
mod control;
mod encodings;
mod external;
mod formula;
mod function;
mod heads;
mod inputs;
mod labels;
mod layout;
mod metadata;
mod model;
mod node;
mod ops;
mod outputs;
mod schema;
mod scope;
mod sequence;
mod tensors;
mod weigh;
mod weights;

use std::collections::BTreeMap;
use std::sync::Arc;

use tinsmith_proto::{Message, ModelProto, TensorProto};

use crate::ir::{FloatGraph, Problem};
use crate::op::OpError;
use crate::op::tensor::Values;

pub use encodings::{Encodings, EncodingsError};
pub use external::{FileBytes, Folder};
pub use ops::operators;
pub use weights::Weights;

/// What the model leaves open.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Numbers for symbolic dimensions, by name.
    pub dims: BTreeMap<String, usize>,
    /// Whole shapes of inputs, by name.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Values of inputs that are known now, by name: those inputs are constants then. What decides shapes must be known.
    pub values: BTreeMap<String, Values>,
    /// The most elements that a node may find whose count depends on data (`NonZero`, `Compress`, `Unique`), or the most
    /// iterations of a `Loop`, by its name.
    pub bounds: BTreeMap<String, usize>,
    /// Unrolls every loop that there is room for, not only small ones: for what has no loop step, as int8.
    pub unroll: bool,
    /// Where the model's external data are; without it, those are refused.
    pub folder: Option<Arc<dyn Folder>>,
    /// Weights that take the place of the initializers of their names.
    pub weights: Vec<Weights>,
    /// Parameters by which a float model is quantized.
    pub encodings: Option<Encodings>,
}

/// Why bytes are no model that can be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The bytes are not the protobuf encoding of a model; truncated files end here as well.
    #[error("not an ONNX file, or a damaged one: {reason}")]
    NotProtobuf {
        /// What the decoder stumbled over.
        reason: String,
    },
    /// Larger than any protobuf message.
    #[error("an ONNX file of at most 2 GiB wanted, {bytes} bytes found")]
    TooLarge {
        /// The file's size.
        bytes: usize,
    },
    /// A file of very many small parts.
    #[error("nodes and attributes in proportion to the file wanted; it has {nodes} nodes or more")]
    TooMuch {
        /// Nodes found so far.
        nodes: usize,
    },
    /// Protobuf, but without a graph.
    #[error("the file holds no ONNX graph")]
    NoGraph,
    /// The model breaks ONNX's rules or uses what is not supported: all that was found.
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
}

/// The most bytes of a protobuf message. Larger models have their weights in files beside them.
pub const MAX_FILE_BYTES: usize = i32::MAX as usize;

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Reads a model.
///
/// # Errors
/// Where the bytes are no ONNX model, or one with problems: then all of them.
pub fn onnx(bytes: &[u8], options: &Options) -> Result<FloatGraph, ImportError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(ImportError::TooLarge { bytes: bytes.len() });
    }
    weigh::weigh(bytes)?;
    let model = ModelProto::decode(bytes).map_err(|error| not_protobuf(&error.to_string()))?;
    model::import(model, bytes.len(), options)
}

/// The decoder's words, but where it lists every level of what is nested too deep for it.
fn not_protobuf(reason: &str) -> ImportError {
    let reason = if reason.contains("recursion limit") {
        "graphs nested too deep"
    } else {
        reason
    };
    ImportError::NotProtobuf {
        reason: reason.into(),
    }
}

/// Reads one tensor: the bytes of a `TensorProto`, as ONNX's own test data has them.
///
/// # Errors
/// Where the bytes are no tensor of numbers or Booleans with its values inside.
pub fn tensor(bytes: &[u8]) -> Result<Values, OpError> {
    let tensor =
        TensorProto::decode(bytes).map_err(|error| OpError::new(format!("not a tensor: {error}")))?;
    tensors::values(&tensor, &mut external::External::default())
}
