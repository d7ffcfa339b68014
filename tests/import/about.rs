//! What a model says of itself: it reaches the graph, cut to size, and labels are read in every form.

use tinsmith::import::{self, Options};
use tinsmith::ir::Metadata;
use tinsmith_proto::tensor_shape_proto::Dimension;
use tinsmith_proto::{StringStringEntryProto, type_proto};

use super::onnx::Onnx;

fn model(properties: &[(&str, &str)]) -> Onnx {
    let mut model = Onnx::new(17)
        .input("x", [1, 3])
        .node("Relu", &["x"], &["y"], vec![])
        .output("y");
    model.0.metadata_props = properties
        .iter()
        .map(|&(key, value)| StringStringEntryProto {
            key: key.into(),
            value: value.into(),
        })
        .collect();
    model
}

fn about(model: &Onnx) -> (Metadata, Vec<String>) {
    let graph = import::onnx(&model.bytes(), &Options::default()).unwrap();
    (graph.metadata, graph.notes)
}

#[test]
fn remarks_reach_the_graph() {
    let mut model = model(&[("stride", "32"), ("empty", " ")]);
    model.0.producer_name = "pytorch".into();
    model.0.producer_version = "2.9".into();
    model.0.model_version = 7;
    model.0.doc_string = "finds digits".into();
    let image = &mut model.graph().input[0];
    image.doc_string = "grey, 0 to 1".into();
    let ty = image.r#type.as_mut().unwrap();
    ty.denotation = "IMAGE".into();
    let Some(type_proto::Value::TensorType(tensor)) = &mut ty.value else {
        unreachable!()
    };
    let dims: &mut Vec<Dimension> = &mut tensor.shape.as_mut().unwrap().dim;
    dims[1].denotation = "DATA_FEATURE".into();
    let (metadata, notes) = about(&model);
    assert_eq!(
        (metadata.producer.as_str(), metadata.version.as_str()),
        ("pytorch 2.9", "7")
    );
    let texts: Vec<(&str, &str)> = metadata
        .texts
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        texts,
        [
            ("onnx.ir_version", "8"),
            ("onnx.opset", "17"),
            ("onnx.doc", "finds digits"),
            ("onnx.input.x.doc", "grey, 0 to 1"),
            ("onnx.input.x.denotation", "IMAGE [?, DATA_FEATURE]"),
            ("stride", "32"),
        ]
    );
    assert!(metadata.labels.is_empty() && notes.is_empty(), "{notes:?}");
}

#[test]
fn what_there_is_no_room_for_is_noted() {
    let long = "x".repeat(3000);
    let (metadata, notes) = about(&model(&[("long", &long), ("short", "kept")]));
    assert_eq!(
        notes,
        ["metadata `long` (3004 bytes) is left out: 2048 bytes are kept in all"]
    );
    assert_eq!(metadata.texts.last().unwrap().0, "short");
    let many = (0..5000)
        .map(|i| format!("class {i}"))
        .collect::<Vec<_>>()
        .join(",");
    let (metadata, notes) = about(&model(&[("labels", &many)]));
    assert!(metadata.labels.is_empty());
    assert_eq!(
        notes,
        ["metadata `labels`: 5000 labels are left out; at most 32768 bytes are kept"]
    );
}

#[test]
fn labels_are_read_in_every_form() {
    let three = ["cat", "it's", "dög"];
    for text in [
        r#"["cat", "it's", "d\u00f6g"]"#,
        r#"{"0": "cat", "1": "it's", "2": "dög"}"#,
        r#"{0: 'cat', 1: "it's", 2: 'dög'}"#,
        r#"{2: 'dög', 1: 'it\'s', 0: 'cat',}"#,
        r#"('cat', 'it\'s', 'dög')"#,
        "cat,it's, dög",
        "cat\nit's\ndög\n",
    ] {
        for key in ["names", "classes", "labels", "class_names"] {
            let (metadata, notes) = about(&model(&[(key, text)]));
            assert_eq!(metadata.labels, three, "{text}");
            assert!(notes.is_empty() && metadata.texts.len() == 2, "{notes:?}");
        }
    }
    for text in [
        "{0: 'cat', 2: 'dog'}",
        "[1, 2]",
        "['cat', 'dog'",
        "['cat' 'dog']",
        "{'a': 'b'}",
        "cat",
        "['\\",
    ] {
        let (metadata, notes) = about(&model(&[("names", text)]));
        assert!(metadata.labels.is_empty(), "{text}");
        assert_eq!(
            notes,
            ["metadata `names` holds no list of labels that is understood"]
        );
    }
    let (_, notes) = about(&model(&[("names", "a,b")]));
    assert_eq!(
        notes,
        ["the model brings 2 class labels, but no output has as many classes"]
    );
}
