//! Long loops: a step over one body, on the device and in the reference executor, against ONNX Runtime's results.

use tinsmith::import::{self, Options};
use tinsmith::ir::text::{Constants, parse, print};
use tinsmith::ir::verify::{VerifyError, verify};
use tinsmith::ir::{FloatGraph, FloatTensor, NoSamples};
use tinsmith::op::tensor::{Data, Values};
use tinsmith::quantize::Precision;
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith::{Artifact, reference};
use tinsmith_proto::AttributeProto;
use tinsmith_proto::tensor_proto::DataType;

use super::onnx::{Onnx, int, ints, subgraph};
use super::refused::{problems, refused};

const SCALAR: [i64; 0] = [];

fn body(carried: &[&str]) -> Onnx {
    let ends = Onnx::new(13)
        .typed_input("i", DataType::Int64, SCALAR)
        .typed_input("c", DataType::Bool, SCALAR);
    carried.iter().fold(ends, |body, name| body.input(name, [2]))
}

fn outputs(body: Onnx, names: &[&str]) -> AttributeProto {
    let mut body = names.iter().fold(body, |body, name| body.output(name));
    subgraph("body", std::mem::take(body.graph()))
}

fn real(model: Onnx, name: &str, value: f32) -> Onnx {
    model.constant(name, &Values::f32([], vec![value]))
}

fn number(model: Onnx, name: &str, value: i64) -> Onnx {
    model.constant(name, &Values::new([], Data::I64(vec![value])))
}

/// `((7·i) mod 29 − 14) / 8`.
fn ramp(shape: [usize; 2]) -> Values {
    let values = (0..shape[0] * shape[1]).map(|i| ((7 * i % 29) as f32 - 14.0) / 8.0);
    Values::f32(shape, values.collect())
}

fn x() -> Values {
    Values::f32([2], vec![1.0, 2.0])
}

pub(crate) fn built(model: &Onnx, bounds: &[(&str, usize)]) -> (FloatGraph, Artifact) {
    let mut options = tinsmith::Options::default();
    options.quantize.precision = Precision::F32;
    let bounds = bounds.iter().map(|&(node, bound)| (node.to_owned(), bound));
    options.import.bounds = bounds.collect();
    let graph = tinsmith::load(&model.bytes(), &options).unwrap();
    let target = Target::builtin("host-x86-64").unwrap();
    let artifact = tinsmith::build(&target, graph.clone(), &NoSamples, &options, &|_, _, _| ()).unwrap();
    (graph, artifact)
}

/// What the device gives, which the reference executor must give too.
fn run(graph: &FloatGraph, blob: &[u8], inputs: &[Values]) -> Vec<Values> {
    let mut simulator = Simulator::new(blob).unwrap();
    let stored = edge::store_all(simulator.blob(), inputs).unwrap();
    let stored: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
    let mut given = Vec::new();
    // A second run finds what the first one left behind.
    for _ in 0..2 {
        let outputs = simulator.run(&stored).unwrap();
        given = edge::load_all(simulator.blob(), &outputs).unwrap();
    }
    let wanted = reference::run(graph, inputs).unwrap();
    for (given, wanted) in given.iter().zip(&wanted) {
        near(given, &wanted.to_f64());
    }
    given
}

/// A few rounding errors of f32 apart, as far as sums in another order and other functions are.
fn near(given: &Values, wanted: &[f64]) {
    let given = given.to_f64();
    assert_eq!(given.len(), wanted.len());
    for (given, wanted) in given.iter().zip(wanted) {
        assert!(
            (given - wanted).abs() <= 2e-6 * wanted.abs().max(1.0),
            "{given}, {wanted} wanted"
        );
    }
}

fn row(values: &Values, at: usize) -> Vec<f64> {
    values.to_f64()[2 * at..][..2].to_vec()
}

