//! Real models: those of this size class import whole, of the others every reason is listed.

use std::collections::BTreeSet;
use std::fs;

use tinsmith::import::{self, ImportError, Options};
use tinsmith::ir::FloatGraph;
use tinsmith::ir::verify::verify;
use tinsmith::op::Op;
use tinsmith::op::tensor::{DType, TensorType};
use tinsmith_proto::{Message, ModelProto};

use crate::shared;

fn import(relative: &str, options: &Options) -> Option<Result<FloatGraph, ImportError>> {
    let bytes = fs::read(shared::path(relative)?).unwrap();
    Some(import::onnx(&bytes, options))
}

/// Imports a model whole and looks at its ends.
fn check(relative: &str, input: TensorType, output: TensorType) -> Option<FloatGraph> {
    let graph = import(relative, &Options::default())?.unwrap();
    verify(&graph).unwrap();
    assert_eq!(graph.tensors[graph.inputs[0]].ty, input, "{relative}");
    assert_eq!(graph.tensors[graph.outputs[0]].ty, output, "{relative}");
    assert_eq!(graph.notes.len(), 1, "the batch is taken as 1");
    Some(graph)
}

/// The five models' names: in float, quantized; their inputs and outputs.
const TINY: [(&str, &str, &[usize], &[usize]); 5] = [
    ("kws_ds_cnn", "kws", &[1, 49, 10, 1], &[1, 12]),
    ("ic_resnet8", "ic", &[1, 32, 32, 3], &[1, 10]),
    ("vww_mobilenet_v1_025_96", "vww", &[1, 96, 96, 3], &[1, 2]),
    ("ad_autoencoder", "ad", &[1, 640], &[1, 640]),
    ("sww_ds_cnn1d", "sww", &[1, 30, 1, 40], &[1, 3]),
];

#[test]
fn the_tiny_models_import_in_float() {
    for (name, _, input, output) in TINY {
        let relative = format!("models/{name}.onnx");
        let (input, output) = (
            TensorType::new(DType::F32, input),
            TensorType::new(DType::F32, output),
        );
        let Some(graph) = check(&relative, input, output) else {
            return;
        };
        assert!(graph.macs() > 100_000, "{name}");
    }
}

#[test]
fn the_tiny_models_import_quantized() {
    for (_, name, input, output) in TINY {
        let relative = format!("reference/qdq/{name}.onnx");
        let (input, output) = (
            TensorType::new(DType::I8, input),
            TensorType::new(DType::I8, output),
        );
        let Some(graph) = check(&relative, input, output) else {
            return;
        };
        for node in &graph.nodes {
            // Weights stay the integers that they are in the file, moved into place.
            if let Op::Conv2d(_) = &node.op {
                let weights = graph.producer(node.inputs[1]).unwrap();
                let weights = &graph.nodes[weights];
                assert!(
                    matches!(weights.op, Op::DequantizeLinear(_)),
                    "{name} {}",
                    node.name
                );
                let stored = &graph.tensors[weights.inputs[0]];
                assert_eq!(stored.ty.dtype, DType::I8);
                assert!(stored.data.is_some());
            }
        }
    }
}

#[test]
fn other_models_import_or_list_all_that_is_missing() {
    let Some(folder) = shared::path("models") else {
        return;
    };
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".onnx"))
        .collect();
    names.sort();
    let supported = import::operators();
    for name in names {
        let bytes = fs::read(folder.join(&name)).unwrap();
        let model = ModelProto::decode(bytes.as_slice()).unwrap();
        let missing: BTreeSet<String> = model
            .graph
            .unwrap()
            .node
            .into_iter()
            .filter(|node| !supported.contains(&node.op_type))
            .map(|node| {
                if node.name.is_empty() {
                    node.output[0].clone()
                } else {
                    node.name
                }
            })
            .collect();
        match import::onnx(&bytes, &Options::default()) {
            Ok(graph) => {
                verify(&graph).unwrap();
                assert!(missing.is_empty(), "{name}");
                println!("{name}: {} nodes, {} MACs", graph.nodes.len(), graph.macs());
            }
            Err(ImportError::Problems(problems)) => {
                let unknown = problems.iter().filter(|p| p.reason == "unknown operator");
                let listed: BTreeSet<String> = unknown.map(|p| p.node.clone()).collect();
                assert_eq!(listed, missing, "{name}");
                println!("{name}: {} problems", problems.len());
                for problem in problems.iter().filter(|p| p.reason != "unknown operator") {
                    println!("    {problem}");
                }
                let operators: BTreeSet<&str> = problems
                    .iter()
                    .filter(|p| p.reason == "unknown operator")
                    .map(|p| p.operator.as_str())
                    .collect();
                println!("    {} unknown: {operators:?}", listed.len());
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}
