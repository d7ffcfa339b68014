//! The stored form of graphs: every bit of them, in few bytes, for who computed one and wants to have it again.
//!
//! It is CBOR (RFC 8949) of the graph as the code has it, and for the same version of the code only. Constants that a
//! graph has from another, *known* one are named, not repeated.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use ciborium::{de, ser};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::verify::{VerifyError, verify};
use super::{FloatGraph, Graph, Handle, TensorInfo};

/// Why bytes are not the stored form of a graph.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// They are no CBOR of this version.
    #[error(transparent)]
    Cbor(#[from] de::Error<io::Error>),
    /// They name a constant that the known graph does not have, or a tensor that their own does not.
    #[error(
        "constant {known} of the known graph is wanted for tensor {tensor}, and one of the two is missing"
    )]
    NoConstant {
        /// Index of the tensor.
        tensor: usize,
        /// Index of the constant.
        known: usize,
    },
    /// The graph breaks a rule.
    #[error(transparent)]
    Invalid(#[from] VerifyError),
}

/// Stores a graph. Constants of the top level that equal, to the bit, the constant of the same name in `known` are left out.
///
/// # Errors
/// What `to` gives.
pub fn write<T: TensorInfo + Clone + Serialize>(
    graph: &Graph<T>,
    known: &FloatGraph,
    to: impl Write,
) -> Result<(), ser::Error<io::Error>> {
    let constants = known.tensors.iter();
    let constants =
        constants.filter_map(|(handle, tensor)| Some((&*tensor.name, (handle, tensor.data.as_ref()?))));
    let constants: HashMap<&str, _> = constants.collect();
    let mut short = graph.clone();
    let mut left_out: Vec<(usize, usize)> = Vec::new();
    for (handle, tensor) in graph.tensors.iter() {
        if let Some(data) = tensor.data()
            && let Some((known, other)) = constants.get(tensor.name())
            && (Arc::ptr_eq(data, other)
                || data.ty() == other.ty() && data.data.to_le_bytes() == other.data.to_le_bytes())
        {
            *short.tensors[handle].data_mut() = None;
            left_out.push((handle.index(), known.index()));
        }
    }
    ser::into_writer(&(short, left_out), to)
}

/// The graph that [`write()`] stored, with the same `known` graph at hand; valid by [`verify`]'s rules.
///
/// # Errors
/// See [`StoredError`].
pub fn read<T: TensorInfo + DeserializeOwned>(
    known: &FloatGraph,
    from: impl Read,
) -> Result<Graph<T>, StoredError> {
    let (mut graph, left_out): (Graph<T>, Vec<(usize, usize)>) = de::from_reader(from)?;
    let tensors: Vec<Handle<T>> = graph.tensors.handles().collect();
    let constants: Vec<_> = known.tensors.iter().map(|(_, tensor)| &tensor.data).collect();
    for (tensor, known) in left_out {
        let (Some(&handle), Some(Some(data))) = (tensors.get(tensor), constants.get(known)) else {
            return Err(StoredError::NoConstant { tensor, known });
        };
        *graph.tensors[handle].data_mut() = Some(Arc::clone(data));
    }
    verify(&graph)?;
    Ok(graph)
}

/// Writes all that decides what a graph computes, and how it is named: equal bytes, equal graphs.
///
/// # Errors
/// What `to` gives.
pub fn fingerprint<T: Serialize>(graph: &Graph<T>, to: impl Write) -> Result<(), ser::Error<io::Error>> {
    ser::into_writer(graph, to)
}
