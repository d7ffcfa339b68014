//! Bad input: every refusal names the node, the reason and the way out, and nothing panics.

use tinsmith::import::{self, ImportError, Options};
use tinsmith::ir::verify::verify;
use tinsmith::op::tensor::Values;
use tinsmith_proto::tensor_proto::{DataLocation, DataType, Segment};
use tinsmith_proto::{GraphProto, StringStringEntryProto, TypeProto, ValueInfoProto, type_proto};

use super::onnx::{Onnx, ints, subgraph};

/// The problems of a model, one per line.
pub(super) fn problems(model: &Onnx, options: &Options) -> Vec<String> {
    match import::onnx(&model.bytes(), options) {
        Err(ImportError::Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("problems wanted, {other:?} found"),
    }
}

/// A model whose only problem has these parts in its text.
pub(super) fn refused(model: &Onnx, parts: &[&str]) {
    let problems = problems(model, &Options::default());
    let [problem] = problems.as_slice() else {
        panic!("one problem with {parts:?} wanted, {problems:#?} found");
    };
    for part in parts {
        assert!(problem.contains(part), "`{part}` wanted in: {problem}");
    }
}

pub(super) fn x() -> Onnx {
    Onnx::new(13).input("x", [1, 2, 4, 4])
}

#[test]
fn what_is_no_model() {
    let garbage: &[u8] = b"%PDF-1.7 this is not a model";
    let error = import::onnx(garbage, &Options::default()).unwrap_err();
    assert!(matches!(error, ImportError::NotProtobuf { .. }), "{error}");
    let error = import::onnx(&[], &Options::default()).unwrap_err();
    assert_eq!(error, ImportError::NoGraph);
    assert_eq!(error.to_string(), "the file holds no ONNX graph");
}

#[test]
fn every_truncation_is_refused_or_whole() {
    let model = x()
        .zeros("w", &[3, 2, 3, 3])
        .node("Conv", &["x", "w"], &["y"], vec![ints("pads", &[1, 1, 1, 1])])
        .output("y");
    let bytes = model.bytes();
    for end in 0..bytes.len() {
        assert!(import::onnx(&bytes[..end], &Options::default()).is_err(), "{end}");
    }
    // Every single byte set to something else gives a graph that holds, or an error.
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bent = bytes.clone();
            bent[at] = value;
            if let Ok(graph) = import::onnx(&bent, &Options::default()) {
                verify(&graph).unwrap();
            }
        }
    }
}

#[test]
fn unknown_operators_are_all_listed() {
    let model = x()
        .node("Frobnicate", &["x"], &["a"], vec![])
        .node("Relu", &["a"], &["b"], vec![])
        .node("com.example.Relu", &["b"], &["c"], vec![])
        .node(
            "my.If",
            &["c"],
            &["d"],
            vec![subgraph("then_branch", GraphProto::default())],
        )
        .node("my.Block", &["d"], &["e"], vec![])
        .output("e");
    let wanted = [
        "Frobnicate `A`: unknown operator (`tinsmith ops` lists the supported ones)",
        "com.example.Relu `C`: unknown operator (`tinsmith ops` lists the supported ones)",
        "my.If `D`: an operator with a subgraph, which is not supported (export the model without it: of control \
         flow, If, Loop and Scan are supported)",
        "my.Block `E`: unknown operator (`tinsmith ops` lists the supported ones)",
    ];
    assert_eq!(problems(&model, &Options::default()), wanted);
}

#[test]
fn open_dimensions_are_named_with_the_way_out() {
    let model = Onnx::new(13)
        .input(
            "x",
            [
                "batch".into(),
                super::onnx::Dim::N(3),
                "height".into(),
                "?".into(),
            ],
        )
        .node("Relu", &["x"], &["y"], vec![])
        .output("y");
    let options = |dims: &[(&str, usize)], shape: Option<&[usize]>| Options {
        dims: dims.iter().map(|&(name, n)| (name.to_owned(), n)).collect(),
        shapes: shape
            .map(|shape| ("x".to_owned(), shape.to_vec()))
            .into_iter()
            .collect(),
        ..Options::default()
    };
    let wanted = [
        "input `x`: a number for axis 2 wanted, the symbolic dimension `height` found (give it: --dim height=…)",
        "input `x`: a number for axis 3 wanted, the symbolic dimension found (give the shape: --shape x=…)",
    ];
    assert_eq!(problems(&model, &options(&[], None)), wanted);
    assert_eq!(problems(&model, &options(&[("height", 5)], None)), wanted[1..]);
    let graph = import::onnx(&model.bytes(), &options(&[], Some(&[2, 3, 5, 5]))).unwrap();
    assert_eq!(graph.tensors[graph.inputs[0]].ty.shape, [2, 3, 5, 5]);
    assert!(graph.notes.is_empty());
    let bad = problems(&model, &options(&[("depth", 5)], Some(&[1, 4, 5, 5])));
    let wanted = [
        "dimension `depth`: a symbolic dimension of an input wanted; the model has `batch`, `height`",
        "input `x`: a shape like [batch, 3, height, ?] wanted, [1, 4, 5, 5] given",
    ];
    assert_eq!(bad, wanted);
    let mut other = options(&[], Some(&[2, 3, 5, 5]));
    other.shapes.insert("z".into(), vec![1]);
    assert_eq!(problems(&model, &other).len(), 1);
}

