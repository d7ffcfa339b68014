//! Control flow and sequences: what is known is unrolled, the rest is refused by name.

use tinsmith::import::{self, ImportError, Options};
use tinsmith::ir::FloatGraph;
use tinsmith::op::tensor::{Data, Values};
use tinsmith::reference;
use tinsmith_proto::GraphProto;
use tinsmith_proto::tensor_proto::DataType;

use super::onnx::{Onnx, int, ints, subgraph};
use super::refused::{problems, refused};

/// A graph for an attribute, from the nodes of a model.
fn graph(mut model: Onnx) -> GraphProto {
    std::mem::take(model.graph())
}

fn body() -> Onnx {
    Onnx::new(13)
}

fn flag(name: &str, values: &[bool], model: Onnx) -> Onnx {
    let shape = if values.len() == 1 {
        vec![]
    } else {
        vec![values.len()]
    };
    model.constant(name, &Values::new(shape, Data::Bool(values.to_vec())))
}

fn number(name: &str, value: i64, model: Onnx) -> Onnx {
    model.constant(name, &Values::new([], Data::I64(vec![value])))
}

fn imported(model: &Onnx) -> FloatGraph {
    import::onnx(&model.bytes(), &Options::default()).unwrap()
}

/// What a model makes of `x = [1, 2]`.
fn values(model: &Onnx) -> Vec<Vec<f64>> {
    let x = Values::f32([2], vec![1.0, 2.0]);
    let outputs = reference::run(&imported(model), &[x]).unwrap();
    outputs.iter().map(Values::to_f64).collect()
}

fn x() -> Onnx {
    Onnx::new(13).input("x", [2])
}

/// If with `x + x` where the condition holds, else `x·x`; the inner names are those of the outer graph.
fn choice(condition: bool) -> Onnx {
    let then = body().node("Add", &["x", "x"], &["y"], vec![]);
    let then = then.node("Identity", &["y"], &["a"], vec![]).output("a");
    let other = body().node("Mul", &["x", "x"], &["a"], vec![]).output("a");
    flag("c", &[condition], x())
        .node("Relu", &["x"], &["a"], vec![])
        .node(
            "If",
            &["c"],
            &["y"],
            vec![
                subgraph("then_branch", graph(then)),
                subgraph("else_branch", graph(other)),
            ],
        )
        .node("Add", &["y", "a"], &["z"], vec![])
        .output("z")
}

#[test]
fn a_known_condition_leaves_its_branch_and_a_note() {
    assert_eq!(values(&choice(true)), [[3.0, 6.0]]);
    assert_eq!(values(&choice(false)), [[2.0, 6.0]]);
    let wanted =
        "If `Y`: its condition is always true, so only then_branch is compiled and else_branch is not";
    assert_eq!(imported(&choice(true)).notes, [wanted]);
}

/// If with a condition that is an input: `sigmoid(x) + x`, or `tanh(x) · x`.
pub(crate) fn chosen_when_running() -> Onnx {
    let then = body()
        .node("Sigmoid", &["x"], &["a"], vec![])
        .node("Add", &["a", "x"], &["b"], vec![])
        .output("b");
    let other = body()
        .node("Tanh", &["x"], &["a"], vec![])
        .node("Mul", &["a", "x"], &["b"], vec![])
        .output("b");
    x().typed_input("c", DataType::Bool, [1])
        .node(
            "If",
            &["c"],
            &["y"],
            vec![
                subgraph("then_branch", graph(then)),
                subgraph("else_branch", graph(other)),
            ],
        )
        .output("y")
}

#[test]
fn a_condition_of_run_time_chooses_between_both_branches() {
    let graph = imported(&chosen_when_running());
    let x = [1.0_f32, 2.0];
    for condition in [true, false] {
        let inputs = [
            Values::f32([2], x.to_vec()),
            Values::new([1], Data::Bool(vec![condition])),
        ];
        let found = reference::run(&graph, &inputs).unwrap();
        let wanted = x.map(|x| {
            if condition {
                1.0 / (1.0 + libm::expf(0.0 - x)) + x
            } else {
                libm::tanhf(x) * x
            }
        });
        assert_eq!(found, [Values::f32([2], wanted.to_vec())]);
    }
    let mut apart = chosen_when_running();
    let other = apart.graph().node[0].attribute[1].g.as_mut().unwrap();
    other.node[1].op_type = "Concat".into();
    other.node[1].attribute = vec![int("axis", 0)];
    refused(
        &apart,
        &[
            "If `Y`",
            "one type wanted on both sides",
            "f32[2] and f32[4] found",
        ],
    );
}

