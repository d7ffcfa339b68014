//! What operators become: small models as text graphs, and old forms of operators beside new ones.

use tinsmith::import::{self, Options};
use tinsmith::ir::FloatGraph;
use tinsmith::ir::text::{Constants, print};
use tinsmith::ir::verify::verify;
use tinsmith::op;
use tinsmith::op::tensor::{Data, Values};
use tinsmith::reference;
use tinsmith_proto::AttributeProto;

use super::onnx::{Onnx, float, int, ints, value, word};

fn import(model: &Onnx) -> FloatGraph {
    let graph = import::onnx(&model.bytes(), &Options::default()).unwrap();
    verify(&graph).unwrap();
    graph
}

fn text(model: &Onnx) -> String {
    print(&import(model), Constants::Summary)
}

fn i8s(shape: &[usize]) -> Values {
    let count: usize = shape.iter().product();
    Values::new(shape, Data::I8((0..count).map(|i| i as i8).collect()))
}

#[test]
fn convolutions_share_their_images() {
    let model = Onnx::new(13)
        .input("x", [1, 2, 5, 6])
        .zeros("w", &[4, 1, 3, 2])
        .zeros("b", &[4])
        .zeros("v", &[3, 4, 1, 1])
        .node(
            "Conv",
            &["x", "w", "b"],
            &["y"],
            vec![
                int("group", 2),
                ints("pads", &[1, 0, 2, 1]),
                ints("strides", &[2, 1]),
                ints("dilations", &[1, 2]),
            ],
        )
        .node("Conv", &["y", "v"], &["z"], vec![word("auto_pad", "VALID")])
        .node(
            "Conv",
            &["x", "w"],
            &["u"],
            vec![int("group", 2), word("auto_pad", "SAME_LOWER")],
        )
        .output("z")
        .output("u");
    insta::assert_snapshot!(text(&model));
}

#[test]
fn one_dimension_becomes_an_image_of_height_one() {
    let model = Onnx::new(15)
        .input("x", [1, 3, 8])
        .zeros("w", &[4, 3, 3])
        .zeros("c", &[4])
        .node("Conv", &["x", "w"], &["y"], vec![ints("pads", &[1, 1])])
        .node("BatchNormalization", &["y", "c", "c", "c", "c"], &["n"], vec![])
        .node("Relu", &["n"], &["r"], vec![])
        .node(
            "MaxPool",
            &["r"],
            &["z"],
            vec![ints("kernel_shape", &[2]), ints("strides", &[2])],
        )
        .output("z");
    insta::assert_snapshot!(text(&model));
}

#[test]
fn dequantized_weights_are_moved_as_integers() {
    let model = Onnx::new(13)
        .input("x", [1, 3, 4, 4])
        .constant("w", &i8s(&[2, 3, 1, 1]))
        .constant("s", &Values::f32([2], vec![0.5, 0.25]))
        .constant("z", &Values::new([2], Data::I8(vec![0, 0])))
        .node(
            "DequantizeLinear",
            &["w", "s", "z"],
            &["wd"],
            vec![int("axis", 0)],
        )
        .node("Conv", &["x", "wd"], &["y"], vec![])
        .node("Flatten", &["y"], &["f"], vec![])
        .constant("m", &i8s(&[2, 32]))
        .node("DequantizeLinear", &["m", "s"], &["md"], vec![int("axis", 0)])
        .node("Gemm", &["f", "md"], &["g"], vec![int("transB", 1)])
        .output("g");
    insta::assert_snapshot!(text(&model));
}

