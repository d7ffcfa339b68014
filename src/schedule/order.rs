//! The order of tasks: one whose largest simultaneous live set is small.
//!
//! The graph's own order is the baseline. A search over the sets of finished tasks looks for a better one: a state is
//! a set, a step to the next state finishes one task that is ready, and the cost of a path is the largest live set on
//! it. States are visited by cost, then by how far they are, so that the first complete one is the best. Chains and
//! residual blocks have few such sets; where there are more than [`STATE_LIMIT`], a greedy order competes with the
//! baseline instead.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::tasks::{Held, Tasks};

/// States after which the search gives up.
const STATE_LIMIT: usize = 20_000;

/// An order of all tasks.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// Tasks, first to last.
    pub(super) sequence: Vec<usize>,
    /// Whether no order has a smaller largest live set.
    pub(super) is_best: bool,
}

/// The set of finished tasks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finished(Vec<u64>);

impl Finished {
    fn contains(&self, task: usize) -> bool {
        self.0[task / 64] >> (task % 64) & 1 == 1
    }

    fn with(&self, task: usize) -> Self {
        let mut bits = self.0.clone();
        bits[task / 64] |= 1 << (task % 64);
        Self(bits)
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|&bits| bits == 0)
    }
}

impl Tasks {
    fn nothing_finished(&self) -> Finished {
        Finished(vec![0; self.tasks.len().div_ceil(64)])
    }

    fn is_ready(&self, finished: &Finished, task: usize) -> bool {
        !finished.contains(task) && self.tasks[task].needs.iter().all(|&need| finished.contains(need))
    }

    /// Whether something lies in a storage between two tasks, and is still wanted.
    fn is_alive(&self, held: &Held, finished: &Finished) -> bool {
        let started = held.input || held.writers.iter().any(|&writer| finished.contains(writer));
        // Every input is there before the first task, even one that nobody reads.
        let wanted = held.output
            || (held.input && finished.is_empty())
            || held
                .readers
                .iter()
                .chain(&held.writers)
                .any(|&task| !finished.contains(task));
        started && wanted
    }

    /// Bytes alive while `task` runs after `finished`.
    fn alive_at(&self, finished: &Finished, task: usize) -> u64 {
        let alive = |held: &&Held| self.is_alive(held, finished);
        let before: u64 = self.held.iter().filter(alive).map(|held| held.bytes).sum();
        let output = &self.held[self.tasks[task].writes];
        let may_take_over = &self.tasks[task].may_take_over;
        let takes_over = may_take_over
            .iter()
            .any(|&root| self.dies_at(root, finished, task));
        if self.is_alive(output, finished) || takes_over {
            before
        } else {
            before + output.bytes
        }
    }

    /// Whether `task` is the only one that still reads or writes storage `root`.
    fn dies_at(&self, root: usize, finished: &Finished, task: usize) -> bool {
        let mut uses = self.held[root].readers.iter().chain(&self.held[root].writers);
        uses.all(|&other| other == task || finished.contains(other))
    }

    /// The largest live set of a whole order.
    fn peak(&self, sequence: &[usize]) -> u64 {
        let mut finished = self.nothing_finished();
        let mut peak = 0;
        for &task in sequence {
            peak = peak.max(self.alive_at(&finished, task));
            finished = finished.with(task);
        }
        peak
    }
}

/// The graph's order, or a better one.
pub(super) fn choose(tasks: &Tasks) -> Vec<Order> {
    let baseline: Vec<usize> = (0..tasks.tasks.len()).collect();
    let baseline_peak = tasks.peak(&baseline);
    match search(tasks, baseline_peak) {
        Search::NothingBetter => vec![Order {
            sequence: baseline,
            is_best: true,
        }],
        // The graph's own order stays in the race: a smaller live set may be harder to place.
        Search::Found(sequence) => vec![
            Order {
                sequence: baseline,
                is_best: false,
            },
            Order {
                sequence,
                is_best: true,
            },
        ],
        Search::TooManyStates => {
            let mut orders = vec![Order {
                sequence: baseline,
                is_best: false,
            }];
            let sequence = greedy(tasks);
            if tasks.peak(&sequence) < baseline_peak {
                orders.push(Order {
                    sequence,
                    is_best: false,
                });
            }
            orders
        }
    }
}

enum Search {
    /// No order has a smaller peak than the baseline.
    NothingBetter,
    /// An order of the smallest peak.
    Found(Vec<usize>),
    /// Undecided.
    TooManyStates,
}

/// Looks for an order with a smaller peak than `limit`.
fn search(tasks: &Tasks, limit: u64) -> Search {
    let n = tasks.tasks.len();
    let start = tasks.nothing_finished();
    // For every set reached: its cost, and the set and task it was reached from.
    let mut reached: BTreeMap<Finished, (u64, Option<usize>)> = BTreeMap::from([(start.clone(), (0, None))]);
    let mut open = BinaryHeap::from([Reverse((0u64, n, start))]);
    while let Some(Reverse((cost, left, finished))) = open.pop() {
        if left == 0 {
            return Search::Found(walk_back(&reached, finished, n));
        }
        if reached.get(&finished).is_some_and(|&(best, _)| best < cost) {
            continue;
        }
        for task in (0..n).filter(|&task| tasks.is_ready(&finished, task)) {
            let cost = cost.max(tasks.alive_at(&finished, task));
            let next = finished.with(task);
            if cost >= limit || reached.get(&next).is_some_and(|&(best, _)| best <= cost) {
                continue;
            }
            if reached.len() >= STATE_LIMIT {
                return Search::TooManyStates;
            }
            reached.insert(next.clone(), (cost, Some(task)));
            open.push(Reverse((cost, left - 1, next)));
        }
    }
    Search::NothingBetter
}

/// The tasks on the way to a state, first to last.
fn walk_back(
    reached: &BTreeMap<Finished, (u64, Option<usize>)>,
    mut state: Finished,
    n: usize,
) -> Vec<usize> {
    let mut sequence = Vec::with_capacity(n);
    while let Some(&(_, Some(task))) = reached.get(&state) {
        sequence.push(task);
        state.0[task / 64] &= !(1 << (task % 64));
    }
    sequence.reverse();
    sequence
}

/// Takes, of the tasks that are ready, the one that leaves least alive; among equals the one that needs least while
/// it runs, then the graph's first.
fn greedy(tasks: &Tasks) -> Vec<usize> {
    let n = tasks.tasks.len();
    let mut finished = tasks.nothing_finished();
    let mut sequence = Vec::with_capacity(n);
    while sequence.len() < n {
        let ready = (0..n).filter(|&task| tasks.is_ready(&finished, task));
        let cost = |&task: &usize| {
            let after = finished.with(task);
            let left = tasks.held.iter().filter(|held| tasks.is_alive(held, &after));
            (
                left.map(|held| held.bytes).sum::<u64>(),
                tasks.alive_at(&finished, task),
                task,
            )
        };
        let task = ready
            .min_by_key(cost)
            .expect("a graph without cycles has a task that is ready");
        finished = finished.with(task);
        sequence.push(task);
    }
    sequence
}