#[test]
fn problems_inside_a_branch_are_named() {
    let then = body().node("Frobnicate", &["x"], &["b"], vec![]).output("b");
    let other = body().output("b");
    let model = flag("c", &[true], x())
        .node(
            "If",
            &["c"],
            &["y"],
            vec![
                subgraph("then_branch", graph(then)),
                subgraph("else_branch", graph(other)),
            ],
        )
        .output("y");
    refused(&model, &["Frobnicate `B`", "unknown operator"]);
}

/// A loop that adds `x`, which is outside, to what it carries, and gives every sum.
fn adding(trips: Option<i64>, condition: Option<bool>, goes_on: &str) -> Onnx {
    let inner = body()
        .typed_input("i", DataType::Int64, [0_i64; 0])
        .typed_input("goes_on", DataType::Bool, [0_i64; 0])
        .input("carried", [2])
        .node("Add", &["carried", "x"], &["sum"], vec![])
        .node("Identity", &["sum"], &["copy"], vec![])
        .output(goes_on)
        .output("sum")
        .output("copy");
    let mut model = flag("no", &[false], x()).input("start", [2]);
    let mut names = ["", ""];
    if let Some(trips) = trips {
        model = number("trips", trips, model);
        names[0] = "trips";
    }
    if let Some(condition) = condition {
        model = flag("condition", &[condition], model);
        names[1] = "condition";
    }
    model
        .node(
            "Loop",
            &[names[0], names[1], "start"],
            &["last", "all"],
            vec![subgraph("body", graph(inner))],
        )
        .output("last")
        .output("all")
}

fn sums(model: &Onnx) -> Vec<Values> {
    let x = Values::f32([2], vec![1.0, 2.0]);
    let start = Values::f32([2], vec![10.0, 20.0]);
    reference::run(&imported(model), &[x, start]).unwrap()
}

#[test]
fn loops_of_known_length_are_unrolled() {
    let wanted = [
        Values::f32([2], vec![13.0, 26.0]),
        Values::f32([3, 2], vec![11.0, 22.0, 12.0, 24.0, 13.0, 26.0]),
    ];
    assert_eq!(sums(&adding(Some(3), None, "goes_on")), wanted);
    assert_eq!(sums(&adding(Some(3), Some(true), "goes_on")), wanted);
    // Without a condition, the one that the body computes is ignored; with one it ends the loop.
    assert_eq!(sums(&adding(Some(3), None, "no")), wanted);
    let once = sums(&adding(Some(3), Some(true), "no"));
    assert_eq!(once[1], Values::f32([1, 2], vec![11.0, 22.0]));
    assert_eq!(sums(&adding(None, Some(true), "no")), once);
}

/// A loop that goes on by what an input says: the carried value is added to itself while `more` holds at the iteration's
/// index.
fn until_above(trips: Option<i64>, outputs: &[&str]) -> Onnx {
    let mut model = adding(trips, Some(true), "next").typed_input("more", DataType::Bool, [3]);
    let inner = model.graph().node[0].attribute[0].g.as_mut().unwrap();
    let gather = graph(body().node("Gather", &["more", "i"], &["next"], vec![]));
    inner.node.extend(gather.node);
    model.graph().node[0].output = outputs.iter().map(|&name| name.to_owned()).collect();
    model.graph().output.truncate(outputs.len());
    model
}

#[test]
fn loops_end_by_conditions_of_run_time() {
    let graph = imported(&until_above(Some(3), &["last"]));
    for (more, sum) in [
        ([true, true, true], 13.0),
        ([true, false, true], 12.0),
        ([false, true, true], 11.0),
    ] {
        let inputs = [
            Values::f32([2], vec![1.0, 2.0]),
            Values::f32([2], vec![10.0, 20.0]),
            Values::new([3], Data::Bool(more.to_vec())),
        ];
        let found = reference::run(&graph, &inputs).unwrap();
        assert_eq!(found, [Values::f32([2], vec![sum, 2.0 * sum])], "{more:?}");
    }
}

