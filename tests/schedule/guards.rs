//! A branch that is not taken does not run.

use tinsmith::ir::{FloatGraph, NoSamples, Program, QuantGraph};
use tinsmith::op::tensor::{Data, Values};
use tinsmith::op::{Lowered, Op};
use tinsmith::quantize::Precision;
use tinsmith::schedule::check::{self, CheckError, Fault};
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith::{Artifact, Options, import, reference};

use crate::import::control::chosen_when_running;

fn target() -> Target {
    Target::builtin("host-x86-64").unwrap()
}

fn built() -> (FloatGraph, Artifact) {
    let mut options = Options::default();
    options.quantize.precision = Precision::F32;
    let graph = import::onnx(&chosen_when_running().bytes(), &options.import).unwrap();
    let artifact = tinsmith::build(&target(), graph.clone(), &NoSamples, &options, &|_, _, _| ()).unwrap();
    (graph, artifact)
}

fn lowered(graph: &QuantGraph) -> Vec<Lowered> {
    let of = |handles: &[tinsmith::ir::Handle<_>]| -> Vec<_> {
        handles.iter().map(|&handle| &graph.tensors[handle]).collect()
    };
    let nodes = graph.nodes.iter();
    nodes
        .map(|node| {
            node.op
                .lower(&target(), &of(&node.inputs), &of(&node.outputs))
                .unwrap()
        })
        .collect()
}

#[test]
fn only_the_taken_branch_runs() {
    let (graph, artifact) = built();
    let mut simulator = Simulator::new(&artifact.blob).unwrap();
    for condition in [true, false, true] {
        let inputs = [
            Values::f32([2], vec![1.0, 2.0]),
            Values::new([1], Data::Bool(vec![condition])),
        ];
        let stored = edge::store_all(simulator.blob(), &inputs).unwrap();
        let stored: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
        let mut ran = Vec::new();
        let outputs = simulator
            .run_traced(&stored, &mut |step, _| ran.push(step))
            .unwrap();
        let found = edge::load_all(simulator.blob(), &outputs).unwrap();
        assert_eq!(found, reference::run(&graph, &inputs).unwrap());
        let operators: Vec<&str> = ran
            .iter()
            .map(|&step| artifact.quant.nodes[artifact.program.steps[step].node].op.name())
            .collect();
        assert_eq!(operators, ["Unary", "Binary", "Select"], "{condition}");
        let functions: Vec<String> = ran
            .iter()
            .map(|&step| format!("{:?}", artifact.quant.nodes[artifact.program.steps[step].node].op))
            .collect();
        assert_eq!(functions[0].contains("Sigmoid"), condition, "{functions:?}");
    }
}

#[test]
fn wrong_guards_are_found() {
    let (_, artifact) = built();
    let graph = &artifact.quant;
    let verdict = |program: &Program| check::program(&target(), graph, &lowered(graph), program);
    assert_eq!(verdict(&artifact.program), Ok(()));
    let steps = &artifact.program.steps;
    let is_choice = |step: usize| matches!(graph.nodes[steps[step].node].op, Op::Select(_));
    let choice = (0..steps.len()).find(|&step| is_choice(step)).unwrap();
    for step in (0..steps.len()).filter(|&step| !is_choice(step)) {
        // The other way around, it rests when it is needed.
        let mut bent = artifact.program.clone();
        bent.steps[step].guards[0].when ^= true;
        assert!(verdict(&bent).is_err(), "{step}");
        // A byte that is no condition.
        let mut bent = artifact.program.clone();
        bent.steps[step].guards[0].access = steps[choice].write;
        assert!(verdict(&bent).is_err(), "{step}");
    }
    // What an output depends on must not rest.
    let mut bent = artifact.program.clone();
    bent.steps[choice].guards = steps
        .iter()
        .flat_map(|step| step.guards.clone())
        .take(1)
        .collect();
    let error = verdict(&bent).unwrap_err();
    assert!(
        matches!(
            error,
            CheckError::WrongOutput { .. }
                | CheckError::Step {
                    fault: Fault::WrongGuard | Fault::WrongAccess,
                    ..
                }
        ),
        "{error}"
    );
}
