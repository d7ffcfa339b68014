//! What can go wrong in a run.

use crate::op::OpError;
use crate::op::tensor::TensorType;

/// Why a graph cannot be run on these inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Too few or too many inputs.
    #[error("{wanted} inputs wanted, {found} found")]
    InputCount {
        /// Inputs of the graph.
        wanted: usize,
        /// Inputs given.
        found: usize,
    },
    /// An input of another shape or element type.
    #[error("input `{name}`: {wanted} wanted, {found} found")]
    InputType {
        /// The graph's input.
        name: String,
        /// Its type.
        wanted: TensorType,
        /// The type given.
        found: TensorType,
    },
    /// A node cannot act on its inputs.
    #[error("{operator} `{node}`: {source}")]
    Node {
        /// The node.
        node: String,
        /// Its operator.
        operator: &'static str,
        /// What was wanted and found.
        source: OpError,
    },
    /// A node gives something else than the graph says.
    #[error("node `{node}` gives {found} where the graph has {wanted}")]
    OutputType {
        /// The node.
        node: String,
        /// Its output's type in the graph.
        wanted: TensorType,
        /// The type that came about.
        found: TensorType,
    },
    /// A tensor is read before anything gives it a value.
    #[error("{reader} reads `{tensor}`, which nothing before it gives")]
    Unset {
        /// The tensor.
        tensor: String,
        /// Who reads it.
        reader: String,
    },
}
