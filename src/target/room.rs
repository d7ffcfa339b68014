//! What is said when a memory is too small: what needs the room, and where there is more.

use super::{MemoryBank, Target};

/// The smallest plan found does not fit the bank.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "memory bank `{bank}` has {available_bytes} bytes but this model needs {needed_bytes}; the peak is at \
     `{largest_at}`, where the largest tensors are {}{}",
    sizes(.largest), way_out(.would_fit)
)]
pub struct ArenaTooSmall {
    /// The bank.
    pub bank: String,
    /// Bytes of the plan.
    pub needed_bytes: u64,
    /// Bytes of the bank.
    pub available_bytes: u64,
    /// Name of the step at the peak.
    pub largest_at: String,
    /// Names and bytes of the largest tensors alive there.
    pub largest: Vec<(String, u64)>,
    /// Built-in targets whose memories would do.
    pub would_fit: Vec<&'static str>,
}

/// The weights do not fit the bank.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "memory bank `{bank}` has {available_bytes} bytes but this model needs {needed_bytes}; the largest layers are \
     {}{}",
    sizes(.largest), way_out(.would_fit)
)]
pub struct FlashTooSmall {
    /// The bank.
    pub bank: String,
    /// Bytes of the blob, or of its constants alone where they are too many already.
    pub needed_bytes: u64,
    /// Bytes of the bank.
    pub available_bytes: u64,
    /// Names and bytes of the layers with the most constants.
    pub largest: Vec<(String, u64)>,
    /// Built-in targets whose memories would do.
    pub would_fit: Vec<&'static str>,
}

/// How many layers or tensors a message names.
const NAMED: usize = 5;

impl FlashTooSmall {
    /// The error for a blob of `needed_bytes` and an arena of `arena_bytes`; `layers` are all layers with the bytes
    /// of their constants.
    pub fn new(
        bank: &MemoryBank,
        needed_bytes: u64,
        arena_bytes: u64,
        layers: Vec<(String, u64)>,
    ) -> Box<Self> {
        Box::new(Self {
            bank: bank.name.clone(),
            needed_bytes,
            available_bytes: bank.bytes,
            largest: largest(layers),
            would_fit: Target::with_room(needed_bytes, arena_bytes),
        })
    }
}

/// The first few by size, then by their order.
pub fn largest(mut sizes: Vec<(String, u64)>) -> Vec<(String, u64)> {
    sizes.retain(|(_, bytes)| *bytes > 0);
    sizes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    sizes.truncate(NAMED);
    sizes
}

fn sizes(sizes: &[(String, u64)]) -> String {
    let sizes = sizes
        .iter()
        .map(|(name, bytes)| format!("`{name}` ({bytes} bytes)"));
    sizes.collect::<Vec<_>>().join(", ")
}

fn way_out(would_fit: &[&str]) -> String {
    if would_fit.is_empty() {
        "; none of the built-in targets has that much".to_owned()
    } else {
        format!("; it would fit {}", would_fit.join(", "))
    }
}
