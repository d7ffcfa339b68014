//! A draft: one way to run the graph, with its storages placed. The smallest becomes the program.

use super::edges::Edges;
use super::plan::{self, Block, Placement};
use super::tasks::{Task, Tasks};
use super::views::{self, Storage, Views};
use super::{live, order, tasks};
use crate::ir::{LiveRange, QuantGraph};
use crate::op::Lowered;
use crate::target::Target;

/// How many joins are reconsidered one by one. Each costs a plan of the whole graph.
const JOINS_RECONSIDERED: usize = 16;

/// One way to run the graph.
pub(super) struct Draft {
    /// Kernel calls, in order.
    pub(super) tasks: Vec<Task>,
    /// Where the tensors lie.
    pub(super) storage: Storage,
    /// The storages that hold something: index of the tensor that owns each, and its live range.
    pub(super) owners: Vec<(usize, LiveRange)>,
    /// Their offsets, and the bytes of all. The state region is not among them.
    pub(super) placement: Placement,
    /// The largest live set, and the step where it is.
    pub(super) peak: (u64, usize),
    /// Whether no order of the tasks has a smaller largest live set.
    pub(super) all_orders: bool,
}

/// The smallest draft: all joins, or fewer where that needs less memory.
pub(super) fn smallest(target: &Target, graph: &QuantGraph, edges: &Edges, lowered: &[Lowered]) -> Draft {
    let mut joined = views::joins(lowered);
    let mut best = with_joins(target, graph, edges, lowered, &joined);
    for node in joined.clone().into_iter().take(JOINS_RECONSIDERED) {
        let fewer: Vec<usize> = joined.iter().copied().filter(|&other| other != node).collect();
        let draft = with_joins(target, graph, edges, lowered, &fewer);
        if draft.placement.bytes < best.placement.bytes {
            best = draft;
            joined = fewer;
        }
    }
    best
}

fn with_joins(
    target: &Target,
    graph: &QuantGraph,
    edges: &Edges,
    lowered: &[Lowered],
    joined: &[usize],
) -> Draft {
    let views = views::take(graph, edges, lowered, joined);
    let tasks = tasks::list(graph, edges, lowered, &views);
    let orders = order::choose(&tasks);
    let all_orders = orders.iter().any(|order| order.is_best);
    let elsewhere: Vec<usize> = edges.elsewhere.iter().map(|tensor| tensor.index()).collect();
    let drafts = orders
        .into_iter()
        .map(|order| in_order(target, graph, &elsewhere, &views, &tasks, &order.sequence));
    let best = drafts
        .min_by_key(|draft| draft.placement.bytes)
        .expect("the graph's own order is among them");
    Draft { all_orders, ..best }
}

fn in_order(
    target: &Target,
    graph: &QuantGraph,
    elsewhere: &[usize],
    views: &Views,
    tasks: &Tasks,
    sequence: &[usize],
) -> Draft {
    let mut storage = views.storage.clone();
    let mut ranges = live::ranges(tasks, sequence);
    live::take_over(tasks, sequence, &mut storage, &mut ranges);
    let owners: Vec<(usize, LiveRange)> = ranges
        .iter()
        .enumerate()
        .filter_map(|(owner, range)| Some((owner, (*range)?)))
        .filter(|(owner, _)| !elsewhere.contains(owner))
        .collect();
    let mut align = vec![u64::from(target.lanes.tensor_align()); graph.tensors.len()];
    for (tensor, held) in graph.tensors.iter() {
        // Whatever lies in a storage starts at a multiple of its element, so that callers may view it as such.
        let owner = storage.place(tensor.index()).root;
        align[owner] = align[owner].max(held.ty.dtype.bytes() as u64);
    }
    let blocks: Vec<Block> = owners
        .iter()
        .map(|&(owner, live)| Block {
            bytes: storage.bytes(owner),
            live,
            align: align[owner],
        })
        .collect();
    Draft {
        tasks: sequence.iter().map(|&task| tasks.tasks[task].clone()).collect(),
        storage,
        owners,
        placement: plan::place(&blocks),
        peak: plan::largest_live_set(&blocks),
        all_orders: false,
    }
}