#[test]
fn gemm_becomes_a_product_and_a_sum() {
    let model = Onnx::new(11)
        .input("a", [3, 2])
        .constant("b", &Values::f32([3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
        .constant("c", &Values::f32([2], vec![1.0, 2.0]))
        .node(
            "Gemm",
            &["a", "b", "c"],
            &["y"],
            vec![float("alpha", 0.5), float("beta", 2.0), int("transA", 1)],
        )
        .output("y");
    insta::assert_snapshot!(text(&model));
    let x = Values::f32([3, 2], vec![1.0, 0.0, 0.0, 1.0, 2.0, 0.0]);
    let y = reference::run(&import(&model), &[x]).unwrap();
    assert_eq!(y, [Values::f32([2, 2], vec![7.5, 11.0, 3.5, 6.0])]);
}

#[test]
fn arithmetic_on_shapes_is_done() {
    let model = Onnx::new(13)
        .input("x", ["batch", "6"])
        .ints("zero", &[0])
        .ints("rest", &[-1])
        .node("Shape", &["x"], &["shape"], vec![])
        .node("Gather", &["shape", "zero"], &["n"], vec![])
        .node("Concat", &["n", "rest"], &["to"], vec![int("axis", 0)])
        .node("Relu", &["x"], &["r"], vec![])
        .node("Reshape", &["r", "to"], &["y"], vec![])
        .output("y");
    let options = Options {
        dims: [("6".to_owned(), 6)].into(),
        ..Options::default()
    };
    let graph = import::onnx(&model.bytes(), &options).unwrap();
    insta::assert_snapshot!(print(&graph, Constants::Summary));
}

#[test]
fn what_changes_nothing_leaves_no_node() {
    let model = Onnx::new(13)
        .input("x", [1, 4])
        .node("Dropout", &["x"], &["d", "mask"], vec![])
        .node("Identity", &["d"], &["i"], vec![])
        .node("Relu", &["i"], &["r"], vec![])
        .node("Sigmoid", &["r"], &["dead"], vec![])
        .node("Identity", &["r"], &["renamed"], vec![])
        .node("Identity", &["r"], &["copied"], vec![])
        .node("Cast", &["x"], &["input_again"], vec![int("to", 1)])
        .output("renamed")
        .output("copied")
        .output("input_again");
    insta::assert_snapshot!(text(&model));
}

#[test]
fn names_are_made_unique() {
    let mut model = Onnx::new(13)
        .input("x", [1, 3, 4, 4])
        .zeros("x/channels_last", &[3, 3, 1, 1])
        .node("Conv", &["x", "x/channels_last"], &["y"], vec![])
        .node("Conv", &["y", "x/channels_last"], &["z"], vec![])
        .node("Relu", &["z"], &["r"], vec![])
        .output("r");
    for node in &mut model.graph().node {
        node.name = "same".into();
    }
    model.graph().node[2].name = String::new();
    insta::assert_snapshot!(text(&model));
}

#[test]
fn a_missing_zero_point_is_written_out() {
    let model = Onnx::new(21)
        .input("x", [1, 4])
        .constant("s", &Values::f32([], vec![0.5]))
        .node("QuantizeLinear", &["x", "s"], &["u"], vec![])
        .node("DequantizeLinear", &["u", "s"], &["f"], vec![])
        .node(
            "QuantizeLinear",
            &["f", "s"],
            &["q"],
            vec![int("output_dtype", 3)],
        )
        .node("ai.tinsmith.Delay", &["q"], &["y"], vec![])
        .output("y");
    let mut model = model;
    model.0.opset_import.push(tinsmith_proto::OperatorSetIdProto {
        domain: "ai.tinsmith".into(),
        version: 1,
    });
    insta::assert_snapshot!(text(&model));
}

#[test]
fn constants_listed_as_inputs_are_no_inputs() {
    let model = Onnx::new(9)
        .input("x", [1, 4])
        .input("b", [4])
        .zeros("b", &[4])
        .node("Add", &["x", "b"], &["y"], vec![])
        .output("y");
    assert_eq!(import(&model).inputs.len(), 1);
}

/// One node on `x` with further constant inputs, and what comes out for a ramp.
fn run(
    opset: i64,
    op: &str,
    shape: &[usize],
    constants: &[Values],
    attributes: Vec<AttributeProto>,
) -> Values {
    let names: Vec<String> = (0..constants.len()).map(|k| format!("c{k}")).collect();
    let mut model = Onnx::new(opset).input("x", shape.iter().map(|&extent| extent as i64));
    for (name, constant) in names.iter().zip(constants) {
        model = model.constant(name, constant);
    }
    let inputs: Vec<&str> = std::iter::once("x")
        .chain(names.iter().map(String::as_str))
        .collect();
    let model = model.node(op, &inputs, &["y"], attributes).output("y");
    let count: usize = shape.iter().product();
    let x = Values::f32(shape, (0..count).map(|i| i as f32 - 2.0).collect());
    reference::run(&import(&model), &[x]).unwrap().remove(0)
}

fn i64s(v: &[i64]) -> Values {
    Values::new([v.len()], Data::I64(v.to_vec()))
}

/// An opset, the constant inputs behind the first one, and the attributes.
type Form<'a> = (i64, &'a [Values], Vec<AttributeProto>);

/// Both forms of an operator give the same over a ramp of this shape.
fn check(op: &str, shape: &[usize], old: Form<'_>, new: Form<'_>) -> Values {
    let y = run(old.0, op, shape, old.1, old.2);
    assert_eq!(y, run(new.0, op, shape, new.1, new.2), "{op}");
    y
}

#[test]
fn old_forms_mean_what_new_ones_do() {
    let scalar = |v: f32| Values::f32([], vec![v]);
    check(
        "Clip",
        &[2, 4],
        (10, &[], vec![float("min", -1.0), float("max", 2.0)]),
        (11, &[scalar(-1.0), scalar(2.0)], vec![]),
    );
    check(
        "Squeeze",
        &[1, 3, 1],
        (11, &[], vec![ints("axes", &[2])]),
        (13, &[i64s(&[-1])], vec![]),
    );
    check(
        "Unsqueeze",
        &[3],
        (11, &[], vec![ints("axes", &[0, 2])]),
        (13, &[i64s(&[-1, 0])], vec![]),
    );
    check(
        "ReduceMean",
        &[2, 3, 4],
        (13, &[], vec![ints("axes", &[2, 1]), int("keepdims", 0)]),
        (18, &[i64s(&[-2, -1])], vec![int("keepdims", 0)]),
    );
    check(
        "Pad",
        &[2, 3],
        (10, &[], vec![ints("pads", &[1, -1, 0, 2]), float("value", 7.0)]),
        (18, &[i64s(&[-1, 1, 2, 0]), scalar(7.0), i64s(&[1, 0])], vec![]),
    );
    check(
        "Slice",
        &[4, 5],
        (9, &[], vec![ints("starts", &[1, -3]), ints("ends", &[99, -1])]),
        (
            13,
            &[i64s(&[-3, 1]), i64s(&[4, 4]), i64s(&[1, 0]), i64s(&[1, 1])],
            vec![],
        ),
    );
    // Before opset 13, softmax goes over everything from the axis on.
    let y = check(
        "Softmax",
        &[2, 3, 2],
        (12, &[], vec![int("axis", 2)]),
        (13, &[], vec![]),
    );
    assert_eq!(y.to_f64()[..2].iter().sum::<f64>().round(), 1.0);
    let y = run(12, "Softmax", &[2, 3, 2], &[], vec![]);
    assert!((y.to_f64()[..6].iter().sum::<f64>() - 1.0).abs() < 1e-6);
    assert_eq!(y.shape, [2, 3, 2]);
}

#[test]
fn old_forms_of_reductions_products_and_norms_are_the_new_ones() {
    for (operator, since) in [("ReduceSum", 13), ("ReduceMax", 18), ("ReduceL2", 18)] {
        check(
            operator,
            &[2, 3],
            (since - 1, &[], vec![ints("axes", &[-1])]),
            (since, &[i64s(&[1])], vec![]),
        );
    }
    let matrix = Values::f32([3, 2], vec![1.0, -2.0, 3.0, 0.5, 0.0, 4.0]);
    let product = [matrix, Values::f32([2], vec![1.0, -1.0])];
    check(
        "Gemm",
        &[2, 3],
        (6, &product, vec![int("broadcast", 1)]),
        (13, &product, vec![]),
    );
    let statistics = [
        [2.0, 1.0, 0.5],
        [0.0, 1.0, -1.0],
        [1.0, 0.0, 2.0],
        [1.0, 4.0, 0.25],
    ];
    let statistics = statistics.map(|values| Values::f32([3], values.to_vec()));
    check(
        "BatchNormalization",
        &[2, 3, 4],
        (6, &statistics, vec![int("is_test", 1)]),
        (15, &statistics, vec![]),
    );
    check(
        "BatchNormalization",
        &[2, 3, 4],
        (6, &statistics, vec![]),
        (14, &statistics, vec![int("training_mode", 1)]),
    );
}

#[test]
fn windows_are_rounded_up_where_asked() {
    let pool = |extent: usize, attributes: &[AttributeProto]| {
        run(19, "AveragePool", &[1, 1, extent], &[], attributes.to_vec())
    };
    let window = [ints("kernel_shape", &[3]), ints("strides", &[2])];
    let up = [&window[..], &[int("ceil_mode", 1)]].concat();
    // The ramp is −2, −1, 0, 1, 2, 3.
    assert_eq!(pool(6, &window).to_f64(), [-1.0, 1.0]);
    assert_eq!(pool(6, &up).to_f64(), [-1.0, 1.0, 2.5]);
    // Padding that only rounding up added never counts.
    let counted = [&up[..], &[int("count_include_pad", 1), ints("pads", &[1, 0])]].concat();
    assert_eq!(pool(6, &counted).to_f64(), [-1.0, 0.0, 2.0]);
    let counted = [&up[..], &[int("count_include_pad", 1)]].concat();
    assert_eq!(pool(6, &counted).to_f64(), [-1.0, 1.0, 2.5]);
    // A window that would begin in the padding behind is dropped.
    let beyond = [
        &[ints("kernel_shape", &[1]), ints("strides", &[2])][..],
        &[int("ceil_mode", 1), ints("pads", &[0, 1])],
    ]
    .concat();
    assert_eq!(pool(4, &beyond).to_f64(), [-2.0, 0.0]);
    let same = |side: &str| [&window[..], &[word("auto_pad", side)]].concat();
    assert_eq!(pool(4, &same("SAME_UPPER")).to_f64(), [-1.0, 0.5]);
    assert_eq!(pool(4, &same("SAME_LOWER")).to_f64(), [-1.5, 0.0]);
}

#[test]
fn constants_come_in_all_forms() {
    let single = Values::new([1], Data::I64(vec![2]));
    let floats = AttributeProto {
        floats: vec![1.0, 2.0],
        r#type: 6,
        name: "value_floats".into(),
        ..AttributeProto::default()
    };
    for (attribute, wanted) in [
        (value("value", &Values::f32([1, 1], vec![3.0])), vec![1.0, 2.0]),
        (float("value_float", 3.0), vec![1.0, 2.0]),
        (floats, vec![-1.0, 1.0]),
    ] {
        let model = Onnx::new(13)
            .input("x", [1, 2])
            .node("Constant", &[], &["c"], vec![attribute])
            .node("Add", &["x", "c"], &["y"], vec![])
            .output("y");
        let x = Values::f32([1, 2], vec![-2.0, -1.0]);
        let y = reference::run(&import(&model), &[x]).unwrap();
        assert_eq!(y[0].to_f64(), wanted);
    }
    for attribute in [
        int("value_int", 2),
        ints("value_ints", &[2]),
        value("value", &single),
    ] {
        let model = Onnx::new(13)
            .input("x", [1, 2])
            .node("Constant", &[], &["c"], vec![attribute])
            .ints("two", &[2])
            .node("Mul", &["c", "two"], &["four"], vec![])
            .node("Sub", &["four", "two"], &["back"], vec![])
            .node("Div", &["two", "back"], &["axes"], vec![])
            .node("Unsqueeze", &["x", "axes"], &["y"], vec![])
            .output("y");
        let graph = import(&model);
        assert_eq!(graph.tensors[graph.outputs[0]].ty.shape, [1, 1, 2]);
    }
}

#[test]
fn the_table_of_supported_operators_names_what_imports() {
    let importable = import::operators();
    assert!(importable.is_sorted());
    for support in op::supported() {
        for name in support.onnx {
            assert!(importable.iter().any(|known| known == name), "{name}");
        }
    }
}
