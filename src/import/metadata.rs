//! What the model says of itself: producer, versions, documentation, properties, class labels.

use tinsmith_proto::tensor_shape_proto::Dimension;
use tinsmith_proto::{GraphProto, ModelProto, ValueInfoProto, type_proto};

use super::labels;
use crate::ir::Metadata;

/// The most bytes that keys and values take in all: they go into flash.
const TEXT_BYTES: usize = 2048;
/// The most bytes of a name or a version.
const NAME_BYTES: usize = 128;
/// The most bytes of all labels.
const LABEL_BYTES: usize = 1 << 15;

/// Properties that hold class labels, by the names that exporters give them.
const LABEL_KEYS: &[&str] = &["names", "classes", "class_names", "labels"];

/// The model's remarks; what there is no room for is left out and noted.
pub(super) fn read(model: &ModelProto, graph: &GraphProto, notes: &mut Vec<String>) -> Metadata {
    let producer = [model.producer_name.trim(), model.producer_version.trim()];
    let producer: Vec<&str> = producer.into_iter().filter(|part| !part.is_empty()).collect();
    let mut metadata = Metadata {
        producer: cut(&producer.join(" ")).to_owned(),
        version: match model.model_version {
            0 => String::new(),
            version => version.to_string(),
        },
        ..Metadata::default()
    };
    let opsets = model.opset_import.iter().map(|set| match set.domain.as_str() {
        "" | "ai.onnx" => set.version.to_string(),
        domain => format!("{domain} {}", set.version),
    });
    let mut texts = vec![
        ("onnx.ir_version".to_owned(), model.ir_version.to_string()),
        ("onnx.opset".to_owned(), opsets.collect::<Vec<_>>().join(", ")),
        ("onnx.domain".to_owned(), model.domain.clone()),
        ("onnx.doc".to_owned(), model.doc_string.clone()),
        ("onnx.graph.doc".to_owned(), graph.doc_string.clone()),
    ];
    let ports = graph.input.iter().map(|info| ("input", info));
    for (what, info) in ports.chain(graph.output.iter().map(|info| ("output", info))) {
        texts.push((format!("onnx.{what}.{}.doc", info.name), info.doc_string.clone()));
        texts.push((format!("onnx.{what}.{}.denotation", info.name), denotation(info)));
    }
    let mut room = TEXT_BYTES;
    let properties = model.metadata_props.iter().chain(&graph.metadata_props);
    for property in properties {
        let key = property.key.trim();
        if metadata.labels.is_empty() && LABEL_KEYS.contains(&key) {
            match labels::parse(&property.value) {
                Some(found) if found.iter().map(|label| label.len() + 2).sum::<usize>() <= LABEL_BYTES => {
                    metadata.labels = found;
                    continue;
                }
                Some(found) => {
                    let count = found.len();
                    notes.push(format!(
                        "metadata `{key}`: {count} labels are left out; at most {LABEL_BYTES} bytes are kept"
                    ));
                    continue;
                }
                None => notes.push(format!(
                    "metadata `{key}` holds no list of labels that is understood"
                )),
            }
        }
        texts.push((key.to_owned(), property.value.trim().to_owned()));
    }
    let mut left_out = Vec::new();
    for (key, value) in texts {
        if value.is_empty() {
            continue;
        }
        let bytes = key.len() + value.len();
        match room.checked_sub(bytes) {
            Some(left) => {
                room = left;
                metadata.texts.push((key, value));
            }
            None => left_out.push(format!("`{}` ({bytes} bytes)", cut(&key))),
        }
    }
    if let Some(first) = left_out.first() {
        let more = match left_out.len() {
            1 => "is".to_owned(),
            count => format!("and {} more are", count - 1),
        };
        notes.push(format!(
            "metadata {first} {more} left out: {TEXT_BYTES} bytes are kept in all"
        ));
    }
    metadata
}

/// What a value and its axes are said to be: `IMAGE [DATA_BATCH, DATA_CHANNEL, DATA_FEATURE, DATA_FEATURE]`.
fn denotation(info: &ValueInfoProto) -> String {
    let Some(ty) = &info.r#type else {
        return String::new();
    };
    let mut parts = Vec::new();
    if !ty.denotation.is_empty() {
        parts.push(ty.denotation.clone());
    }
    if let Some(type_proto::Value::TensorType(tensor)) = &ty.value
        && let Some(shape) = &tensor.shape
        && shape.dim.iter().any(|dim| !dim.denotation.is_empty())
    {
        let name = |dim: &Dimension| match dim.denotation.as_str() {
            "" => "?".to_owned(),
            name => name.to_owned(),
        };
        let names: Vec<String> = shape.dim.iter().map(name).collect();
        parts.push(format!("[{}]", names.join(", ")));
    }
    parts.join(" ")
}

/// A text's beginning, as much as fits.
fn cut(text: &str) -> &str {
    let end = (0..=NAME_BYTES.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}
