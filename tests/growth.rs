//! Long graphs: four times the nodes take about four times the processor's time, not sixteen times, in import, every
//! pass and the reference executor.

use std::fs;

use tinsmith::op::tensor::Values;
use tinsmith::{import, optimize, reference};

use crate::import::onnx::Onnx;

/// What this thread spent computing, in ns; time in which others ran does not count. `None` where the system does not
/// say.
fn computed_ns() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The least of three goes through import, optimization and one run.
fn work_ns(model: &Onnx) -> Option<u64> {
    let bytes = model.bytes();
    let mut least = None;
    for _ in 0..3 {
        let start = computed_ns()?;
        let graph = import::onnx(&bytes, &import::Options::default()).unwrap();
        let graph = optimize::run(graph, &optimize::Options::default()).unwrap();
        let inputs: Vec<Values> = graph
            .inputs
            .iter()
            .map(|&input| {
                let ty = &graph.tensors[input].ty;
                Values::f32(ty.shape.clone(), vec![0.5; ty.len()])
            })
            .collect();
        reference::run(&graph, &inputs).unwrap();
        let spent = computed_ns()? - start;
        least = Some(least.unwrap_or(spent).min(spent));
    }
    least
}

fn check(name: &str, model: impl Fn(usize) -> Onnx) {
    const NODES: usize = 2000;
    let (Some(short), Some(long)) = (work_ns(&model(NODES)), work_ns(&model(4 * NODES))) else {
        return;
    };
    assert!(
        long < 8 * short,
        "{name}: {NODES} nodes take {short} ns, four times as many {long} ns"
    );
}

/// `t0 → t1 → … → tn`, each by one node.
fn chain(length: usize, node: impl Fn(Onnx, &str, &str) -> Onnx) -> Onnx {
    let start = Onnx::new(17).input("t0", [1, 4]);
    (0..length).fold(start, |model, i| {
        node(model, &format!("t{i}"), &format!("t{}", i + 1))
    })
}

#[test]
fn long_chains_take_time_in_proportion() {
    for op in ["Relu", "Sin", "Identity"] {
        check(op, |length| {
            let model = chain(length, |model, x, y| model.node(op, &[x], &[y], vec![]));
            model.output(&format!("t{length}"))
        });
    }
}

#[test]
fn many_outputs_take_time_in_proportion() {
    check("outputs", |length| {
        let model = chain(length, |model, x, y| model.node("Sin", &[x], &[y], vec![]));
        (1..=length).fold(model, |model, i| model.output(&format!("t{i}")))
    });
}

#[test]
fn many_inputs_take_time_in_proportion() {
    check("inputs", |length| {
        let model = chain(length, |model, x, y| {
            let addend = format!("{x}/addend");
            model
                .input(&addend, [1, 4])
                .node("Add", &[x, &addend], &[y], vec![])
        });
        model.output(&format!("t{length}"))
    });
}

#[test]
fn many_moves_take_time_in_proportion() {
    let turned = |name: &str, x: &str, y: &str, model: Onnx| {
        let perm = crate::import::onnx::ints("perm", &[1, 0]);
        let inner = format!("{y}/{name}");
        model
            .node("Transpose", &[x], &[&inner], vec![perm])
            .node("Sin", &[&inner], &[y], vec![])
    };
    check("transposes", |length| {
        let model = chain(length / 2, |model, x, y| turned("turned", x, y, model));
        model.output(&format!("t{}", length / 2))
    });
    check("equal nodes", |length| {
        let start = Onnx::new(17).input("x", [1, 4]).input("t0", [1, 4]);
        let model = (0..length / 2).fold(start, |model, i| {
            let (sine, x, y) = (format!("s{i}"), format!("t{i}"), format!("t{}", i + 1));
            model
                .node("Sin", &["x"], &[&sine], vec![])
                .node("Sub", &[&x, &sine], &[&y], vec![])
        });
        model.output(&format!("t{}", length / 2))
    });
}
