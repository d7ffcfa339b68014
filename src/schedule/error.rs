//! Why a quantized graph cannot become a program for a target.

use super::check::CheckError;
use crate::ir::Problem;
use crate::target::{MemoryBank, Target};

/// Why a quantized graph cannot become a program for a target.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// Nodes without an integer kernel, all of them.
    #[error("{} of the model cannot be compiled: {}", count(.0.len(), "node"), list(.0))]
    Unsupported(Vec<Problem>),
    /// Nodes whose integers cannot be proven to mean what ONNX means, all of them.
    #[error("no exact fixed-point form for {}: {}", count(.0.len(), "node"), list(.0))]
    Inexact(Vec<InexactNode>),
    /// The smallest plan found does not fit the bank.
    #[error(transparent)]
    ArenaTooSmall(#[from] Box<ArenaTooSmall>),
    /// The weights do not fit the bank.
    #[error(transparent)]
    FlashTooSmall(#[from] Box<FlashTooSmall>),
    /// The program contradicts its graph: a bug of the scheduler.
    #[error("the checker refuses the schedule, which is a bug of the compiler: {0}")]
    Check(#[from] CheckError),
}

/// A node with channels for which no multiplier and form are exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InexactNode {
    /// The ONNX node's name.
    pub node: String,
    /// Output channels.
    pub channels: Vec<usize>,
}

impl std::fmt::Display for InexactNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let channels: Vec<String> = self.channels.iter().map(ToString::to_string).collect();
        let word = if channels.len() == 1 {
            "channel"
        } else {
            "channels"
        };
        write!(f, "`{}`, {word} {}", self.node, channels.join(" "))
    }
}

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
pub(super) fn largest(mut sizes: Vec<(String, u64)>) -> Vec<(String, u64)> {
    sizes.retain(|(_, bytes)| *bytes > 0);
    sizes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    sizes.truncate(NAMED);
    sizes
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

fn list(items: &[impl ToString]) -> String {
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
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
