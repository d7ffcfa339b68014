//! The memory plan: offsets for blocks whose sizes and live ranges are known, no two alive at once overlapping.
//!
//! Blocks are placed one after the other, each into the smallest gap that holds it between those placed before and
//! alive at the same time (best fit), or into the lowest one. Several sequences are tried. If none meets the lower
//! bound, two bounded searches follow: one fixes a height and moves the blocks that do not fit under it to the front
//! of the sequence, again and again; the other goes through all sequences, which decides the matter for few blocks.
//! The first plan at the lower bound wins, else the smallest. Nothing depends on chance or time.

use crate::ir::LiveRange;

/// Comparisons of two blocks that each of the two searches may spend before it settles for the best so far.
const SEARCH_LIMIT: usize = 4_000_000;
/// Heights between the lower bound and the best plan that are tried.
const HEIGHTS: u64 = 6;

/// What is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its bytes.
    pub bytes: u64,
    /// When it is needed.
    pub live: LiveRange,
    /// Its offset is a multiple of this.
    pub align: u64,
}

/// Where the blocks lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// One offset per block.
    pub offsets: Vec<u64>,
    /// End of the last block.
    pub bytes: u64,
}

/// The largest sum of blocks that are alive at one step, and the first such step. No placement can need less.
pub fn largest_live_set(blocks: &[Block]) -> (u64, usize) {
    let starts = blocks.iter().map(|block| block.live.first);
    let sums = starts.map(|step| (alive_at(blocks, step), step));
    sums.fold((0, 0), |best, next| {
        let earlier = next.0 == best.0 && next.1 < best.1;
        if next.0 > best.0 || earlier { next } else { best }
    })
}

fn alive_at(blocks: &[Block], step: usize) -> u64 {
    let alive = blocks
        .iter()
        .filter(|block| block.live.first <= step && step <= block.live.last);
    alive.map(|block| block.bytes).sum()
}

/// Which gap a block goes into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// The smallest that holds it.
    Best,
    /// The lowest that holds it.
    Lowest,
    /// The smallest that holds it under this height; at the upper end of the one that the height itself bounds, so
    /// that the blocks of a chain lie at the two ends in turn.
    Under(u64),
}

/// Places all blocks from offset 0 on.
pub fn place(blocks: &[Block]) -> Placement {
    let (bound, _) = largest_live_set(blocks);
    let sequences = sequences(blocks);
    let mut best: Option<Placement> = None;
    for sequence in &sequences {
        for fit in [Fit::Best, Fit::Lowest] {
            let plan = place_in(blocks, sequence, fit).ok();
            let is_smaller = |plan: &Placement| best.as_ref().is_none_or(|best| plan.bytes < best.bytes);
            best = plan.filter(is_smaller).or(best);
        }
    }
    let mut best = best.unwrap_or_default();
    let mut budget = SEARCH_LIMIT;
    for step in 0..HEIGHTS {
        let height = bound + (best.bytes - bound) * step / HEIGHTS;
        if height >= best.bytes {
            break;
        }
        if let Some(plan) = squeeze(blocks, &sequences, height, &mut budget) {
            best = plan;
            break;
        }
    }
    if best.bytes <= bound {
        return best;
    }
    let mut search = Search {
        blocks,
        bound,
        best,
        budget: SEARCH_LIMIT,
        offsets: vec![None; blocks.len()],
    };
    search.extend(0);
    search.best
}

/// A plan no higher than `height`, if the blocks that stand in the way can be moved to the front of a sequence often
/// enough.
fn squeeze(blocks: &[Block], sequences: &[Vec<usize>], height: u64, budget: &mut usize) -> Option<Placement> {
    let share = *budget / (HEIGHTS as usize * sequences.len()).max(1);
    for sequence in sequences.iter().rev() {
        let mut sequence = sequence.clone();
        let mut left = share;
        while let Some(rest) = left.checked_sub(blocks.len() * blocks.len()) {
            left = rest;
            match place_in(blocks, &sequence, Fit::Under(height)) {
                Ok(plan) => return Some(plan),
                Err(position) => sequence[..=position].rotate_right(1),
            }
            if blocks.len() < 2 {
                break;
            }
        }
    }
    None
}