#[test]
fn loops_that_cannot_be_unrolled_are_refused() {
    refused(
        &adding(None, None, "goes_on"),
        &["Loop `LAST`", "an endless loop found"],
    );
    refused(
        &adding(Some(i64::MAX), None, "goes_on"),
        &["Loop `LAST`", "nodes when unrolled"],
    );
    refused(
        &adding(Some(i64::MAX), Some(true), "goes_on"),
        &["Loop `LAST`", "nodes when unrolled"],
    );
    refused(
        &adding(None, Some(true), "goes_on"),
        &["Loop `LAST`", "nodes when unrolled"],
    );
    // No iteration leaves open what `all` would have been stacked from.
    refused(
        &adding(Some(0), None, "goes_on"),
        &["Loop `LAST`", "at least one iteration wanted"],
    );
    // What is stacked has a known length.
    refused(
        &until_above(Some(3), &["last", "all"]),
        &["Loop `LAST`", "whose length the condition decides"],
    );
    refused(
        &until_above(None, &["last"]),
        &["Loop `LAST`", "a trip count beside a condition"],
    );
    let inner = adding(None, None, "goes_on").graph().node[0].attribute.clone();
    let model = x()
        .input("start", [2])
        .typed_input("n", DataType::Int64, [1])
        .node("Loop", &["n", "", "start"], &["last", "all"], inner)
        .output("last");
    refused(
        &model,
        &["Loop `LAST`", "a trip count known at compile time wanted"],
    );
}

#[test]
fn scans_run_over_axes_backward_and_forward() {
    let inner = body()
        .input("sum", [1])
        .input("next", [1])
        .node("Add", &["sum", "next"], &["sum_out"], vec![])
        .node("Identity", &["sum_out"], &["each"], vec![])
        .output("sum_out")
        .output("each");
    let model = |input: i64, output: i64| {
        Onnx::new(13)
            .input("start", [1])
            .input("xs", [1, 3])
            .node(
                "Scan",
                &["start", "xs"],
                &["last", "all"],
                vec![
                    subgraph("body", graph(inner.clone())),
                    int("num_scan_inputs", 1),
                    ints("scan_input_axes", &[-1]),
                    ints("scan_output_axes", &[1]),
                    ints("scan_input_directions", &[input]),
                    ints("scan_output_directions", &[output]),
                ],
            )
            .output("last")
            .output("all")
    };
    let run = |model: &Onnx| {
        let start = Values::f32([1], vec![0.0]);
        let xs = Values::f32([1, 3], vec![1.0, 2.0, 4.0]);
        reference::run(&imported(model), &[start, xs]).unwrap().remove(1)
    };
    assert_eq!(run(&model(0, 0)), Values::f32([1, 3], vec![1.0, 3.0, 7.0]));
    assert_eq!(run(&model(1, 0)), Values::f32([1, 3], vec![4.0, 6.0, 7.0]));
    assert_eq!(run(&model(0, 1)), Values::f32([1, 3], vec![7.0, 3.0, 1.0]));
    refused(
        &model(0, 2),
        &["Scan `LAST`", "a direction of 0 or 1 wanted, 2 found"],
    );
    let mut bent = model(0, 0);
    bent.graph().node[0].attribute[1].i = 3;
    refused(&bent, &["Scan `LAST`", "1 to 2 sequences wanted, 3 found"]);
    bent.graph().node[0].attribute[1].i = i64::MIN;
    refused(&bent, &["Scan `LAST`", "1 to 2 sequences wanted"]);
    let mut bent = model(0, 0);
    bent.graph().node[0].attribute[2].ints[0] = 7;
    refused(&bent, &["Scan `LAST`", "an axis of 2 wanted, 7 found"]);
}