/// `h = tanh(h/2 + x·sin(i/8))`, and every `h`.
pub(crate) fn chain(trips: i64) -> Onnx {
    let inner = body(&["h"])
        .node("Cast", &["i"], &["f"], vec![int("to", 1)])
        .node("Mul", &["f", "eighth"], &["t"], vec![])
        .node("Sin", &["t"], &["s"], vec![])
        .node("Mul", &["s", "x"], &["sx"], vec![])
        .node("Mul", &["h", "half"], &["hh"], vec![])
        .node("Add", &["hh", "sx"], &["sum"], vec![])
        .node("Tanh", &["sum"], &["next"], vec![]);
    let model = Onnx::new(13).input("x", [2]).input("h0", [2]);
    let model = real(real(number(model, "n", trips), "eighth", 0.125), "half", 0.5);
    model
        .node(
            "Loop",
            &["n", "", "h0"],
            &["last", "all"],
            vec![outputs(inner, &["c", "next", "next"])],
        )
        .output("last")
        .output("all")
}

#[test]
fn a_blob_does_not_grow_with_the_trips() {
    let inputs = [x(), Values::f32([2], vec![0.5, -0.25])];
    let mut sizes = Vec::new();
    for (trips, last) in [
        (1_000, [-0.810_902_714_729_309_1, -0.956_516_087_055_206_3]),
        (10_000, [-0.682_563_006_877_899_2, -0.881_649_911_403_656]),
    ] {
        let (graph, artifact) = built(&chain(trips), &[]);
        let wanted = format!("Loop `LAST`: a loop over one body, {trips} times");
        assert_eq!(graph.notes, [wanted]);
        sizes.push(artifact.blob.len());
        let outputs = run(&graph, &artifact.blob, &inputs);
        near(&outputs[0], &last);
        assert_eq!(outputs[1].shape, [trips as usize, 2]);
        for (at, wanted) in [
            (0, [0.244_918_659_329_414_37, -0.124_352_999_031_543_73]),
            (1, [0.242_222_741_246_223_45, 0.185_017_362_236_976_62]),
            (499, [-0.669_210_612_773_895_3, -0.871_883_928_775_787_4]),
            (999, [-0.810_902_714_729_309_1, -0.956_516_087_055_206_3]),
        ] {
            near(
                &Values::f32([2], row(&outputs[1], at).iter().map(|&v| v as f32).collect()),
                &wanted,
            );
        }
    }
    assert_eq!(sizes[0], sizes[1]);
}

#[test]
fn short_loops_are_unrolled_and_say_so() {
    let graph = import::onnx(&chain(20).bytes(), &Options::default()).unwrap();
    assert_eq!(graph.notes, ["Loop `LAST`: unrolled, 20 times"]);
    assert!(graph.bodies.is_empty());
    let options = Options {
        unroll: true,
        ..Options::default()
    };
    let graph = import::onnx(&chain(1_000).bytes(), &options).unwrap();
    assert_eq!(graph.notes, ["Loop `LAST`: unrolled, 1000 times"]);
}

#[test]
fn int8_refuses_a_loop_step_by_name() {
    let options = tinsmith::Options::default();
    let target = Target::builtin("host-x86-64").unwrap();
    // Too long to be unrolled.
    let error = tinsmith::compile(
        &target,
        &chain(10_000).bytes(),
        &NoSamples,
        &options,
        &|_, _, _| (),
    )
    .unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("Repeat `LAST`") && error.contains("--precision f32"),
        "{error}"
    );
}

