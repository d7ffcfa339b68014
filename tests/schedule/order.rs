//! The order of steps against all orders.

use super::graphs::{Build, Random, Tensor};

/// The least peak over all orders of a graph whose nodes are dense layers and sums of two (nothing in place).
fn least_peak(build: &Build) -> u64 {
    fn alive(build: &Build, done: &[bool], tensor: Tensor, now: Option<usize>) -> bool {
        let graph = &build.graph;
        let made = match graph.producer(tensor) {
            Some(node) => done[node] || now == Some(node),
            None => true,
        };
        made && (graph.outputs.contains(&tensor)
            || (graph.readers(tensor).is_empty() && graph.producer(tensor) == now)
            || graph.readers(tensor).iter().any(|&reader| !done[reader]))
    }
    fn visit(build: &Build, done: &mut Vec<bool>, peak: u64, best: &mut u64) {
        if peak >= *best {
            return;
        }
        if done.iter().all(|&done| done) {
            *best = peak;
            return;
        }
        for node in 0..done.len() {
            let inputs = &build.graph.nodes[node].inputs;
            let ready = |&input: &Tensor| build.graph.producer(input).is_none_or(|producer| done[producer]);
            if done[node] || !inputs.iter().all(ready) {
                continue;
            }
            let tensors = build.graph.tensors.iter().map(|(handle, _)| handle);
            let held: usize = tensors
                .filter(|&tensor| alive(build, done, tensor, Some(node)))
                .map(|tensor| build.bytes(tensor))
                .sum();
            done[node] = true;
            visit(build, done, peak.max(held as u64), best);
            done[node] = false;
        }
    }
    let mut best = u64::MAX;
    visit(build, &mut vec![false; build.graph.nodes.len()], 0, &mut best);
    best
}

#[test]
fn the_order_found_is_the_best_of_all() {
    for seed in 0..120 {
        let mut random = Random::new(seed);
        let mut build = Build::new();
        let mut tensors = vec![build.input(1 + random.below(50))];
        for _ in 0..2 + random.below(6) {
            let x = tensors[random.below(tensors.len())];
            tensors.push(build.dense(x, 1 + random.below(100)));
        }
        // Whatever nobody reads yet is an output.
        let ends: Vec<Tensor> = tensors
            .iter()
            .copied()
            .filter(|&t| build.graph.readers(t).is_empty())
            .collect();
        ends.into_iter().for_each(|end| build.output(end));
        let program = build.schedule();
        assert!(program.plan.all_orders, "seed {seed}");
        // A plan may keep the graph's own order where that is placed as tightly.
        let least = least_peak(&build);
        assert!(u64::from(program.plan.lower_bound_bytes) >= least, "seed {seed}");
        assert!(u64::from(program.plan.arena_bytes) >= least, "seed {seed}");
        assert_eq!(u64::from(program.plan.arena_bytes), least, "seed {seed}");
    }
}

#[test]
fn a_branch_that_ends_small_runs_first() {
    let mut build = Build::new();
    let x = build.input(10);
    // The graph's order makes both large tensors before it shrinks either.
    let a = build.dense(x, 1000);
    let b = build.dense(x, 1000);
    let c = build.dense(a, 10);
    let d = build.dense(b, 10);
    let sum = build.add(c, d);
    build.output(sum);
    let program = build.schedule();
    assert_eq!(program.plan.arena_bytes, 10 + 1000 + 10);
    let names: Vec<&str> = program.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["n0", "n2", "n1", "n3", "n4"]);
}

#[test]
fn a_graph_with_too_many_orders_is_still_scheduled() {
    let mut build = Build::new();
    let x = build.input(8);
    let mut ends = Vec::new();
    for _ in 0..24 {
        let large = build.dense(x, 400);
        ends.push(large);
    }
    let ends: Vec<Tensor> = ends.into_iter().map(|large| build.dense(large, 4)).collect();
    let joined = build.concat(&ends);
    build.output(joined);
    let program = build.schedule();
    assert!(!program.plan.all_orders);
    assert!(program.plan.arena_bytes <= 8 + 400 + 24 * 4, "{:?}", program.plan);
}
