//! Operators that move, name, order and find elements: through import, reference and an f32 blob on the simulator, which
//! must agree to the bit.

use std::collections::BTreeMap;

use tinsmith::import::{self, ImportError};
use tinsmith::ir::{FloatGraph, NoSamples};
use tinsmith::op::tensor::{Data, Values};
use tinsmith::quantize::Precision;
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith::{Error, Options, reference};
use tinsmith_proto::tensor_proto::DataType;

use super::onnx::{Onnx, int, ints, word};

fn f32s(shape: &[usize], from: impl Fn(usize) -> f32) -> Values {
    let count: usize = shape.iter().product();
    Values::f32(shape, (0..count).map(from).collect())
}

fn i64s(shape: &[usize], elements: &[i64]) -> Values {
    Values::new(shape, Data::I64(elements.to_vec()))
}

/// Numbers without any order.
fn mixed(i: usize) -> f32 {
    ((i * 37 + 11) % 29) as f32 - 14.0
}

fn graph(model: &Onnx, options: &import::Options) -> FloatGraph {
    import::onnx(&model.bytes(), options).unwrap()
}

fn compile(model: &Onnx, options: &import::Options) -> Result<Vec<u8>, Error> {
    let mut all = Options {
        import: options.clone(),
        ..Options::default()
    };
    all.quantize.precision = Precision::F32;
    let graph = tinsmith::load(&model.bytes(), &all)?;
    let target = Target::builtin("host-x86-64").unwrap();
    let artifact = tinsmith::build(&target, graph, &NoSamples, &all, &|_, _, _| ())?;
    Ok(artifact.blob)
}

/// What the model gives, on the reference and on the device alike.
#[track_caller]
fn run_with(model: &Onnx, options: &import::Options, inputs: &[Values]) -> Vec<Values> {
    let wanted = reference::run(&graph(model, options), inputs).unwrap();
    let blob = compile(model, options).unwrap();
    let mut simulator = Simulator::new(&blob).unwrap();
    let stored = edge::store_all(simulator.blob(), inputs).unwrap();
    let stored: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
    let found = simulator.run(&stored).unwrap();
    let found = edge::load_all(simulator.blob(), &found).unwrap();
    let bits =
        |values: &[Values]| -> Vec<_> { values.iter().map(|v| (v.ty(), v.data.to_le_bytes())).collect() };
    assert_eq!(bits(&found), bits(&wanted));
    wanted
}

#[track_caller]
fn run(model: &Onnx, inputs: &[Values]) -> Vec<Values> {
    run_with(model, &import::Options::default(), inputs)
}

#[test]
fn movement_of_any_rank_runs_on_the_device() {
    // Seven dimensions of which no two run on.
    let shape = [2_i64, 3, 2, 3, 2, 2, 2];
    let model = Onnx::new(13)
        .input("x", shape)
        .node(
            "Transpose",
            &["x"],
            &["t"],
            vec![ints("perm", &[6, 4, 2, 0, 5, 3, 1])],
        )
        .output("t");
    let x = f32s(&shape.map(|extent| extent as usize), |i| i as f32);
    let y = run(&model, std::slice::from_ref(&x)).remove(0);
    // Element [1, 0, 0, 0, 0, 0, 0] of the output is [0, 0, 0, 0, 0, 0, 1] of the input.
    assert_eq!(y.as_f32().unwrap()[y.data.len() / 2], 1.0);

    let model = Onnx::new(13)
        .input("x", [2, 1, 3])
        .ints("repeats", &[2, 1, 3])
        .ints("shape", &[1, 2, 2, 3])
        .node("Tile", &["x", "repeats"], &["tiled"], vec![])
        .node("Expand", &["x", "shape"], &["expanded"], vec![])
        .output("tiled")
        .output("expanded");
    let x = f32s(&[2, 1, 3], |i| i as f32);
    let outputs = run(&model, &[x]);
    assert_eq!(outputs[0].shape, [4, 1, 9]);
    assert_eq!(
        outputs[0].as_f32().unwrap()[..9],
        [0., 1., 2., 0., 1., 2., 0., 1., 2.]
    );
    assert_eq!(outputs[1].shape, [1, 2, 2, 3]);
}

#[test]
fn pads_repeat_mirror_and_begin_anew() {
    for (mode, wanted) in [
        ("edge", [1., 1., 1., 2., 3., 3., 3., 3., 3.]),
        ("reflect", [3., 2., 1., 2., 3., 2., 1., 2., 3.]),
        ("wrap", [2., 3., 1., 2., 3., 1., 2., 3., 1.]),
    ] {
        let model = Onnx::new(19)
            .input("x", [1, 3])
            .ints("pads", &[0, 2, 0, 4])
            .node("Pad", &["x", "pads"], &["y"], vec![word("mode", mode)])
            .output("y");
        let y = run(&model, &[f32s(&[1, 3], |i| i as f32 + 1.0)]);
        assert_eq!(y[0].as_f32().unwrap(), wanted, "{mode}");
    }
}