#[test]
fn sequences_are_lists_at_compile_time() {
    let model = |positions: [i64; 3]| {
        let [inserted, erased, taken] = positions;
        let model = number(
            "inserted",
            inserted,
            number("erased", erased, number("taken", taken, x())),
        );
        model
            .node("Add", &["x", "x"], &["twice"], vec![])
            .node("Mul", &["x", "x"], &["square"], vec![])
            .node("SequenceConstruct", &["x", "twice"], &["s"], vec![])
            .node("SequenceInsert", &["s", "square", "inserted"], &["t"], vec![])
            .node("SequenceErase", &["t", "erased"], &["u"], vec![])
            .node("SequenceAt", &["u", "taken"], &["y"], vec![])
            .node(
                "ConcatFromSequence",
                &["t"],
                &["all"],
                vec![int("axis", 0), int("new_axis", 1)],
            )
            .output("y")
            .output("all")
    };
    // x, square, twice
    let y = values(&model([1, 0, 0]));
    assert_eq!(y, [vec![1.0, 4.0], vec![1.0, 2.0, 1.0, 4.0, 2.0, 4.0]]);
    assert_eq!(values(&model([-1, -1, -1])), y);
    assert_eq!(
        values(&model([2, 0, 1])),
        [vec![1.0, 4.0], vec![1.0, 2.0, 2.0, 4.0, 1.0, 4.0]]
    );
    refused(
        &model([3, 0, 0]),
        &["SequenceInsert `T`", "a position of 3 wanted, 3 found"],
    );
    refused(
        &model([0, -4, 0]),
        &["SequenceErase `U`", "a position of 3 wanted, -4 found"],
    );
    refused(
        &model([0, 0, 2]),
        &["SequenceAt `Y`", "a position of 2 wanted, 2 found"],
    );
    let late = x()
        .typed_input("at", DataType::Int64, [1])
        .node("SequenceConstruct", &["x"], &["s"], vec![])
        .node("SequenceAt", &["s", "at"], &["y"], vec![])
        .output("y");
    refused(
        &late,
        &[
            "SequenceAt `Y`",
            "a position known at compile time wanted",
            "Gather",
        ],
    );
    let mixed = x().node("SequenceConstruct", &["x"], &["s"], vec![]);
    refused(
        &mixed.clone().node("Relu", &["s"], &["y"], vec![]).output("y"),
        &["Relu `Y`", "a tensor wanted, a sequence found"],
    );
    refused(
        &mixed.output("s"),
        &["output `s`", "a tensor wanted, a sequence found"],
    );
}

/// Subgraphs within each other, as many: nothing else is in the file.
pub(crate) fn nested(depth: usize) -> Vec<u8> {
    // From the inside out, backwards, so that each level costs its own bytes alone.
    let mut reversed: Vec<u8> = Vec::new();
    let mut wrap = |tag: u8| {
        let mut head = vec![tag];
        let mut length = reversed.len();
        while length >= 0x80 {
            head.push(length as u8 | 0x80);
            length >>= 7;
        }
        head.push(length as u8);
        reversed.extend(head.iter().rev());
    };
    for _ in 0..depth {
        // A graph's node, a node's attribute, an attribute's graph.
        [6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2]
            .into_iter()
            .for_each(&mut wrap);
    }
    wrap(7 << 3 | 2);
    reversed.reverse();
    reversed
}

#[test]
fn subgraphs_cannot_be_nested_without_end() {
    for depth in [50, 1000, 100_000] {
        let error = import::onnx(&nested(depth), &Options::default()).unwrap_err();
        assert!(matches!(error, ImportError::NotProtobuf { .. }), "{error}");
        assert!(error.to_string().contains("nested too deep"), "{error}");
    }
    // As deep as decoding allows: branch in branch, the innermost of them reading the outermost graph's input.
    let mut model = flag("c", &[true], body())
        .node("Add", &["x", "x"], &["y"], vec![])
        .output("y");
    for _ in 0..28 {
        let inner = graph(model);
        let attributes = vec![
            subgraph("then_branch", inner.clone()),
            subgraph("else_branch", inner),
        ];
        // The other branch, which is not taken, need not be as deep.
        let attributes = attributes
            .into_iter()
            .map(|mut attribute| {
                if attribute.name == "else_branch" {
                    attribute.g = Some(graph(body().output("x")));
                }
                attribute
            })
            .collect();
        model = flag("c", &[true], body())
            .node("If", &["c"], &["y"], attributes)
            .output("y");
    }
    let model = Onnx(model.input("x", [2]).0);
    assert_eq!(values(&model), [[2.0, 4.0]]);
    assert!(problems(&x().output("missing"), &Options::default())[0].contains("nothing makes it"));
}
