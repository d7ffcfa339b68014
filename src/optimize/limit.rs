//! How large constants may become: the one place that says it.
//!
//! Models of gigabytes stand in mapped files, of which only what is looked at takes memory. A pass that rearranges such
//! weights would copy them, so it only may as far as that stays small beside the file. What is in memory already may
//! be replaced by as much.

use super::draft::Draft;
use super::edit::Tensor;
use crate::op::tensor::Data;

/// The most bytes of one constant that is made out of mapped ones, or out of smaller ones.
const ONE_BYTES: usize = 32 << 20;
/// The most bytes in memory that constants may take beyond what the model itself brought there.
const ALL_BYTES: usize = 128 << 20;
/// What no limit is asked for.
const SMALL_BYTES: usize = 4 << 10;
/// The most bytes of mapped constants that are compared with each other.
const COMPARED_BYTES: usize = 1 << 20;
/// Multiply-accumulates (or elements, if more) that evaluating constants may cost in one run of a pass.
pub(super) const FOLD_MACS: u64 = 1 << 28;

fn bytes(graph: &Draft, tensor: Tensor) -> usize {
    graph.tensors[tensor].ty.bytes()
}

fn is_mapped(graph: &Draft, tensor: Tensor) -> bool {
    let data = graph.tensors[tensor].data.as_deref();
    data.is_some_and(|values| matches!(values.data, Data::Mapped(_)))
}

/// Whether a constant of so many bytes may be made out of constants.
pub(super) fn allows(graph: &Draft, from: &[Tensor], made: usize) -> bool {
    let replaced: usize = from
        .iter()
        .filter(|&&tensor| !is_mapped(graph, tensor))
        .map(|&tensor| bytes(graph, tensor))
        .sum();
    if made <= replaced.max(SMALL_BYTES) {
        return true;
    }
    let in_memory = || -> usize {
        let handles = graph.tensors.iter().map(|(handle, _)| handle);
        handles
            .filter(|&tensor| graph.tensors[tensor].data.is_some() && !is_mapped(graph, tensor))
            .map(|tensor| bytes(graph, tensor))
            .sum()
    };
    made <= ONE_BYTES && in_memory().saturating_add(made) <= ALL_BYTES
}

/// Whether a pass may make another constant of the same size out of this one.
pub(super) fn allows_copy(graph: &Draft, tensor: Tensor) -> bool {
    allows(graph, &[tensor], bytes(graph, tensor))
}

/// Whether a constant's elements may be compared with another's: that looks at all of them.
pub(super) fn allows_comparison(graph: &Draft, tensor: Tensor) -> bool {
    !is_mapped(graph, tensor) || bytes(graph, tensor) <= COMPARED_BYTES
}