#[test]
fn computed_indices_gather_rows_and_elements() {
    for (dtype, indices) in [
        (DataType::Int64, i64s(&[2, 2], &[0, -1, 2, 1])),
        (DataType::Int32, Values::new([2, 2], Data::I32(vec![0, -1, 2, 1]))),
    ] {
        let model = Onnx::new(13)
            .input("x", [2, 3, 2])
            .typed_input("i", dtype, [2, 2])
            .node("Gather", &["x", "i"], &["y"], vec![int("axis", 1)])
            .output("y");
        let y = run(&model, &[f32s(&[2, 3, 2], |i| i as f32), indices]);
        assert_eq!(y[0].as_f32().unwrap()[..8], [0., 1., 4., 5., 4., 5., 2., 3.]);
    }
    let model = Onnx::new(13)
        .input("x", [3, 2, 4])
        .typed_input("i", DataType::Int64, [2, 2, 3])
        .node("GatherElements", &["x", "i"], &["y"], vec![int("axis", 1)])
        .output("y");
    let indices = i64s(&[2, 2, 3], &[0, 1, -1, 1, 0, 0, -2, 1, 1, 0, 0, 1]);
    let y = run(&model, &[f32s(&[3, 2, 4], |i| i as f32), indices]);
    assert_eq!(y[0].as_f32().unwrap()[..6], [0., 5., 6., 4., 1., 2.]);
}

#[test]
fn constant_indices_become_a_table_where_they_are_many() {
    let places: Vec<i64> = (0..40)
        .map(|i| i * i % 23 - if i % 3 == 0 { 23 } else { 0 })
        .collect();
    let tuples: Vec<i64> = (0..30).flat_map(|i| [i * 7 % 23, i % 3]).collect();
    let model = Onnx::new(13)
        .input("x", [23, 3])
        .ints("i", &places)
        .constant("t", &i64s(&[30, 2], &tuples))
        .node("Gather", &["x", "i"], &["rows"], vec![])
        .node("GatherND", &["x", "t"], &["elements"], vec![])
        .output("rows")
        .output("elements");
    let outputs = run(&model, &[f32s(&[23, 3], mixed)]);
    for (row, &place) in outputs[0].as_f32().unwrap().chunks(3).zip(&places) {
        assert_eq!(row[1], mixed(place.rem_euclid(23) as usize * 3 + 1));
    }
    for (&element, tuple) in outputs[1].as_f32().unwrap().iter().zip(tuples.chunks(2)) {
        assert_eq!(element, mixed((tuple[0] * 3 + tuple[1]) as usize));
    }
}

#[test]
fn updates_are_scattered() {
    for (reduction, wanted) in [
        ("none", [0., 10., 30., 3.]),
        ("add", [0., 11., 52., 3.]),
        ("mul", [0., 10., 1200., 3.]),
        ("max", [0., 10., 30., 3.]),
        ("min", [0., 1., 2., 3.]),
    ] {
        let model = Onnx::new(18)
            .input("x", [4])
            .input("u", [3])
            .ints("i", &[1, 2, -2])
            .typed_input("j", DataType::Int64, [3, 1])
            .node(
                "ScatterElements",
                &["x", "i", "u"],
                &["e"],
                vec![word("reduction", reduction)],
            )
            .node(
                "ScatterND",
                &["x", "j", "u"],
                &["s"],
                vec![word("reduction", reduction)],
            )
            .output("e")
            .output("s");
        let updates = f32s(&[3], |i| (i + 1) as f32 * 10.0);
        let outputs = run(
            &model,
            &[f32s(&[4], |i| i as f32), updates, i64s(&[3, 1], &[1, 2, -2])],
        );
        assert_eq!(outputs[0].as_f32().unwrap(), wanted, "{reduction}");
        assert_eq!(outputs[1].as_f32().unwrap(), wanted, "{reduction}");
    }
    // Rows at two indices each, known and computed.
    let model = Onnx::new(18)
        .input("x", [2, 3, 2])
        .input("u", [2, 2])
        .constant("i", &i64s(&[2, 2], &[1, -1, 0, 1]))
        .node("ScatterND", &["x", "i", "u"], &["y"], vec![])
        .output("y");
    let y = run(
        &model,
        &[
            f32s(&[2, 3, 2], |i| i as f32),
            f32s(&[2, 2], |i| 100.0 + i as f32),
        ],
    );
    let wanted = [0., 1., 102., 103., 4., 5., 6., 7., 8., 9., 100., 101.];
    assert_eq!(y[0].as_f32().unwrap(), wanted);
}

