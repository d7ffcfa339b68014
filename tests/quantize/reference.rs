//! The five quantized reference models: taken as they stand, every channel proven, every output byte ONNX's.

use rayon::prelude::*;
use tinsmith::ir::{NoSamples, QuantGraph};
use tinsmith::op::tensor::{Data, Values};
use tinsmith::op::{Op, Proof};
use tinsmith::target::Target;
use tinsmith::{import, optimize, quantize};

use super::meaning;
use crate::shared;

/// A model of `../shared/reference/qdq`, quantized.
fn load(name: &str) -> Option<QuantGraph> {
    let path = shared::path(&format!("reference/qdq/{name}.onnx"))?;
    let bytes = std::fs::read(path).unwrap();
    let float = import::onnx(&bytes, &import::Options::default()).unwrap();
    let float = optimize::run(float, &optimize::Options::default()).unwrap();
    let options = quantize::Options::default();
    Some(
        quantize::run(float, &NoSamples, &options, &|_, _, _| ())
            .unwrap()
            .quant,
    )
}

/// The int8 elements of an `.npy` of the test material.
fn int8(relative: &str) -> Option<Vec<i8>> {
    let file = std::fs::File::open(shared::path(relative)?).unwrap();
    let array = npyz::NpyFile::new(std::io::BufReader::new(file)).unwrap();
    Some(array.into_vec().unwrap())
}

const MODELS: [&str; 5] = ["kws", "ic", "vww", "ad", "sww"];

/// The proof of every layer with weights, and of the other operators.
fn proofs(graph: &QuantGraph) -> [Proof; 2] {
    let target = Target::builtin("mps2-an385").unwrap();
    let mut proofs = [Proof::default(), Proof::default()];
    for node in &graph.nodes {
        let tensors = |handles: &[_]| {
            handles
                .iter()
                .map(|&handle| &graph.tensors[handle])
                .collect::<Vec<_>>()
        };
        let lowered = node
            .op
            .lower(&target, &tensors(&node.inputs), &tensors(&node.outputs))
            .unwrap();
        let has_weights = matches!(node.op, Op::Conv2d(_) | Op::Dense(_));
        proofs[usize::from(!has_weights)].merge(lowered.proof);
    }
    proofs
}

#[test]
fn every_channel_of_the_reference_models_is_proven() {
    let mut total = Proof::default();
    for name in MODELS {
        let Some(graph) = load(name) else { return };
        assert!(
            graph
                .nodes
                .iter()
                .all(|node| !matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_)))
        );
        let [weighted, others] = proofs(&graph);
        println!(
            "{name}: {} channels up, {} even, {} moved; {} other operators; notes {:?}",
            weighted.up,
            weighted.even,
            weighted.moved,
            others.up + others.even,
            graph.notes
        );
        assert!(weighted.inexact.is_empty(), "{name}: {:?}", weighted.inexact);
        assert!(others.inexact.is_empty(), "{name}: {:?}", others.inexact);
        total.merge(weighted);
    }
    assert_eq!(total.up + total.even, 6187);
    // No power-of-two factor is among them; three take another multiplier than the nearest.
    assert_eq!((total.even, total.moved), (0, 3));
}

/// Runs the first inputs of a model and compares its output with ONNX's meaning.
fn check(name: &str, samples: usize) {
    let Some(graph) = load(name) else { return };
    let shape = &graph.tensors[graph.inputs[0]].ty.shape;
    let (Some(x), Some(y)) = (
        int8(&format!("reference/qdq/{name}_x.npy")),
        int8(&format!("reference/qdq/{name}_y_exact.npy")),
    ) else {
        return;
    };
    let (input_len, output_len) = (x.len() / 64, y.len() / 64);
    x.par_chunks(input_len)
        .zip(y.par_chunks(output_len))
        .take(samples)
        .for_each(|(x, y)| {
            let input = Values::new(shape.clone(), Data::I8(x.to_vec()));
            let output = meaning::outputs(&graph, &[input]);
            assert_eq!(output[0].as_i8().unwrap(), y, "{name}");
        });
}

#[test]
fn kws_means_what_onnx_means() {
    check("kws", 64);
}

#[test]
fn ic_means_what_onnx_means() {
    check("ic", 64);
}

#[test]
fn vww_means_what_onnx_means() {
    check("vww", 16);
}

#[test]
fn ad_means_what_onnx_means() {
    check("ad", 64);
}

#[test]
fn sww_means_what_onnx_means() {
    check("sww", 64);
}
