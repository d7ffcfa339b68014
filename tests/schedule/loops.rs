//! Loops: faults planted in a body or in the step in front of it, which the checker finds.

use tinsmith::ir::{Handle, Program, QuantGraph};
use tinsmith::op::{Lowered, Op};
use tinsmith::schedule::{self, check};
use tinsmith::target::Target;
use tinsmith_runtime::kernels::Layer;

use crate::import::loops::{built, chain};

fn target() -> Target {
    Target::builtin("host-x86-64").unwrap()
}

fn lowered(graph: &QuantGraph) -> Vec<Lowered> {
    let of =
        |handles: &[Handle<_>]| -> Vec<_> { handles.iter().map(|&handle| &graph.tensors[handle]).collect() };
    let nodes = graph.nodes.iter();
    nodes
        .map(|node| {
            let mut kernels = node
                .op
                .lower(&target(), &of(&node.inputs), &of(&node.outputs))
                .unwrap();
            if let Some((_, body)) = graph.body(node) {
                kernels.body = lowered(body);
                for (node, kernels) in body.nodes.iter().zip(&mut kernels.body) {
                    // What is carried on is computed where it belongs.
                    if body.outputs.contains(&node.outputs[0]) {
                        kernels.view = None;
                    }
                }
            }
            kernels
        })
        .collect()
}

/// A loop over 600 iterations, whose rows are written in place.
fn fixture() -> (QuantGraph, Program) {
    let (_, artifact) = built(&chain(600), &[]);
    (schedule::ready(&artifact.quant), artifact.program)
}

fn steps_of(program: &Program) -> (usize, std::ops::Range<usize>) {
    let repeat = |step: &_| matches!(step, Layer::Repeat(_));
    let front = program.steps.iter().position(|step| repeat(&step.layer)).unwrap();
    let count = program
        .steps
        .iter()
        .filter(|step| step.within == Some(front))
        .count();
    (front, front + 1..front + 1 + count)
}

#[test]
fn a_loop_and_its_body_pass() {
    let (graph, program) = fixture();
    let (front, body) = steps_of(&program);
    let Layer::Repeat(repeat) = &program.steps[front].layer else {
        unreachable!()
    };
    assert_eq!(repeat.steps as usize, body.len());
    assert_eq!(program.steps[front].body.len(), 4);
    assert_eq!(
        check::program(&target(), &graph, &lowered(&graph), &program),
        Ok(())
    );
    // Rows take the place of rows, not of copies of all of them.
    let rows = program
        .plan
        .at_peak
        .iter()
        .filter(|(_, bytes)| *bytes == 600 * 2 * 4);
    assert_eq!(rows.count(), 1, "{:?}", program.plan.at_peak);
    assert!(graph.nodes.iter().any(|node| matches!(node.op, Op::Repeat(_))));
}

#[test]
fn planted_faults_are_found() {
    let (graph, program) = fixture();
    let lowered = lowered(&graph);
    let (front, body) = steps_of(&program);
    let wrong = |what: &str, change: &dyn Fn(&mut Program)| {
        let mut bent = program.clone();
        change(&mut bent);
        let verdict = check::program(&target(), &graph, &lowered, &bent);
        assert!(verdict.is_err(), "{what}");
    };
    let bend = |program: &mut Program, change: &dyn Fn(&mut tinsmith_runtime::format::Repeat)| {
        if let Layer::Repeat(repeat) = &mut program.steps[front].layer {
            change(repeat);
        }
    };
    wrong("more trips", &|p| bend(p, &|repeat| repeat.trips += 1));
    wrong("a shorter body", &|p| bend(p, &|repeat| repeat.steps -= 1));
    wrong("a longer body", &|p| bend(p, &|repeat| repeat.steps += 1));
    wrong("no body", &|p| bend(p, &|repeat| repeat.steps = 0));
    wrong("a condition", &|p| bend(p, &|repeat| repeat.conditional = 1));
    wrong("another counter", &|p| bend(p, &|repeat| repeat.ofm += 8));
    for end in 0..4 {
        wrong("an input elsewhere", &|p| p.steps[front].body[end].offset += 4);
        wrong("a short input", &|p| p.steps[front].body[end].bytes -= 4);
    }
    wrong("carried values exchanged", &|p| p.steps[front].body.swap(1, 3));
    wrong("an input less", &|p| {
        p.steps[front].body.pop();
    });
    for at in body.clone() {
        wrong("a step of no body", &|p| p.steps[at].within = None);
        wrong("a step that rests", &|p| {
            let guard = tinsmith::ir::StepGuard {
                access: tinsmith::ir::Access {
                    bytes: 1,
                    ..p.steps[front].body[0]
                },
                when: true,
            };
            p.steps[at].guards.push(guard);
        });
        // Each step's output is read by another one, or carried on.
        wrong("an output elsewhere", &|p| p.steps[at].write.offset += 4);
        wrong("a step twice", &|p| {
            let twin = p.steps[at].clone();
            let other = if at == body.start { at + 1 } else { at - 1 };
            p.steps[other] = twin;
        });
    }
    // The buffer of what a body works with must live as long as the body runs.
    let (memory, buffer) = (program.steps[front].body[0].buffer, program.buffers.len());
    assert!(memory.index() < buffer);
    wrong("memory that ends early", &|p| p.buffers[memory].live.last -= 1);
    wrong("a place that ends early", &|p| {
        let place = p.steps[front].body[1].buffer;
        p.buffers[place].live.last = front;
    });
}