#[test]
fn carried_values_may_change_places() {
    let inner = body(&["a", "b"])
        .node("Mul", &["b", "half"], &["bh"], vec![])
        .node("Sub", &["a", "bh"], &["b2"], vec![])
        .node("Identity", &["b"], &["a2"], vec![]);
    let model = Onnx::new(13).input("a0", [2]).input("x", [2]);
    let model = real(number(model, "n", 201), "half", 0.5)
        .node(
            "Loop",
            &["n", "", "a0", "x"],
            &["a", "b"],
            vec![outputs(inner, &["c", "a2", "b2"])],
        )
        .output("a")
        .output("b");
    let (graph, artifact) = built(&model, &[]);
    let outputs = run(&graph, &artifact.blob, &[Values::f32([2], vec![3.0, -1.0]), x()]);
    let near = |given: &Values, wanted: [f64; 2]| {
        let pairs = given.to_f64().into_iter().zip(wanted);
        pairs.for_each(|(given, wanted)| assert!((given / wanted - 1.0).abs() < 1e-5, "{given} {wanted}"));
    };
    near(
        &outputs[0],
        [-2.604_961_400_414_527_3e21, 5.396_456_267_895_206e21],
    );
    near(&outputs[1], [3.336_373_282_972_237e21, -6.911_654_081_927_177e21]);
}

#[test]
fn loops_within_loops() {
    let inside = body(&["t"]).node("Mul", &["t", "half"], &["t1"], vec![]).node(
        "Add",
        &["t1", "row"],
        &["t2"],
        vec![],
    );
    let inner = body(&["u"])
        .node("Gather", &["xs", "i"], &["row"], vec![int("axis", 0)])
        .node(
            "Loop",
            &["many", "", "u"],
            &["u2"],
            vec![outputs(inside, &["c", "t2"])],
        )
        .node("Mul", &["u2", "u2"], &["square"], vec![]);
    let model = Onnx::new(13).input("x", [2]).input("xs", [150, 2]);
    let model = real(number(number(model, "n", 150), "many", 200), "half", 0.5)
        .node(
            "Loop",
            &["n", "", "x"],
            &["last", "all"],
            vec![outputs(inner, &["c", "u2", "square"])],
        )
        .output("last")
        .output("all");
    let (graph, artifact) = built(&model, &[]);
    assert_eq!(graph.bodies.len(), 1);
    assert_eq!(graph.bodies[0].bodies.len(), 1);
    let outputs = run(&graph, &artifact.blob, &[x(), ramp([150, 2])]);
    near(&outputs[0], &[3.25, -2.25]);
    assert_eq!(row(&outputs[1], 0), [12.25, 3.0625]);
    assert_eq!(row(&outputs[1], 75), [4.0, 0.0625]);
    assert_eq!(row(&outputs[1], 149), [10.5625, 5.0625]);
}

#[test]
fn a_scan_runs_both_ways_over_two_axes() {
    let inner = Onnx::new(13)
        .input("s", [2])
        .input("f", [2])
        .input("r", [2])
        .node("Mul", &["s", "half"], &["sk"], vec![])
        .node("Add", &["sk", "f"], &["sf"], vec![])
        .node("Sub", &["sf", "r"], &["s2"], vec![])
        .node("Identity", &["s2"], &["o1"], vec![])
        .node("Neg", &["s2"], &["o2"], vec![]);
    let attributes = vec![
        outputs(inner, &["s2", "o1", "o2"]),
        int("num_scan_inputs", 2),
        ints("scan_input_axes", &[0, 1]),
        ints("scan_input_directions", &[0, 1]),
        ints("scan_output_axes", &[0, 1]),
        ints("scan_output_directions", &[0, 1]),
    ];
    let model = Onnx::new(13)
        .input("x", [2])
        .input("xf", [300, 2])
        .input("xr", [2, 300]);
    let model = real(model, "half", 0.5)
        .node("Scan", &["x", "xf", "xr"], &["last", "yf", "yr"], attributes)
        .output("last")
        .output("yf")
        .output("yr");
    let (graph, artifact) = built(&model, &[]);
    assert_eq!(graph.notes, ["Scan `LAST`: a loop over one body, 300 times"]);
    let outputs = run(&graph, &artifact.blob, &[x(), ramp([300, 2]), ramp([2, 300])]);
    near(&outputs[0], &[2.315_559_864_044_189_5, -0.616_667_389_869_689_9]);
    for (at, wanted) in [
        (0, [-0.125, -0.25]),
        (1, [-1.6875, 1.25]),
        (299, [2.315_559_864_044_189_5, -0.616_667_389_869_689_9]),
    ] {
        let row: Vec<f32> = row(&outputs[1], at).iter().map(|&value| value as f32).collect();
        near(&Values::f32([2], row), &wanted);
    }
    let yr = outputs[2].to_f64();
    assert_eq!(outputs[2].shape, [2, 300]);
    for (at, wanted) in [
        (0, [-2.315_559_864_044_189_5, 0.616_667_389_869_689_9]),
        (1, [-2.131_119_728_088_379, 2.483_334_779_739_38]),
        (299, [0.125, 0.25]),
    ] {
        for (row, wanted) in wanted.iter().enumerate() {
            assert!((yr[300 * row + at] - wanted).abs() < 2e-6, "{row} {at}");
        }
    }
}

