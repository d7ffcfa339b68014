//! Files that were made to harm: every one is refused by name, at once, and takes no memory to speak of.

use std::time::{Duration, Instant};

use tinsmith::import::{self, ImportError, Options};
use tinsmith::op::tensor::{Data, Values};
use tinsmith_proto::tensor_proto::DataType;
use tinsmith_proto::{GraphProto, NodeProto, TensorProto};

use super::onnx::{Onnx, float, int, ints, subgraph};
use super::refused::{problems, refused, x};

/// The error of bytes that are refused within a second.
fn error(bytes: &[u8]) -> ImportError {
    let start = Instant::now();
    let error = import::onnx(bytes, &Options::default()).unwrap_err();
    let took = start.elapsed();
    // A debug build on a busy machine; a release build takes a tenth.
    assert!(took < Duration::from_secs(5), "{took:?} for: {error}");
    error
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field with a length.
fn field(number: u64, inner: &[u8]) -> Vec<u8> {
    [
        varint(number << 3 | 2),
        varint(inner.len() as u64),
        inner.to_vec(),
    ]
    .concat()
}

#[test]
fn protobuf_that_promises_what_is_not_there() {
    let refused = |bytes: &[u8], words: &str| {
        let error = error(bytes).to_string();
        assert!(error.contains(words), "`{words}` wanted in: {error}");
    };
    // A graph, a tensor's bytes, a list of numbers of 2 GB; a length of 2^64 − 1.
    for length in [2_000_000_000, u64::MAX, 1 << 63] {
        refused(&[varint(7 << 3 | 2), varint(length)].concat(), "not an ONNX file");
        let raw = [varint(9 << 3 | 2), varint(length)].concat();
        refused(&field(7, &field(5, &raw)), "not an ONNX file");
        let dims = [varint(1 << 3 | 2), varint(length)].concat();
        refused(&field(7, &field(5, &dims)), "not an ONNX file");
    }
    // A name that is not UTF-8, a number where a message belongs, a message where a number does, groups.
    refused(&field(7, &field(2, &[0xff, 0xfe])), "UTF-8");
    refused(&[7 << 3, 1], "wire type");
    refused(&field(1, &[1]), "wire type");
    for wire in [3, 4, 6, 7] {
        refused(&[7 << 3 | wire, 1], "not an ONNX file");
    }
    // Graphs in attributes of nodes of graphs, 100000 deep: the headers from the inside out.
    let mut headers = Vec::new();
    let mut length = 0;
    for level in 0..300_000 {
        let tag = [6, 5, 1][level % 3] << 3 | 2;
        let header = [varint(tag), varint(length)].concat();
        length += header.len() as u64;
        headers.push(header);
    }
    headers.reverse();
    let nested = headers.concat();
    refused(&field(7, &nested), "nested too deep");
}

#[test]
fn many_small_parts_are_refused_before_they_take_memory() {
    let refused = |graph: &[u8]| {
        let error = error(&field(7, graph));
        assert!(matches!(error, ImportError::TooMuch { .. }), "{error}");
    };
    for part in [
        field(1, &[]),                        // nodes
        field(5, &[]),                        // initializers
        field(11, &[]),                       // inputs
        field(1, &field(5, &[])),             // nodes with an attribute
        field(15, &field(1, &[])),            // sparse tensors
        field(11, &field(2, &field(1, &[]))), // types
    ] {
        refused(&part.repeat(1_000_000));
    }
    refused(&field(1, &field(5, &[]).repeat(1_000_000)));
    refused(&field(1, &field(1, &[]).repeat(3_000_000)));
    // Fewer than that are looked at, and what is wrong with all of them is not listed.
    let mut model = x();
    model.graph().node = vec![NodeProto::default(); 20_000];
    model = model.output("y");
    let start = Instant::now();
    let problems = problems(&model, &Options::default());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(problems.len(), 257);
    assert!(problems[256].contains("problems more"), "{}", problems[256]);
}

#[test]
fn many_nodes_take_time_in_proportion() {
    // Each reads the one before; the last reads what nothing makes, so that the model is refused.
    let mut model = Onnx::new(17).input("v0", [4]);
    let count = 20_000;
    model.graph().node = (0..count)
        .map(|i| NodeProto {
            op_type: "Relu".into(),
            input: vec![if i + 1 == count {
                "none".into()
            } else {
                format!("v{i}")
            }],
            output: vec![format!("v{}", i + 1)],
            ..NodeProto::default()
        })
        .collect();
    let model = model.output(&format!("v{count}"));
    let error = error(&model.bytes()).to_string();
    assert!(error.contains("which nothing makes"), "{error}");
}

#[test]
fn shapes_out_of_bounds() {
    let with = |dims: &[i64]| {
        let mut model = x().node("Add", &["x", "w"], &["y"], vec![]).output("y");
        model.graph().initializer.push(TensorProto {
            name: "w".into(),
            dims: dims.to_vec(),
            data_type: DataType::Float.into(),
            raw_data: vec![0; 4],
            ..TensorProto::default()
        });
        model
    };
    for (dims, words) in [
        (&[-1_i64][..], "at least 0 wanted"),
        (&[1 << 62], "at most 2^31 elements"),
        (&[1 << 32, 1 << 32], "at most 2^31 elements"),
        (&[1 << 62, 4, 0], "at most 2^31 elements"),
        (&[i64::MAX; 3], "at most 2^31 elements"),
        (&[i64::MIN], "at least 0 wanted"),
        (&[1; 1_000_000], "at most 64 axes wanted, 1000000 found"),
        (&[2], "2 values for shape [2] wanted, 1 found"),
    ] {
        refused(&with(dims), &["initializer `w`", words]);
    }
    let wide = Onnx::new(17)
        .input("x", vec![1_i64; 100_000])
        .node("Relu", &["x"], &["y"], vec![])
        .output("y");
    refused(&wide, &["input `x`", "at most 64 axes wanted, 100000 found"]);
    // Axes that only a node's attribute or constant asks for.
    let ones = vec![1; 1_000_000];
    let reshape = x()
        .ints("shape", &ones)
        .node("Reshape", &["x", "shape"], &["y"], vec![])
        .output("y");
    refused(&reshape, &["Reshape `Y`"]);
    let axes: Vec<i64> = (0..1_000_000).collect();
    let unsqueeze = x()
        .ints("axes", &axes)
        .node("Unsqueeze", &["x", "axes"], &["y"], vec![])
        .output("y");
    refused(&unsqueeze, &["Unsqueeze `Y`", "axes"]);
}

#[test]
fn packed_values_of_the_wrong_length() {
    for (dtype, per_byte) in [
        (DataType::Int4, 2),
        (DataType::Uint4, 2),
        (DataType::Int2, 4),
        (DataType::Float4e2m1, 2),
    ] {
        for bytes in [0, 3, 5, 8] {
            let mut model = x()
                .node("Cast", &["w"], &["c"], vec![int("to", 1)])
                .node("Add", &["x", "c"], &["y"], vec![])
                .output("y");
            model.graph().initializer.push(TensorProto {
                name: "w".into(),
                dims: vec![4 * per_byte],
                data_type: dtype.into(),
                raw_data: vec![0; bytes],
                ..TensorProto::default()
            });
            refused(
                &model,
                &["initializer `w`", &format!("4 bytes for {} values", 4 * per_byte)],
            );
        }
    }
}

#[test]
fn the_file_says_what_it_is() {
    let model = || x().node("Relu", &["x"], &["y"], vec![]).output("y");
    for version in [0, -1, 15, i64::MAX] {
        let mut bad = model();
        bad.0.ir_version = version;
        refused(&bad, &["IR version 1 to 14 wanted", &format!("{version} found")]);
    }
    for version in [1, 14] {
        let mut good = model();
        good.0.ir_version = version;
        import::onnx(&good.bytes(), &Options::default()).unwrap();
    }
}

#[test]
fn self_edges_and_cycles() {
    let node = |inputs: &[&str], outputs: &[&str], model: Onnx| model.node("Add", inputs, outputs, vec![]);
    refused(
        &node(&["x", "y"], &["y"], x()).output("y"),
        &["Add `Y`", "in a cycle"],
    );
    let three = node(&["x", "c"], &["a"], node(&["a", "a"], &["b"], x()));
    let three = node(&["b", "b"], &["c"], three).output("c");
    assert!(!problems(&three, &Options::default()).is_empty());
    let twice = node(&["x", "x"], &["y", "y"], x()).output("y");
    assert!(problems(&twice, &Options::default()).len() > 1);
}

#[test]
fn windows_of_nothing() {
    let conv = |attribute| {
        x().zeros("w", &[3, 2, 3, 3])
            .node("Conv", &["x", "w"], &["y"], vec![attribute])
            .output("y")
    };
    for attribute in [
        ints("strides", &[0, 1]),
        ints("strides", &[-1, 1]),
        ints("dilations", &[1, 0]),
        ints("dilations", &[i64::MAX, i64::MAX]),
        ints("kernel_shape", &[0, 3]),
        ints("pads", &[i64::MAX; 4]),
        ints("pads", &[-1; 4]),
        int("group", 0),
        int("group", -1),
        int("group", i64::MIN),
    ] {
        refused(&conv(attribute), &["Conv `Y`"]);
    }
    for operator in ["MaxPool", "AveragePool"] {
        for (kernel, strides) in [
            ([0, 1], [1, 1]),
            ([1, 1], [0, 1]),
            ([-2, 2], [1, 1]),
            ([1 << 62, 1], [1, 1]),
        ] {
            let pool = x()
                .node(
                    operator,
                    &["x"],
                    &["y"],
                    vec![ints("kernel_shape", &kernel), ints("strides", &strides)],
                )
                .output("y");
            refused(&pool, &[operator]);
        }
    }
    let empty = x()
        .zeros("w", &[3, 2, 0, 3])
        .node("Conv", &["x", "w"], &["y"], vec![])
        .output("y");
    refused(&empty, &["Conv `Y`"]);
}

#[test]
fn attributes_out_of_range() {
    let one = |operator: &str, attributes: Vec<_>| x().node(operator, &["x"], &["y"], attributes).output("y");
    for model in [
        one("Concat", vec![int("axis", 4)]),
        one("Concat", vec![int("axis", i64::MIN)]),
        one("Softmax", vec![int("axis", -5)]),
        one("Transpose", vec![ints("perm", &[0, 1, 2, 2])]),
        one("Transpose", vec![ints("perm", &[0, 1, 2, 4])]),
        one("Flatten", vec![int("axis", 9)]),
        one("Cast", vec![int("to", 0)]),
        one("Cast", vec![int("to", i64::MAX)]),
        one("LeakyRelu", vec![int("alpha", 1)]),
        one("Relu", vec![float("alpha", 1.0)]),
        one("Relu", vec![subgraph("body", GraphProto::default())]),
    ] {
        let problems = problems(&model, &Options::default());
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
    let slice = |steps: i64, axes: i64| {
        let model = x().ints("starts", &[i64::MIN]).ints("ends", &[i64::MAX]);
        let model = model.ints("axes", &[axes]).ints("steps", &[steps]);
        model
            .node("Slice", &["x", "starts", "ends", "axes", "steps"], &["y"], vec![])
            .output("y")
    };
    refused(&slice(0, 0), &["Slice `Y`"]);
    refused(&slice(1, 4), &["Slice `Y`"]);
    import::onnx(&slice(i64::MAX, 3).bytes(), &Options::default()).unwrap();
}

#[test]
fn scales_of_nothing_never_become_numbers() {
    use tinsmith::{ir::NoSamples, target::Target};
    for scale in [0.0, f32::NAN, f32::INFINITY, -1.0] {
        let scalar = Values::f32([], vec![scale]);
        let zero = Values::new([], Data::I8(vec![0]));
        let model = x()
            .constant("s", &scalar)
            .constant("z", &zero)
            .node("QuantizeLinear", &["x", "s", "z"], &["q"], vec![])
            .node("DequantizeLinear", &["q", "s", "z"], &["d"], vec![])
            .node("Relu", &["d"], &["y"], vec![])
            .output("y");
        let target = Target::named("mps2-an386").unwrap();
        let made = tinsmith::compile(
            &target,
            &model.bytes(),
            &NoSamples,
            &tinsmith::Options::default(),
            &|_, _, _| (),
        );
        let error = made.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("scale"), "{scale}: {error}");
    }
}

#[test]
fn a_graph_of_nothing() {
    let mut model = Onnx::new(17);
    *model.graph() = GraphProto::default();
    refused(&model, &["at least one output"]);
}