#[test]
fn elements_are_ordered_and_added_up_along_any_axis() {
    let x = f32s(&[3, 5, 2], |i| mixed(i) * if i % 7 == 3 { -0.0 } else { 1.0 });
    let model = Onnx::new(14)
        .input("x", [3, 5, 2])
        .ints("k", &[4])
        .ints("axis", &[1])
        .node("TopK", &["x", "k"], &["v", "i"], vec![int("axis", 1)])
        .node(
            "TopK",
            &["x", "k"],
            &["w", "j"],
            vec![int("axis", 1), int("largest", 0)],
        )
        .node(
            "ArgMax",
            &["x"],
            &["m"],
            vec![int("keepdims", 0), int("select_last_index", 1)],
        )
        .node("ArgMin", &["x"], &["n"], vec![int("axis", -1)])
        .node("CumSum", &["x", "axis"], &["c"], vec![int("reverse", 1)])
        .node("CumSum", &["x", "axis"], &["d"], vec![int("exclusive", 1)])
        .node("Trilu", &["x"], &["t"], vec![int("upper", 0)])
        .output("v")
        .output("i")
        .output("w")
        .output("j")
        .output("m")
        .output("n")
        .output("c")
        .output("d")
        .output("t");
    let outputs = run(&model, std::slice::from_ref(&x));
    let x = x.as_f32().unwrap();
    let column: Vec<f32> = (0..5).map(|k| x[2 * k]).collect();
    let mut sorted = column.clone();
    sorted.sort_by(|a, b| b.partial_cmp(a).unwrap());
    let values: Vec<f32> = (0..4).map(|k| outputs[0].as_f32().unwrap()[2 * k]).collect();
    assert_eq!(values, sorted[..4]);
    assert_eq!(outputs[6].as_f32().unwrap()[0], column.iter().rev().sum::<f32>());
    assert_eq!(outputs[7].as_f32().unwrap()[2], column[0]);
    assert_eq!(outputs[8].as_f32().unwrap()[1], 0.0);
}

#[test]
fn computed_boxes_are_bounded_by_onnx_itself() {
    let boxes = f32s(&[1, 6, 4], |i| {
        let (row, side) = (i / 4, i % 4);
        [row / 2 * 3, row % 2, row / 2 * 3 + 2, row % 2 + 2][side] as f32
    });
    let scores = Values::f32([1, 1, 6], vec![0.9, 0.8, 0.3, 0.7, 0.7, 0.1]);
    let model = Onnx::new(11)
        .input("boxes", [1, 6, 4])
        .input("scores", [1, 1, 6])
        .ints("most", &[4])
        .constant("iou", &Values::f32([1], vec![0.3]))
        .constant("least", &Values::f32([1], vec![0.2]))
        .node(
            "NonMaxSuppression",
            &["boxes", "scores", "most", "iou", "least"],
            &["y"],
            vec![],
        )
        .output("y");
    let outputs = run(&model, &[boxes, scores]);
    assert_eq!(outputs[0], i64s(&[4, 3], &[0, 0, 0, 0, 0, 3, 0, 0, 4, 0, 0, 0]));
    assert_eq!(outputs[1], i64s(&[1], &[3]));
}

fn finding() -> Onnx {
    Onnx::new(13)
        .input("x", [2, 3])
        .typed_input("c", DataType::Bool, [3])
        .node("NonZero", &["x"], &["places"], vec![])
        .node("Compress", &["x", "c"], &["columns"], vec![int("axis", 1)])
        .output("places")
        .output("columns")
}

#[test]
fn what_data_decides_needs_a_bound() {
    let x = Values::f32([2, 3], vec![0.0, 5.0, -0.0, f32::NAN, 0.0, 7.0]);
    let c = Values::new([3], Data::Bool(vec![false, false, true]));
    let bounds = BTreeMap::from([("PLACES".to_owned(), 4), ("COLUMNS".to_owned(), 2)]);
    let options = import::Options {
        bounds,
        ..import::Options::default()
    };
    let outputs = run_with(&finding(), &options, &[x, c]);
    assert_eq!(outputs.len(), 4);
    assert_eq!(outputs[0], i64s(&[2, 4], &[0, 1, 1, 0, 1, 0, 2, 0]));
    // Behind the only column found stands the first one.
    let columns = outputs[1].as_f32().unwrap();
    assert_eq!(columns[..3], [0.0, 0.0, 7.0]);
    assert!(columns[3].is_nan());
    assert_eq!([&outputs[2], &outputs[3]], [&i64s(&[1], &[3]), &i64s(&[1], &[1])]);

    let refused = |options: &import::Options, words: &[&str]| {
        let Err(ImportError::Problems(problems)) = import::onnx(&finding().bytes(), options) else {
            panic!("taken");
        };
        let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for word in words {
            assert!(text.join("\n").contains(word), "{word}: {text:?}");
        }
    };
    refused(
        &import::Options::default(),
        &["NonZero `PLACES`", "--bound PLACES=N", "--bound COLUMNS=N"],
    );
    let mut unused = options;
    unused.bounds.insert("nobody".to_owned(), 3);
    refused(&unused, &["node `nobody`", "finds no elements"]);
}

