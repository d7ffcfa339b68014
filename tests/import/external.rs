//! Weights in files beside the model: where they lie in the file, what is refused, and weights given by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tinsmith::import::{self, FileBytes, Folder, Options, Weights};
use tinsmith::ir::FloatGraph;
use tinsmith::op::OpError;
use tinsmith::op::tensor::{Data, Values};
use tinsmith_proto::tensor_proto::{DataLocation, DataType};
use tinsmith_proto::{StringStringEntryProto, TensorProto};

use super::onnx::{Onnx, value};
use super::refused::problems;

/// Files in memory, aligned like mapped ones.
#[derive(Debug, Default)]
struct Files(BTreeMap<String, Vec<u64>>);

/// The first `len` bytes of words.
struct Bytes(Vec<u64>, usize);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &zerocopy::IntoBytes::as_bytes(self.0.as_slice())[..self.1]
    }
}

fn aligned(bytes: &[u8]) -> FileBytes {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    Arc::new(Bytes(words.collect(), bytes.len()))
}

impl Folder for Files {
    fn open(&self, location: &str) -> Result<FileBytes, OpError> {
        let words = self
            .0
            .get(location)
            .ok_or_else(|| OpError::new(format!("`{location}` is not there")))?;
        Ok(Arc::new(Bytes(words.clone(), words.len() * 8)))
    }
}

/// 64 bytes: the floats 0 to 15.
fn floats() -> Options {
    let bytes: Vec<u8> = (0..16_u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    let words = bytes.as_chunks().0.iter().map(|&word| u64::from_le_bytes(word));
    let files = Files([("w.bin".to_owned(), words.collect())].into());
    Options {
        folder: Some(Arc::new(files)),
        ..Options::default()
    }
}

fn entries(of: &[(&str, &str)]) -> Vec<StringStringEntryProto> {
    of.iter()
        .map(|&(key, value)| StringStringEntryProto {
            key: key.into(),
            value: value.into(),
        })
        .collect()
}

fn external(dtype: DataType, dims: &[i64], of: &[(&str, &str)]) -> TensorProto {
    TensorProto {
        name: "w".into(),
        dims: dims.to_vec(),
        data_type: dtype.into(),
        data_location: DataLocation::External.into(),
        external_data: entries(of),
        ..TensorProto::default()
    }
}

/// `y = x + w` with `w` as given.
fn model(w: TensorProto) -> Onnx {
    let mut model = Onnx::new(13)
        .input("x", [1])
        .node("Add", &["x", "w"], &["y"], vec![])
        .output("y");
    model.graph().initializer.push(w);
    model
}

fn constant<'g>(graph: &'g FloatGraph, name: &str) -> &'g Values {
    let (_, tensor) = graph
        .tensors
        .iter()
        .find(|(_, tensor)| tensor.name == name)
        .unwrap();
    tensor.data.as_deref().unwrap()
}

#[test]
fn values_are_read_where_they_lie() {
    let part = [
        ("location", "w.bin"),
        ("offset", "8"),
        ("length", "12"),
        ("checksum", "?"),
    ];
    let graph = import::onnx(&model(external(DataType::Float, &[3], &part)).bytes(), &floats()).unwrap();
    let w = constant(&graph, "w");
    assert!(matches!(w.data, Data::Mapped(_)), "not copied");
    assert_eq!(w.as_f32(), Some(&[2.0, 3.0, 4.0][..]));
    assert!(graph.notes.iter().all(|note| !note.contains("copied")));
    // Without a length, to the file's end; the whole file without an offset.
    for (dims, part) in [
        (4, &[("location", "w.bin"), ("offset", "48")][..]),
        (16, &[("location", "w.bin")][..]),
    ] {
        let graph = import::onnx(
            &model(external(DataType::Float, &[dims], part)).bytes(),
            &floats(),
        )
        .unwrap();
        assert_eq!(constant(&graph, "w").data.len(), dims as usize);
    }
    // Not aligned: copied, and said so.
    let part = [("location", "w.bin"), ("offset", "2"), ("length", "8")];
    let graph = import::onnx(&model(external(DataType::Float, &[2], &part)).bytes(), &floats()).unwrap();
    assert!(matches!(constant(&graph, "w").data, Data::F32(_)));
    assert_eq!(
        graph.notes,
        ["1 tensors in other files (8 bytes) were copied, because they are packed, Boolean or not aligned"]
    );
}