/// `s = 9/8·s` until its sum reaches a limit, at most `n` times; `n` is an input, and every `s` an output.
fn until() -> Onnx {
    let inner = body(&["s"])
        .node("Mul", &["s", "grow"], &["s2"], vec![])
        .node("ReduceSum", &["s2"], &["sum"], vec![])
        .node("Less", &["sum", "limit"], &["less"], vec![])
        .node("Squeeze", &["less"], &["c2"], vec![]);
    let model = Onnx::new(13)
        .input("x", [2])
        .typed_input("n", DataType::Int64, [1])
        .input("limit", [1])
        .constant("yes", &Values::new([], Data::Bool(vec![true])));
    real(model, "grow", 1.125)
        .node(
            "Loop",
            &["n", "yes", "x"],
            &["last", "all"],
            vec![outputs(inner, &["c2", "s2", "s2"])],
        )
        .output("last")
        .output("all")
}

/// The limit, the count, how many iterations ONNX Runtime makes of it, and what is carried in the end.
const UNTIL: [(f32, i64, usize, [f64; 2]); 4] = [
    (100.0, 1_000, 30, [34.243_301_391_601_56, 68.486_602_783_203_12]),
    (1e9, 12, 12, [4.109_890_460_968_018, 8.219_780_921_936_035]),
    (3.2, 1_000, 1, [1.125, 2.25]),
    (100.0, 0, 0, [1.0, 2.0]),
];

#[test]
fn a_loop_ends_early_and_leaves_zeros_behind() {
    let (graph, artifact) = built(&until(), &[("LAST", 200)]);
    let wanted = "Loop `LAST`: a loop over one body, at most 200 times, as long as its condition holds";
    assert_eq!(graph.notes, [wanted]);
    for (limit, n, rows, last) in UNTIL {
        let inputs = [
            x(),
            Values::new([1], Data::I64(vec![n])),
            Values::f32([1], vec![limit]),
        ];
        let outputs = run(&graph, &artifact.blob, &inputs);
        near(&outputs[0], &last);
        assert_eq!(outputs[1].shape, [200, 2]);
        if rows > 0 {
            assert_eq!(row(&outputs[1], rows - 1), outputs[0].to_f64());
        }
        assert!(outputs[1].to_f64()[2 * rows..].iter().all(|&value| value == 0.0));
    }
    refused(
        &until(),
        &[
            "Loop `LAST`",
            "a trip count known at compile time wanted",
            "--bound LAST=N",
        ],
    );
    // A known count does not say how many rows there are.
    let mut known = number(until(), "most", 1_000);
    known.graph().node[0].input[0] = "most".into();
    refused(
        &known,
        &[
            "Loop `LAST`",
            "whose length the condition decides",
            "--bound LAST=N",
        ],
    );
    known.graph().node[0].output.pop();
    known.graph().output.pop();
    let (graph, _) = built(&known, &[]);
    assert!(graph.notes[0].contains("at most 1000 times"), "{:?}", graph.notes);
}

