//! Why a quantized graph cannot become a program for a target.

use super::check::CheckError;
use crate::ir::Problem;
use crate::target::{ArenaTooSmall, FlashTooSmall};

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
    /// One run is predicted to take too long.
    #[error("{predicted} instructions are predicted for an inference, and at most {most} are wanted")]
    TooSlow {
        /// Instructions of all steps.
        predicted: u64,
        /// The most that were wished.
        most: u64,
    },
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