#[test]
fn constants_and_packed_values_may_stand_outside_too() {
    let part = [("location", "w.bin"), ("offset", "4"), ("length", "4")];
    let mut attribute = value("value", &Values::f32([1], vec![0.0]));
    attribute.t = Some(external(DataType::Float, &[1], &part));
    let model = Onnx::new(13)
        .input("x", [1])
        .node("Constant", &[], &["c"], vec![attribute])
        .node("Add", &["x", "c"], &["y"], vec![])
        .output("y");
    let graph = import::onnx(&model.bytes(), &floats()).unwrap();
    assert_eq!(constant(&graph, "c").as_f32(), Some(&[1.0][..]));
    // The four bytes of 1.0: 00 00 80 3f.
    let w = external(DataType::Uint4, &[7], &part);
    let model = Onnx::new(21)
        .input("x", [7])
        .node("Cast", &["w"], &["c"], vec![super::onnx::int("to", 1)])
        .node("Add", &["x", "c"], &["y"], vec![])
        .output("y");
    let mut model = model;
    model.graph().initializer.push(w);
    let graph = import::onnx(&model.bytes(), &floats()).unwrap();
    assert_eq!(
        constant(&graph, "c").as_f32(),
        Some(&[0.0, 0.0, 0.0, 0.0, 0.0, 8.0, 15.0][..])
    );
}

#[test]
fn places_outside_the_file_are_refused() {
    let refused = |part: &[(&str, &str)], words: &[&str]| {
        let found = problems(&model(external(DataType::Float, &[3], part)), &floats());
        assert_eq!(found.len(), 1, "{found:?}");
        for word in ["initializer `w`"].iter().chain(words) {
            assert!(found[0].contains(word), "`{word}` wanted in: {}", found[0]);
        }
    };
    let file = ("location", "w.bin");
    refused(&[], &["a `location` wanted, none found"]);
    refused(&[("location", "")], &["a `location` wanted, none found"]);
    refused(&[file, file], &["one `location` wanted, several found"]);
    refused(&[("location", "v.bin")], &["`v.bin` is not there"]);
    refused(&[file, ("offset", "65")], &["64 bytes", "offset 65 found"]);
    refused(
        &[file, ("offset", "56"), ("length", "12")],
        &[
            "inside `w.bin` of 64 bytes wanted",
            "offset 56 and 12 bytes behind it found",
        ],
    );
    refused(
        &[file, ("offset", "18446744073709551615"), ("length", "12")],
        &["inside `w.bin`", "offset 18446744073709551615"],
    );
    refused(
        &[file, ("offset", "12"), ("length", "18446744073709551610")],
        &["inside `w.bin`"],
    );
    for bad in ["-1", "1e3", "", "0x10", "99999999999999999999999", "٣"] {
        refused(
            &[file, ("offset", bad)],
            &["a number of bytes as `offset`", &format!("`{bad}` found")],
        );
        refused(
            &[file, ("length", bad)],
            &["a number of bytes as `length`", &format!("`{bad}` found")],
        );
    }
    refused(
        &[file, ("length", "8")],
        &["12 bytes for f32[3] wanted, 8 found in `w.bin`"],
    );
    refused(&[file], &["12 bytes for f32[3] wanted, 64 found"]);
    let mut both = external(DataType::Float, &[3], &[file, ("length", "12")]);
    both.raw_data = vec![0; 12];
    let found = problems(&model(both), &floats());
    assert!(found[0].contains("values in one place wanted"), "{found:?}");
}

#[test]
fn one_place_is_not_copied_for_many() {
    // The same 4 bytes as 3-byte-aligned floats, again and again: 64 · 4 bytes may be copied, no more.
    let part = [("location", "w.bin"), ("offset", "1"), ("length", "60")];
    let mut model = Onnx::new(13).input("x", [15]);
    for i in 0..6 {
        let mut w = external(DataType::Float, &[15], &part);
        w.name = format!("w{i}");
        model.graph().initializer.push(w);
        model = model.node("Add", &["x", &format!("w{i}")], &[&format!("y{i}")], vec![]);
        model = model.output(&format!("y{i}"));
    }
    let found = problems(&model, &floats());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("each tensor has for itself"), "{found:?}");
}

