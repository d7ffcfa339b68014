//! Whole models on every board: the demo's, and the quantized references where they are beside the project.

use std::path::Path;

use tinsmith::data::{self, IntegerScale, Source, npy::Array};
use tinsmith::ir::{NoSamples, Samples};
use tinsmith::op::tensor::Data;
use tinsmith::simulate::{board, edge};
use tinsmith::target::Target;
use tinsmith_runtime::Blob;

use super::boot;
use crate::shared;

/// Inferences of each model.
const INFERENCES: usize = 8;
/// The quantized reference models.
const REFERENCES: [&str; 5] = ["kws", "ic", "vww", "ad", "sww"];

/// The bytes of the first int8 samples in a file.
fn samples(path: &Path) -> Vec<Vec<u8>> {
    let array = Array::open(path).unwrap();
    let elements = array.read_f64().unwrap();
    let bytes: Vec<u8> = elements.iter().map(|&element| element as i8 as u8).collect();
    let count = array.shape[0];
    bytes
        .chunks_exact(bytes.len() / count)
        .take(INFERENCES)
        .map(<[u8]>::to_vec)
        .collect()
}

/// The reference models on a board: every layer as the simulator has it, and the outputs as ONNX means them.
pub(super) fn check_references(name: &str) {
    let target = Target::builtin(name).unwrap();
    let Some(folder) = shared::path("reference/qdq") else {
        return;
    };
    for model in REFERENCES {
        let onnx = std::fs::read(folder.join(format!("{model}.onnx"))).unwrap();
        let options = tinsmith::Options::default();
        let artifact = tinsmith::compile(&target, &onnx, &NoSamples, &options, &|_, _, _| {}).unwrap();
        let inputs: Vec<Vec<Vec<u8>>> = samples(&folder.join(format!("{model}_x.npy")))
            .into_iter()
            .map(|input| vec![input])
            .collect();
        let Some(run) = boot(&target, &artifact.blob, &inputs) else {
            return;
        };
        assert_eq!(
            board::compare(&artifact.blob, &inputs, &run).unwrap(),
            None,
            "{model}"
        );
        let wanted = samples(&folder.join(format!("{model}_y_exact.npy")));
        for (inference, (outputs, wanted)) in run.outputs.iter().zip(&wanted).enumerate() {
            assert_eq!(&outputs[0], wanted, "{model}, input {inference}");
        }
    }
}

/// The demo's model, calibrated and fed with its own data.
pub(super) fn check_demo(name: &str) {
    let target = Target::builtin(name).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits");
    let onnx = std::fs::read(folder.join("digits.onnx")).unwrap();
    let options = tinsmith::Options::default();
    let float = tinsmith::load(&onnx, &options).unwrap();
    let ports: Vec<data::Input> = float
        .inputs
        .iter()
        .map(|&input| {
            let tensor = &float.tensors[input];
            data::Input {
                name: tensor.name.clone(),
                ty: tensor.ty.clone(),
            }
        })
        .collect();
    let open = |file: &str| {
        let source = Source {
            input: None,
            path: folder.join(file),
        };
        data::open(&ports, &[source], IntegerScale::default()).unwrap()
    };
    let artifact = tinsmith::compile(&target, &onnx, &open("calib_x.npy"), &options, &|_, _, _| {}).unwrap();
    let blob = Blob::check(&artifact.blob).unwrap();
    let samples = open("eval_x.npy");
    let inputs: Vec<Vec<Vec<u8>>> = (0..INFERENCES)
        .map(|index| {
            let values = samples.get(index).unwrap();
            blob.inputs()
                .zip(&values)
                .map(|(port, values)| edge::store(&port, values).unwrap())
                .collect()
        })
        .collect();
    let Some(run) = boot(&target, &artifact.blob, &inputs) else {
        return;
    };
    assert_eq!(board::compare(&artifact.blob, &inputs, &run).unwrap(), None);

    let labels = Array::open(&folder.join("eval_y.npy"))
        .unwrap()
        .read_f64()
        .unwrap();
    let port = blob.outputs().next().unwrap();
    let right = run.outputs.iter().zip(&labels).filter(|(outputs, label)| {
        let Data::F32(scores) = edge::load(&port, &outputs[0]).unwrap().data else {
            panic!("the model's output is f32")
        };
        let best = (0..scores.len())
            .max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
            .unwrap();
        best as f64 == **label
    });
    assert!(right.count() >= INFERENCES - 1, "the board does not know digits");
}