#[test]
fn the_graph_must_hold_together() {
    let relu = |model: Onnx, from: &str, to: &str| model.node("Relu", &[from], &[to], vec![]);
    refused(
        &relu(x(), "nowhere", "y").output("y"),
        &["Relu `Y`", "`nowhere`", "nothing makes"],
    );
    let cycle = relu(relu(x(), "b", "a"), "a", "b").output("b");
    refused(
        &cycle,
        &["Relu `A`", "`b` is made later, by Relu `B`, or in a cycle"],
    );
    refused(
        &relu(relu(x(), "x", "y"), "x", "y").output("y"),
        &["Relu `Y`", "nothing else makes"],
    );
    refused(&relu(x(), "x", "x").output("x"), &["Relu `X`", "`x` found"]);
    refused(
        &relu(x(), "x", "y").output("z"),
        &["output `z`", "nothing makes it"],
    );
    refused(
        &relu(x(), "x", "y").output("y").output("y"),
        &["output `y`", "a name of its own"],
    );
    refused(&relu(x(), "x", "y"), &["at least one output"]);
    refused(
        &relu(x().input("x", [1]), "x", "y").output("y"),
        &["input `x`", "a name of its own"],
    );
    let twice = relu(x().ints("c", &[1]).ints("c", &[1]), "x", "y").output("y");
    refused(&twice, &["initializer `c`", "a name of its own"]);
    let mut typed = relu(x(), "x", "y").typed_input("y", DataType::Int8, [1, 2, 4, 4]);
    let info = typed.graph().input.pop().unwrap();
    typed.graph().output.push(info);
    refused(&typed, &["output `y`", "i8 wanted, f32 found"]);
    let vast = Onnx::new(13)
        .input("x", [1 << 40, 1 << 40])
        .node("Relu", &["x"], &["y"], vec![])
        .output("y");
    refused(&vast, &["input `x`", "at most 2^31 elements"]);
}

#[test]
fn operator_sets_must_be_known() {
    let model = || x().node("Relu", &["x"], &["y"], vec![]).output("y");
    let mut none = model();
    none.0.opset_import.clear();
    refused(&none, &["model `test`", "none found"]);
    let mut old = model();
    old.0.opset_import[0].version = 28;
    refused(&old, &["opset 1 to 27 wanted, 28 found", "version_converter"]);
    let mut two = model();
    two.0.opset_import.push(two.0.opset_import[0].clone());
    two.0.opset_import[1].version = 12;
    refused(&two, &["one version of domain"]);
    let delay = x().node("ai.tinsmith.Delay", &["x"], &["y"], vec![]).output("y");
    refused(
        &delay,
        &["ai.tinsmith.Delay `Y`", "version of domain `ai.tinsmith` wanted"],
    );
}

#[test]
fn constants_must_be_whole_and_here() {
    let with = |bend: fn(&mut tinsmith_proto::TensorProto)| {
        let mut model = x()
            .zeros("w", &[3, 2, 3, 3])
            .node("Conv", &["x", "w"], &["y"], vec![])
            .output("y");
        bend(&mut model.graph().initializer[0]);
        model
    };
    let external = with(|w| {
        w.data_location = DataLocation::External.into();
        w.raw_data.clear();
        w.external_data = vec![StringStringEntryProto {
            key: "location".into(),
            value: "weights.bin".into(),
        }];
    });
    refused(&external, &["initializer `w`", "`weights.bin`", "in one file"]);
    refused(
        &with(|w| w.data_type = DataType::Float16.into()),
        &["54 values for shape [3, 2, 3, 3] wanted, 108 found"],
    );
    refused(&with(|w| w.data_type = 99), &["number 99 found"]);
    refused(
        &with(|w| w.raw_data.truncate(213)),
        &["whole values of f32 wanted"],
    );
    refused(&with(|w| w.raw_data.truncate(8)), &["54 values", "2 found"]);
    refused(&with(|w| w.raw_data.clear()), &["54 values", "0 found"]);
    refused(&with(|w| w.dims[0] = -3), &["at least 0"]);
    refused(&with(|w| w.dims[0] = i64::MAX), &["at most 2^31"]);
    refused(
        &with(|w| w.segment = Some(Segment::default())),
        &["a segment found"],
    );
    refused(
        &with(|w| {
            w.raw_data.clear();
            w.data_type = DataType::Int8.into();
            w.int32_data = vec![300; 54];
        }),
        &["values of i8 wanted, 300 found"],
    );
    let mut sparse = with(|_| ());
    let w = sparse.graph().initializer.pop();
    sparse
        .graph()
        .sparse_initializer
        .push(tinsmith_proto::SparseTensorProto {
            values: w,
            ..Default::default()
        });
    refused(&sparse, &["initializer `w`", "a sparse one found"]);
    let mut sequence = with(|_| ());
    sequence.graph().input[0] = ValueInfoProto {
        name: "x".into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::SequenceType(Box::default())),
            ..Default::default()
        }),
        ..Default::default()
    };
    refused(&sequence, &["input `x`", "a dense tensor wanted"]);
}

#[test]
fn small_files_get_no_large_constants() {
    // 16 MiB and eight times the file are the most: 10000 × 10000 stays a node, or is refused where no node can be.
    let column = Values::f32([10_000, 1], vec![0.0; 10_000]);
    let row = Values::f32([1, 10_000], vec![0.0; 10_000]);
    let model = Onnx::new(13)
        .input("x", [1])
        .constant("column", &column)
        .constant("row", &row)
        .node("Add", &["column", "row"], &["wide"], vec![])
        .node("Add", &["x", "wide"], &["y"], vec![])
        .output("y");
    let graph = import::onnx(&model.bytes(), &Options::default()).unwrap();
    assert_eq!(graph.nodes.len(), 2);
    let model = Onnx::new(13)
        .input("x", [1])
        .ints("shape", &[10_000, 10_000])
        .node("ConstantOfShape", &["shape"], &["wide"], vec![])
        .node("Add", &["x", "wide"], &["y"], vec![])
        .output("y");
    refused(&model, &["ConstantOfShape `WIDE`", "in proportion to the file"]);
}
