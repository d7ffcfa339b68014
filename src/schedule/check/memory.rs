//! Symbolic memory: what every byte of the arena is worth.

use std::ops::Range;

use super::value::Value;

/// The arena.
pub(super) struct Memory {
    bytes: Vec<Option<Value>>,
    /// The step that wrote each; `None` for the caller.
    writers: Vec<Option<u32>>,
    /// State regions claimed so far; each belongs to one step.
    states: Vec<Range<u32>>,
}

impl Memory {
    /// Nothing is known about any byte.
    pub(super) fn new(arena_bytes: u32) -> Self {
        Self {
            bytes: vec![None; arena_bytes as usize],
            writers: vec![None; arena_bytes as usize],
            states: Vec::new(),
        }
    }

    /// What the byte at an arena offset is worth; `None` if that is unknown, or outside.
    pub(super) fn value(&self, offset: u32) -> Option<Value> {
        self.bytes.get(offset as usize).copied().flatten()
    }

    /// The step that wrote the byte at an arena offset last; `None` for the caller.
    pub(super) fn writer(&self, offset: u32) -> Option<usize> {
        let writer = self.writers.get(offset as usize).copied().flatten();
        writer.map(|step| step as usize)
    }

    /// Writes a byte; outside the arena, nothing happens and readers find nothing.
    pub(super) fn set(&mut self, offset: u32, value: Value, writer: Option<usize>) {
        let at = offset as usize;
        if let (Some(byte), Some(by)) = (self.bytes.get_mut(at), self.writers.get_mut(at)) {
            *byte = Some(value);
            *by = writer.map(|step| step as u32);
        }
    }

    /// A step wrote a byte, and nobody knows what.
    pub(super) fn forget(&mut self, offset: u32, writer: usize) {
        let at = offset as usize;
        if let (Some(byte), Some(by)) = (self.bytes.get_mut(at), self.writers.get_mut(at)) {
            (*byte, *by) = (None, Some(writer as u32));
        }
    }

    /// Gives a state region to a step; `false` if another has a part of it, or if a tensor lies there.
    pub(super) fn claim_state(&mut self, region: Range<u32>) -> bool {
        let shared = self
            .states
            .iter()
            .any(|other| other.start < region.end && region.start < other.end);
        let held = self.bytes.get(region.start as usize..region.end as usize);
        let free = held.is_some_and(|bytes| bytes.iter().all(Option::is_none));
        self.states.push(region);
        !shared && free
    }
}