/// The sequences tried: by size, by size times lifetime, by lifetime, by the size of the live set they belong to, by
/// time.
fn sequences(blocks: &[Block]) -> Vec<Vec<usize>> {
    let lifetime = |block: &Block| (block.live.last - block.live.first + 1) as u64;
    let crowd = |block: &Block| {
        let starts = blocks.iter().map(|other| other.live.first);
        let shared = starts.filter(|&step| block.live.first <= step && step <= block.live.last);
        shared
            .chain([block.live.first])
            .map(|step| alive_at(blocks, step))
            .max()
    };
    let by = |key: &dyn Fn(&Block) -> (u64, u64)| {
        let mut sequence: Vec<usize> = (0..blocks.len()).collect();
        sequence.sort_by_key(|&i| (std::cmp::Reverse(key(&blocks[i])), i));
        sequence
    };
    vec![
        by(&|block| (block.bytes, lifetime(block))),
        by(&|block| (block.bytes.saturating_mul(lifetime(block)), block.bytes)),
        by(&|block| (lifetime(block), block.bytes)),
        by(&|block| (crowd(block).unwrap_or(0), block.bytes)),
        by(&|block| (u64::MAX - block.live.first as u64, block.bytes)),
    ]
}

/// Places the blocks of a sequence; where one does not fit, the error is its position in the sequence.
fn place_in(blocks: &[Block], sequence: &[usize], fit: Fit) -> Result<Placement, usize> {
    let mut offsets = vec![None; blocks.len()];
    for (position, &i) in sequence.iter().enumerate() {
        offsets[i] = Some(gap(blocks, &offsets, i, fit).ok_or(position)?);
    }
    Ok(finish(blocks, &offsets))
}

fn finish(blocks: &[Block], offsets: &[Option<u64>]) -> Placement {
    let offsets: Vec<u64> = offsets.iter().map(|offset| offset.unwrap_or(0)).collect();
    let ends = offsets
        .iter()
        .zip(blocks)
        .map(|(offset, block)| offset + block.bytes);
    let bytes = ends.max().unwrap_or(0);
    Placement { offsets, bytes }
}

/// An offset for block `i` that no placed block alive at the same time touches; `None` where the fit has a height and
/// no gap under it is large enough.
fn gap(blocks: &[Block], offsets: &[Option<u64>], i: usize, fit: Fit) -> Option<u64> {
    let block = &blocks[i];
    let mut taken: Vec<(u64, u64)> = Vec::new();
    for (other, offset) in blocks.iter().zip(offsets) {
        if let Some(offset) = offset
            && other.live.overlaps(block.live)
        {
            taken.push((*offset, offset + other.bytes));
        }
    }
    taken.sort_unstable();
    let mut best: Option<(u64, u64)> = None;
    let mut consider = |offset: u64, from: u64, to: u64| {
        let slack = to - from - block.bytes;
        if best.is_none_or(|(least, _)| slack < least) {
            best = Some((slack, offset));
        }
    };
    let mut free_from = 0u64;
    for &(start, end) in &taken {
        let offset = free_from.next_multiple_of(block.align);
        if offset + block.bytes <= start {
            if fit == Fit::Lowest {
                return Some(offset);
            }
            consider(offset, free_from, start);
        }
        free_from = free_from.max(end);
    }
    let above = free_from.next_multiple_of(block.align);
    if let Fit::Under(height) = fit {
        if above + block.bytes <= height {
            // Aligned down from the height; not below `above`, which is aligned too.
            let top = (height - block.bytes) / block.align * block.align;
            consider(if taken.is_empty() { 0 } else { top }, free_from, height);
        }
        return best.map(|(_, offset)| offset);
    }
    Some(best.map_or(above, |(_, offset)| offset))
}

/// Depth-first over sequences, each block into its lowest gap. Some sequence yields an optimal plan (the one that
/// sorts an optimal plan's offsets), so that for few blocks the search is exhaustive.
struct Search<'a> {
    blocks: &'a [Block],
    bound: u64,
    best: Placement,
    /// Comparisons of two blocks left.
    budget: usize,
    offsets: Vec<Option<u64>>,
}

impl Search<'_> {
    /// Places one more block in every way. `floor`: the offset of the block placed before, since an optimal plan's
    /// offsets can be visited in rising order.
    fn extend(&mut self, floor: u64) {
        if self.offsets.iter().all(Option::is_some) {
            let plan = finish(self.blocks, &self.offsets);
            if plan.bytes < self.best.bytes {
                self.best = plan;
            }
            return;
        }
        let mut choices: Vec<(u64, std::cmp::Reverse<u64>, usize)> = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            if self.offsets[i].is_none() {
                let offset =
                    gap(self.blocks, &self.offsets, i, Fit::Lowest).expect("without a height there is room");
                self.budget = self.budget.saturating_sub(self.blocks.len());
                // Every block not yet placed will lie at or above its lowest gap now.
                if offset + block.bytes >= self.best.bytes {
                    return;
                }
                choices.push((offset, std::cmp::Reverse(block.bytes), i));
            }
        }
        choices.sort_unstable();
        for (offset, _, i) in choices {
            if self.best.bytes <= self.bound || self.budget == 0 {
                return;
            }
            if offset < floor {
                continue;
            }
            self.offsets[i] = Some(offset);
            self.extend(offset);
            self.offsets[i] = None;
        }
    }
}
