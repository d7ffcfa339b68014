//! Random graphs full of choices: conditions that are computed, negated, joined and shared, choices within branches and
//! within choices, branches that nothing reads. Whatever rests must not be missed.

use tinsmith::ir::NoSamples;
use tinsmith::op::Op;
use tinsmith::op::tensor::{Data, Values};
use tinsmith::quantize::Precision;
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith::{Options, import, reference};
use tinsmith_proto::tensor_proto::DataType;

use super::graphs::Random;
use crate::import::onnx::{Onnx, int, subgraph};

/// Elements of every tensor that is no condition.
const WIDTH: usize = 4;

/// The names that a node may read.
#[derive(Clone)]
struct Names {
    reals: Vec<String>,
    conditions: Vec<String>,
}

struct Writer {
    random: Random,
    names: usize,
}

impl Writer {
    fn fresh(&mut self) -> String {
        self.names += 1;
        format!("t{}", self.names)
    }

    fn pick(&mut self, names: &[String]) -> String {
        // The youngest ones more often, so that graphs are deep.
        let back = self.random.below(names.len()).min(self.random.below(names.len()));
        names[names.len() - 1 - back].clone()
    }

    /// Adds a node that makes a condition.
    fn condition(&mut self, mut model: Onnx, names: &mut Names) -> Onnx {
        let name = self.fresh();
        let (a, b) = (self.pick(&names.conditions), self.pick(&names.conditions));
        model = match self.random.below(4) {
            0 => model.node("Not", &[&a], &[&name], vec![]),
            1 => model.node("And", &[&a, &b], &[&name], vec![]),
            _ => {
                let (x, y) = (self.pick(&names.reals), self.pick(&names.reals));
                let [p, q] = [self.fresh(), self.fresh()];
                let keep = || vec![int("keepdims", 1)];
                model
                    .node("ReduceMax", &[&x], &[&p], keep())
                    .node("ReduceMin", &[&y], &[&q], keep())
                    .node("Less", &[&p, &q], &[&name], vec![])
            }
        };
        names.conditions.push(name);
        model
    }

    /// Adds some nodes; gives the name of the last real.
    fn nodes(&mut self, mut model: Onnx, names: &mut Names, count: usize, depth: usize) -> Onnx {
        for _ in 0..count {
            let (a, b) = (self.pick(&names.reals), self.pick(&names.reals));
            let what = self.random.below(8);
            if what == 0 {
                model = self.condition(model, names);
                continue;
            }
            let name = self.fresh();
            model = match what {
                1 => model.node("Neg", &[&a], &[&name], vec![]),
                2 => model.node("Abs", &[&a], &[&name], vec![]),
                3 => model.node("Add", &[&a, &b], &[&name], vec![]),
                4 | 5 => {
                    let condition = self.pick(&names.conditions);
                    model.node("Where", &[&condition, &a, &b], &[&name], vec![])
                }
                6 if depth > 0 => {
                    let condition = self.pick(&names.conditions);
                    let branches = ["then_branch", "else_branch"].map(|branch| {
                        let mut inner = names.clone();
                        let count = 1 + self.random.below(4);
                        let mut body = self.nodes(Onnx::new(13), &mut inner, count, depth - 1);
                        let (last, given) = (self.pick(&inner.reals), self.fresh());
                        body = body.node("Abs", &[&last], &[&given], vec![]).output(&given);
                        subgraph(branch, std::mem::take(body.graph()))
                    });
                    model.node("If", &[&condition], &[&name], branches.into())
                }
                _ => model.node("Sub", &[&a, &b], &[&name], vec![]),
            };
            names.reals.push(name);
        }
        model
    }
}

fn model(seed: u64) -> Onnx {
    let mut writer = Writer {
        random: Random::new(seed),
        names: 0,
    };
    let mut names = Names {
        reals: vec!["x".into(), "y".into()],
        conditions: vec!["c".into(), "d".into()],
    };
    let model = Onnx::new(13)
        .input("x", [WIDTH as i64])
        .input("y", [WIDTH as i64])
        .typed_input("c", DataType::Bool, [1])
        .typed_input("d", DataType::Bool, [1]);
    let count = 6 + writer.random.below(14);
    let mut model = writer.nodes(model, &mut names, count, 3);
    // One output, and here and there another one.
    for output in 0..1 + writer.random.below(2) {
        let (value, name) = (writer.pick(&names.reals), format!("out{output}"));
        model = model.node("Neg", &[&value], &[&name], vec![]).output(&name);
    }
    model
}

#[test]
fn random_choices_pass_the_checker_and_compute_what_they_mean() {
    let mut options = Options::default();
    options.quantize.precision = Precision::F32;
    let target = Target::builtin("host-x86-64").unwrap();
    let (mut choices, mut guarded) = (0, 0);
    for seed in 0..600 {
        let graph = import::onnx(&model(seed).bytes(), &options.import).unwrap();
        let artifact = tinsmith::build(&target, graph.clone(), &NoSamples, &options, &|_, _, _| ())
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let nodes = &artifact.quant.nodes;
        choices += nodes
            .iter()
            .filter(|node| matches!(node.op, Op::Select(_)))
            .count();
        guarded += artifact
            .program
            .steps
            .iter()
            .filter(|step| !step.guards.is_empty())
            .count();
        let mut simulator = Simulator::new(&artifact.blob).unwrap();
        let mut random = Random::new(seed);
        for flags in 0..4 {
            let mut reals = || {
                let reals = (0..WIDTH).map(|_| random.below(17) as f32 - 8.0);
                Values::f32([WIDTH], reals.collect())
            };
            let flag = |bit: u32| Values::new([1], Data::Bool(vec![flags >> bit & 1 == 1]));
            let inputs = [reals(), reals(), flag(0), flag(1)];
            let stored = edge::store_all(simulator.blob(), &inputs).unwrap();
            let stored: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
            let outputs = simulator.run(&stored).unwrap();
            let found = edge::load_all(simulator.blob(), &outputs).unwrap();
            assert_eq!(found, reference::run(&graph, &inputs).unwrap(), "seed {seed}");
        }
    }
    // So that there was something to prove.
    assert!(
        choices > 1000 && guarded > 1000,
        "{choices} choices, {guarded} guarded steps"
    );
}
