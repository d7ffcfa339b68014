//! Live ranges of storages under an order, and outputs that take the place of a source.

use super::tasks::Tasks;
use super::views::{Place, Storage};
use crate::ir::LiveRange;

/// The steps during which each storage holds something that is wanted; `None` for unused ones. Inputs are there from
/// the first step on, outputs until the last.
pub(super) fn ranges(tasks: &Tasks, sequence: &[usize]) -> Vec<Option<LiveRange>> {
    let mut step_of = vec![0; sequence.len()];
    for (step, &task) in sequence.iter().enumerate() {
        step_of[task] = step;
    }
    let last_step = sequence.len().saturating_sub(1);
    let held = tasks.held.iter();
    held.map(|held| {
        held.is_used().then(|| {
            let written = held.writers.iter().map(|&task| step_of[task]);
            let read = held.readers.iter().map(|&task| step_of[task]);
            let first = if held.input {
                0
            } else {
                written.clone().min().unwrap_or(0)
            };
            let last = if held.output {
                last_step
            } else {
                written.chain(read).max().unwrap_or(0)
            };
            LiveRange { first, last }
        })
    })
    .collect()
}

/// Lets outputs take the place of a source that dies with the step, and joins their live ranges.
pub(super) fn take_over(
    tasks: &Tasks,
    sequence: &[usize],
    storage: &mut Storage,
    ranges: &mut [Option<LiveRange>],
) {
    for (step, &task) in sequence.iter().enumerate() {
        let task = &tasks.tasks[task];
        let dies = |&&root: &&usize| {
            let owner = storage.place(root).root;
            ranges[owner].is_some_and(|range| range.last == step)
        };
        let Some(&source) = task.may_take_over.iter().find(dies) else {
            continue;
        };
        // What the source lay in lies in the output from now on, so that the youngest tensor owns the storage.
        let owner = storage.place(source).root;
        let (Some(old), Some(new)) = (ranges[owner], ranges[task.writes]) else {
            continue;
        };
        storage.put(
            owner,
            Place {
                root: task.writes,
                offset: 0,
            },
        );
        ranges[owner] = None;
        ranges[task.writes] = Some(LiveRange {
            first: old.first.min(new.first),
            last: old.last.max(new.last),
        });
    }
}