/// A safetensors file of f32 tensors.
fn weights(name: &str, tensors: &[(&str, &[usize], &[f32])]) -> Weights {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|(&(name, shape, _), bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes);
        (name, view.unwrap())
    });
    let file = safetensors::serialize(views.collect::<Vec<_>>(), None::<HashMap<String, String>>).unwrap();
    Weights {
        name: name.into(),
        bytes: aligned(&file),
    }
}

fn with_weights(weights: Vec<Weights>) -> Options {
    Options { weights, ..floats() }
}

/// `y = (x + a) · b`, with `a` an initializer without values and `b` an input.
fn open_model() -> Onnx {
    let mut a = external(DataType::Float, &[2], &[]);
    (a.name, a.data_location) = ("a".into(), 0);
    let mut model = Onnx::new(13)
        .input("x", [2])
        .input("b", [2])
        .node("Add", &["x", "a"], &["s"], vec![])
        .node("Mul", &["s", "b"], &["y"], vec![])
        .output("y");
    model.graph().initializer.push(a);
    model
}

#[test]
fn weights_by_name_become_initializers_and_constants() {
    let shards = vec![
        weights("1.safetensors", &[("a", &[2], &[1.0, 2.0])]),
        weights("2.safetensors", &[("b", &[2], &[3.0, 4.0])]),
    ];
    let graph = import::onnx(&open_model().bytes(), &with_weights(shards)).unwrap();
    assert_eq!(graph.inputs.len(), 1);
    let (a, b) = (constant(&graph, "a"), constant(&graph, "b"));
    assert!(matches!(a.data, Data::Mapped(_)));
    assert_eq!(
        (a.as_f32(), b.as_f32()),
        (Some(&[1.0, 2.0][..]), Some(&[3.0, 4.0][..]))
    );
    // They take the place of the model's own values.
    let model = Onnx::new(13)
        .input("x", [2])
        .zeros("a", &[2])
        .node("Add", &["x", "a"], &["y"], vec![])
        .output("y");
    let given = with_weights(vec![weights("w", &[("a", &[2], &[1.0, 2.0])])]);
    let graph = import::onnx(&model.bytes(), &given).unwrap();
    assert_eq!(constant(&graph, "a").as_f32(), Some(&[1.0, 2.0][..]));
}

#[test]
fn weights_that_do_not_match_are_all_listed() {
    let found = |weights| problems(&open_model(), &with_weights(weights));
    let given = vec![weights(
        "w.st",
        &[("b", &[3], &[0.0; 3]), ("c", &[1], &[0.0]), ("d", &[1], &[0.0])],
    )];
    assert_eq!(
        found(given),
        [
            "initializer `a`: f32[2] in the weights wanted, none found",
            "weights `w.st`: names of the model's initializers wanted, `c`, `d` found (the names must be those in \
             the ONNX file; exporters that fold or rename weights break the match)",
            "input `b`: a shape like [2] wanted, [3] given",
        ]
    );
    let twice = vec![
        weights("1.st", &[("a", &[1, 2], &[0.0; 2])]),
        weights("2.st", &[("b", &[2], &[0.0; 2]), ("a", &[1, 2], &[0.0; 2])]),
    ];
    assert_eq!(
        found(twice),
        [
            "2.st `a`: a tensor in one file wanted, found in `1.st` too",
            "initializer `a`: f32[2] wanted, f32[1,2] found in `2.st` (give the weights that the model was \
             exported with)",
        ]
    );
    let mut short = weights("w.st", &[("a", &[2], &[0.0; 2]), ("b", &[2], &[0.0; 2])]);
    let bytes = (*short.bytes).as_ref().to_vec();
    for end in 0..bytes.len() {
        short.bytes = aligned(&bytes[..end]);
        let found = found(vec![short.clone()]);
        assert!(
            found[0].contains("weights `w.st`: a safetensors file wanted"),
            "{found:?}"
        );
    }
}
