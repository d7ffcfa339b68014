//! Schedule: a quantized graph becomes a program for a target.
//!
//! [`run`] is the list: kernels for every node, views instead of copies, an order, live ranges, outputs in the place
//! of their sources, a memory plan, records bound to it, predicted cost; and at the end [`check`], which shares no
//! code with all that and proves the program right against the graph.
//!
//! Choosing how a node is computed is the operator's own ([`crate::op::Operator::lower`]).

mod bind;
mod bodies;
pub mod check;
mod constants;
pub mod cost;
mod draft;
pub mod edges;
mod error;
mod guards;
mod live;
mod lower;
mod nest;
mod order;
pub mod plan;
mod tasks;
mod views;

pub use bodies::ready;
pub use error::{InexactNode, ScheduleError};

use crate::ir::{Program, QuantGraph};
use crate::op::Lowered;
use crate::target::Target;
use edges::Edges;

/// The layout of tensors at the program's edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoLayout {
    /// The ONNX model's own.
    #[default]
    Keep,
    /// Channels last: the transposes behind inputs and before outputs are left to the caller.
    ChannelsLast,
}

/// What the user may wish for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The layout of tensors at the program's edge.
    pub io_layout: IoLayout,
    /// Takes nodes that cannot be proven exact too; they are still listed in the program's proofs.
    pub allow_inexact: bool,
    /// The most instructions that one run may be predicted to take.
    pub most_instructions: Option<u64>,
}

/// The program that computes `graph` on `target`.
///
/// # Errors
/// Where nodes have no integer kernel or no exact one (all of them are listed), and where the target's memories are
/// too small.
pub fn run(target: &Target, graph: &QuantGraph, options: &Options) -> Result<Program, ScheduleError> {
    let graph = &ready(graph);
    let edges = edges::find(graph, options.io_layout);
    let lowered = lower::nodes(target, graph, &edges, options.allow_inexact)?;
    let program = with_kernels(target, graph, &edges, &lowered)?;
    match (options.most_instructions, program.instructions()) {
        (Some(most), predicted) if predicted > most => Err(ScheduleError::TooSlow { predicted, most }),
        _ => Ok(program),
    }
}

/// The program of a graph whose bodies are [`ready`] and whose nodes have their kernels: all of [`run`] but the
/// lowering.
///
/// # Errors
/// Where the target's memories are too small.
pub fn with_kernels(
    target: &Target,
    graph: &QuantGraph,
    edges: &Edges,
    lowered: &[Lowered],
) -> Result<Program, ScheduleError> {
    // Views, order, live ranges, in-place outputs and the memory plan depend on each other: the smallest draft wins.
    let nest = nest::draft(target, graph, edges, lowered);
    let program = bind::program(target, &nest, edges, lowered)?;
    check::program(target, graph, lowered, &program)?;
    Ok(program)
}