#[test]
fn what_cannot_be_a_step_is_unrolled_or_refused() {
    // A value that grows has no place of its own.
    let grows = |trips: i64| {
        let inner = body(&["s"]).node("Concat", &["s", "x"], &["s2"], vec![int("axis", 0)]);
        number(Onnx::new(13).input("x", [2]), "n", trips)
            .node(
                "Loop",
                &["n", "", "x"],
                &["last"],
                vec![outputs(inner, &["c", "s2"])],
            )
            .output("last")
    };
    let graph = import::onnx(&grows(200).bytes(), &Options::default()).unwrap();
    assert_eq!(graph.notes, ["Loop `LAST`: unrolled, 200 times"]);
    let all = reference::run(&graph, &[x()]).unwrap();
    assert_eq!(all[0].shape, [402]);
    let problems = problems(&grows(100_000), &Options::default());
    assert!(
        problems[0].contains("carried values of one type wanted"),
        "{problems:?}"
    );
}

#[test]
fn bodies_read_back_as_written_and_are_verified() {
    let graph = import::onnx(&chain(1_000).bytes(), &Options::default()).unwrap();
    let text = print(&graph, Constants::Full);
    let again = parse::<FloatTensor>(&text).unwrap();
    assert_eq!(print(&again, Constants::Full), text);
    verify(&again).unwrap();
    let broken = |change: &dyn Fn(&mut FloatGraph)| {
        let mut graph = graph.clone();
        change(&mut graph);
        verify(&graph).unwrap_err()
    };
    let is_body = |error: VerifyError| assert!(matches!(error, VerifyError::Body { .. }), "{error}");
    is_body(broken(&|graph| graph.bodies.clear()));
    is_body(broken(&|graph| {
        graph.bodies[0].inputs.swap(0, 1);
    }));
    is_body(broken(&|graph| {
        graph.bodies[0].outputs.pop();
    }));
    let error = broken(&|graph| graph.bodies[0].nodes.reverse());
    assert!(matches!(error, VerifyError::ReadBeforeWrite { .. }), "{error}");
    assert!(parse::<FloatTensor>(&text.replace("}\n", "")).is_err());
    assert!(parse::<FloatTensor>(&"body {\n".repeat(100_000)).is_err());
}

#[test]
fn a_carried_condition_chooses_between_branches() {
    // `v + x` and `v / 2` in turn: the condition that chooses is carried, and changed in the same iteration.
    let then = Onnx::new(13).node("Add", &["v", "x"], &["a"], vec![]).output("a");
    let other = Onnx::new(13)
        .node("Mul", &["v", "half"], &["a"], vec![])
        .output("a");
    let branch = |name: &str, mut model: Onnx| subgraph(name, std::mem::take(model.graph()));
    let inner = body(&["v"])
        .typed_input("turn", DataType::Bool, SCALAR)
        .node("Not", &["turn"], &["next"], vec![])
        .node(
            "If",
            &["turn"],
            &["v2"],
            vec![branch("then_branch", then), branch("else_branch", other)],
        );
    let model = Onnx::new(13)
        .input("x", [2])
        .constant("yes", &Values::new([], Data::Bool(vec![true])));
    let model = real(number(model, "n", 301), "half", 0.5)
        .node(
            "Loop",
            &["n", "", "x", "yes"],
            &["last"],
            vec![outputs(inner, &["c", "v2", "next"])],
        )
        .output("last");
    let (graph, artifact) = built(&model, &[]);
    assert_eq!(graph.bodies.len(), 1);
    let outputs = run(&graph, &artifact.blob, &[x()]);
    // 2x and x in turn, and the last iteration is one that adds.
    near(&outputs[0], &[2.0, 4.0]);
}
