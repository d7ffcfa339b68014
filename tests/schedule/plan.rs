//! Placement against exhaustive search.

use tinsmith::ir::LiveRange;
use tinsmith::schedule::plan::{Block, largest_live_set, place};

use super::graphs::Random;

fn block(bytes: u64, first: usize, last: usize) -> Block {
    Block {
        bytes,
        live: LiveRange { first, last },
        align: 1,
    }
}

/// The least memory of all sequences of placement, each block at the lowest offset that is free: some sequence gives
/// an optimal plan.
fn exhaustive(blocks: &[Block], placed: &mut Vec<(Block, u64)>) -> u64 {
    let used = placed
        .iter()
        .map(|(block, at)| at + block.bytes)
        .max()
        .unwrap_or(0);
    let mut best = u64::MAX;
    for i in 0..blocks.len() {
        let block = blocks[i];
        let conflicts = |at: u64| {
            placed.iter().any(|(other, start)| {
                other.live.overlaps(block.live) && at < start + other.bytes && *start < at + block.bytes
            })
        };
        let mut at = 0;
        while conflicts(at) {
            at += 1;
        }
        let rest: Vec<Block> = [&blocks[..i], &blocks[i + 1..]].concat();
        placed.push((block, at));
        best = best.min(exhaustive(&rest, placed));
        placed.pop();
    }
    if blocks.is_empty() { used } else { best }
}

fn assert_valid(blocks: &[Block]) -> u64 {
    let plan = place(blocks);
    for (i, (a, &a_at)) in blocks.iter().zip(&plan.offsets).enumerate() {
        assert!(a_at.is_multiple_of(a.align) && a_at + a.bytes <= plan.bytes);
        for (b, &b_at) in blocks.iter().zip(&plan.offsets).skip(i + 1) {
            let apart = a_at + a.bytes <= b_at || b_at + b.bytes <= a_at;
            assert!(apart || !a.live.overlaps(b.live), "{blocks:?} {plan:?}");
        }
    }
    assert!(largest_live_set(blocks).0 <= plan.bytes);
    plan.bytes
}

#[test]
fn small_plans_are_optimal() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let blocks: Vec<Block> = (0..2 + random.below(5))
            .map(|_| {
                let first = random.below(6);
                block(1 + random.below(12) as u64, first, first + random.below(4))
            })
            .collect();
        assert_eq!(
            assert_valid(&blocks),
            exhaustive(&blocks, &mut Vec::new()),
            "seed {seed}: {blocks:?}"
        );
    }
}

#[test]
fn larger_plans_are_valid_and_near_the_bound() {
    let mut at_the_bound = 0;
    for seed in 0..200 {
        let mut random = Random::new(1000 + seed);
        let blocks: Vec<Block> = (0..40)
            .map(|_| {
                let first = random.below(30);
                Block {
                    align: [1, 1, 4, 16][random.below(4)],
                    ..block(1 + random.below(5000) as u64, first, first + random.below(8))
                }
            })
            .collect();
        let (bound, bytes) = (largest_live_set(&blocks).0, assert_valid(&blocks));
        assert!(bytes * 100 <= bound * 115, "seed {seed}: {bytes} over {bound}");
        at_the_bound += usize::from(bytes * 100 <= bound * 103);
    }
    assert!(
        at_the_bound > 100,
        "{at_the_bound} of 200 within 3 % of the bound"
    );
}

#[test]
fn chains_and_residual_blocks_meet_the_bound() {
    // A chain holds two neighbours; a residual block its input until the sum.
    let chain: Vec<Block> = (0..30usize)
        .map(|i| block((i * 37 % 101 + 1) as u64, i, i + 1))
        .collect();
    assert_eq!(assert_valid(&chain), largest_live_set(&chain).0);
    let mut residual = Vec::new();
    for i in 0..10 {
        residual.push(block(100, 3 * i, 3 * i + 3));
        residual.push(block(60, 3 * i + 1, 3 * i + 2));
        residual.push(block(100, 3 * i + 2, 3 * i + 3));
    }
    assert_eq!(assert_valid(&residual), largest_live_set(&residual).0);
}

#[test]
fn nothing_to_place_needs_nothing() {
    assert_eq!(place(&[]).bytes, 0);
    assert_eq!(largest_live_set(&[]), (0, 0));
}