#[test]
fn what_constants_decide_is_known() {
    let x = Values::f32([2, 3], vec![0.0, 5.0, -0.0, f32::NAN, 0.0, 7.0]);
    let options = import::Options {
        values: BTreeMap::from([("x".to_owned(), x)]),
        bounds: BTreeMap::from([("COLUMNS".to_owned(), 1)]),
        ..import::Options::default()
    };
    let c = Values::new([3], Data::Bool(vec![true, false, false]));
    let outputs = run_with(&finding(), &options, &[c]);
    assert_eq!(outputs[0], i64s(&[2, 3], &[0, 1, 1, 1, 0, 2]));
    assert_eq!(outputs.len(), 3, "a known number needs no count");
}

#[test]
fn arithmetic_on_shapes_leaves_no_node() {
    let model = Onnx::new(13)
        .input("x", [1, 6, 4])
        .constant("zero", &i64s(&[], &[0]))
        .constant("one", &i64s(&[], &[1]))
        .ints("first", &[0])
        .ints("rest", &[-1])
        .node("Shape", &["x"], &["shape"], vec![])
        .node("Gather", &["shape", "one"], &["steps"], vec![])
        .node("Gather", &["shape", "zero"], &["batch"], vec![])
        .node("Unsqueeze", &["batch", "first"], &["b"], vec![])
        .node("Unsqueeze", &["steps", "first"], &["s"], vec![])
        .node("Concat", &["b", "s", "rest"], &["wanted"], vec![int("axis", 0)])
        .node("Reshape", &["x", "wanted"], &["same"], vec![])
        .node("Range", &["zero", "steps", "one"], &["range"], vec![])
        .node("Size", &["x"], &["size"], vec![])
        .node("Concat", &["b", "s"], &["table"], vec![int("axis", 0)])
        .node("Expand", &["range", "table"], &["positions"], vec![])
        .node("ConstantOfShape", &["table"], &["zeros"], vec![])
        .node("Relu", &["same"], &["y"], vec![])
        .output("y")
        .output("positions")
        .output("zeros");
    let mut graph = graph(&model, &import::Options::default());
    graph = tinsmith::optimize::run(graph, &tinsmith::optimize::Options::default()).unwrap();
    let operators: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(operators, ["Unary"]);
}

#[test]
fn outputs_may_be_constants_and_inputs() {
    let model = Onnx::new(13)
        .input("x", [3])
        .ints("c", &[1, 2, 3])
        .node("Relu", &["x"], &["y"], vec![])
        .output("c")
        .output("y")
        .output("x");
    let x = Values::f32([3], vec![-1.0, 0.0, 2.0]);
    let outputs = run(&model, std::slice::from_ref(&x));
    assert_eq!(outputs[0], i64s(&[3], &[1, 2, 3]));
    assert_eq!(outputs[2], x);
}

#[test]
fn nothing_has_no_place_on_a_device() {
    let model = Onnx::new(13)
        .input("x", [0, 3])
        .input("z", [3])
        .node("Relu", &["z"], &["y"], vec![])
        .output("y")
        .output("x");
    assert_eq!(graph(&model, &import::Options::default()).outputs.len(), 2);
    let error = compile(&model, &import::Options::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("`x`") && error.contains("no elements"), "{error}");
}

#[test]
fn old_forms_mean_the_same() {
    let old = Onnx::new(1)
        .input("x", [2, 3])
        .node(
            "Reshape",
            &["x"],
            &["r"],
            vec![ints("shape", &[3, -1]), ints("consumed_inputs", &[0])],
        )
        .node("Pad", &["r"], &["p"], vec![ints("paddings", &[1, 0, 0, 0])])
        .node("TopK", &["p"], &["y", "i"], vec![int("k", 1)])
        .output("y");
    let y = run(&old, &[f32s(&[2, 3], |i| i as f32)]);
    assert_eq!(y[0], Values::f32([4, 1], vec![0.0, 1.0, 3.0, 5.0]));
}
