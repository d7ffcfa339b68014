//! Models written as ONNX: read again, they give the same bytes. What ONNX Runtime makes of them is for
//! `onnxruntime/compare.py` beside this file.

use std::fs;

use tinsmith::data::{self, Files, Input, IntegerScale, Source};
use tinsmith::emit::{self, EmitError};
use tinsmith::ir::{FloatGraph, NoSamples, QuantGraph, SampleError, Samples};
use tinsmith::op::tensor::Values;
use tinsmith::op::{Delay, Op};
use tinsmith::quantize::{self, Precision, QuantizeError};
use tinsmith::schedule::ScheduleError;
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith::{Artifact, Error, Options, reference};
use tinsmith_proto::{Message, ModelProto};

use crate::quantize::case::Case;
use crate::shared;

/// A core with room for every model.
fn target() -> Target {
    Target::builtin("cortex-a").unwrap()
}

fn build(graph: FloatGraph, samples: &dyn Samples, precision: Precision) -> Result<Artifact, Error> {
    let mut options = Options::default();
    options.quantize.precision = precision;
    tinsmith::build(&target(), graph, samples, &options, &|_, _, _| ())
}

fn load(bytes: &[u8], precision: Precision) -> Result<FloatGraph, Error> {
    let mut options = Options::default();
    options.quantize.precision = precision;
    tinsmith::load(bytes, &options)
}

/// The outputs of a blob, as the model has them.
fn outputs(blob: &[u8], sample: &[Values]) -> Vec<Values> {
    let mut simulator = Simulator::new(blob).unwrap();
    let stored = edge::store_all(simulator.blob(), sample).unwrap();
    let inputs: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
    let outputs = simulator.run(&inputs).unwrap();
    edge::load_all(simulator.blob(), &outputs).unwrap()
}

/// Name, element type and shape of every port.
fn ports(blob: &[u8]) -> Vec<String> {
    let blob = tinsmith_runtime::Blob::check(blob).unwrap();
    let ports = blob.inputs().chain(blob.outputs());
    ports
        .map(|port| format!("{}: {}", port.name, edge::model_type(&port)))
        .collect()
}

/// Compiles what was written of an artifact, and expects the same ports and on all samples the same outputs.
fn check_artifact(name: &str, artifact: &Artifact, samples: &dyn Samples, most: usize) {
    let written = emit::onnx(&artifact.quant, "").unwrap();
    let again = load(&written, Precision::Int8).unwrap();
    let again = build(again, &NoSamples, Precision::Int8).unwrap();
    assert_eq!(ports(&artifact.blob), ports(&again.blob), "{name}");
    for index in 0..samples.len().min(most) {
        let sample = samples.get(index).unwrap();
        assert_eq!(
            outputs(&artifact.blob, &sample),
            outputs(&again.blob, &sample),
            "{name}, sample {index}"
        );
    }
}

/// For tests of single nodes: the codes that the written graph gives for some inputs. `None` where ONNX has no form for
/// it, or the optimizer leaves nothing in it but codes, of which no one can tell that they are quantized.
pub(crate) fn codes_read_again(graph: &QuantGraph, inputs: &[Vec<&[u8]>]) -> Option<Vec<Vec<Vec<u8>>>> {
    let written = match emit::onnx(graph, "") {
        Err(EmitError::NotOnnx(_)) => return None,
        written => written.unwrap(),
    };
    // Parts in reals need the leave to be so.
    let has_reals = graph
        .outputs
        .iter()
        .any(|&output| graph.tensors[output].is_real());
    let precision = if has_reals {
        Precision::F32
    } else {
        Precision::Int8
    };
    let again = load(&written, precision).unwrap();
    let again = match build(again, &NoSamples, precision) {
        Err(Error::Quantize(QuantizeError::NoSamples)) => return None,
        again => again.unwrap(),
    };
    let mut simulator = Simulator::new(&again.blob).unwrap();
    Some(
        inputs
            .iter()
            .map(|inputs| simulator.run(inputs).unwrap())
            .collect(),
    )
}

fn open(graph: &FloatGraph, paths: Vec<std::path::PathBuf>) -> Files {
    try_open(graph, paths).unwrap()
}

fn try_open(graph: &FloatGraph, paths: Vec<std::path::PathBuf>) -> Result<Files, data::DataError> {
    let inputs = graph.inputs.iter().map(|&input| &graph.tensors[input]);
    let inputs: Vec<Input> = inputs
        .map(|tensor| Input {
            name: tensor.name.clone(),
            ty: tensor.ty.clone(),
        })
        .collect();
    let sources = paths.into_iter().map(|path| Source { input: None, path });
    let plain = IntegerScale {
        scale: 1.0,
        offset: 0.0,
    };
    data::open(&inputs, &sources.collect::<Vec<_>>(), plain)
}

#[test]
fn the_bundled_model_written_and_read_again_gives_the_same_bytes() {
    let example = |name: &str| std::path::Path::new("examples/digits").join(name);
    let graph = load(&fs::read(example("digits.onnx")).unwrap(), Precision::Int8).unwrap();
    let calibration = open(&graph, vec![example("calib_x.npy")]);
    let evaluation = open(&graph, vec![example("eval_x.npy")]);
    let artifact = build(graph, &calibration, Precision::Int8).unwrap();
    check_artifact("digits", &artifact, &evaluation, 100);
}

/// The first of some samples.
struct First<'s>(&'s Files);

impl Samples for First<'_> {
    fn len(&self) -> usize {
        self.0.len().min(1)
    }
    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        self.0.get(index)
    }
}

#[test]
fn real_models_written_and_read_again_give_the_same_bytes() {
    let Some(folder) = shared::path("models") else {
        return;
    };
    let mut names: Vec<String> = fs::read_dir(folder.join("io"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut compared = 0;
    for name in names {
        let bytes = fs::read(folder.join(format!("{name}.onnx"))).unwrap();
        let Ok(graph) = load(&bytes, Precision::Int8) else {
            continue;
        };
        let mut inputs: Vec<_> = fs::read_dir(folder.join("io").join(&name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("in"))
            .collect();
        inputs.sort();
        // The sequences of a streaming model are no samples of it.
        let Ok(samples) = try_open(&graph, inputs) else {
            continue;
        };
        match build(graph, &First(&samples), Precision::Int8) {
            Ok(artifact) => {
                check_artifact(&name, &artifact, &First(&samples), 1);
                compared += 1;
            }
            // What has no int8 form, and the loop that keeps it from one.
            Err(
                Error::Quantize(QuantizeError::Problems(_)) | Error::Schedule(ScheduleError::Unsupported(_)),
            ) => {}
            Err(other) => panic!("{name}: {other}"),
        }
    }
    assert!(compared >= 15, "only {compared} models have an int8 form");
}

#[test]
fn quantized_models_written_and_read_again_give_the_same_bytes() {
    for name in ["kws", "ic", "vww", "ad", "sww"] {
        let Some(path) = shared::path(&format!("reference/qdq/{name}.onnx")) else {
            return;
        };
        let graph = load(&fs::read(path).unwrap(), Precision::Int8).unwrap();
        let data = shared::path(&format!("reference/qdq/{name}_x.npy")).unwrap();
        let samples = open(&graph, vec![data]);
        let artifact = build(graph, &NoSamples, Precision::Int8).unwrap();
        check_artifact(name, &artifact, &samples, 8);
    }
}

/// A float model comes back as what it was: the same numbers, since nothing is rounded between.
#[test]
fn float_models_stay_float() {
    let graph = load(&fs::read("examples/digits/digits.onnx").unwrap(), Precision::F32).unwrap();
    let samples = open(&graph, vec!["examples/digits/eval_x.npy".into()]);
    let options = quantize::Options {
        precision: Precision::F32,
        ..quantize::Options::default()
    };
    let quant = quantize::run(graph.clone(), &NoSamples, &options, &|_, _, _| ())
        .unwrap()
        .quant;
    let bytes = emit::onnx(&quant, "3").unwrap();
    let model = ModelProto::decode(&bytes[..]).unwrap();
    assert_eq!((model.model_version, model.ir_version), (3, 8));
    let nodes = model.graph.unwrap().node;
    assert!(nodes.iter().all(|node| !node.op_type.contains("Quantize")));
    let again = load(&bytes, Precision::F32).unwrap();
    for index in 0..4 {
        let sample = samples.get(index).unwrap();
        let run = |graph| reference::run(graph, &sample).unwrap();
        assert_eq!(run(&graph), run(&again));
    }
}

/// Every layer with an activation keeps its name, and channels are turned once on the way in and once on the way out.
#[test]
fn layers_keep_their_names_and_few_transposes_are_written() {
    let graph = load(&fs::read("examples/digits/digits.onnx").unwrap(), Precision::Int8).unwrap();
    let samples = open(&graph, vec!["examples/digits/calib_x.npy".into()]);
    let artifact = build(graph, &First(&samples), Precision::Int8).unwrap();
    let bytes = emit::onnx(&artifact.quant, "").unwrap();
    let nodes = ModelProto::decode(&bytes[..]).unwrap().graph.unwrap().node;
    for layer in ["relu_0", "relu_4", "dense", "digit"] {
        assert!(nodes.iter().any(|node| node.name == layer), "{layer}");
    }
    let transposes = nodes.iter().filter(|node| node.op_type == "Transpose");
    assert_eq!(transposes.count(), 2);
}

#[test]
fn operators_without_a_form_are_refused_by_name_all_at_once() {
    let mut case = Case::new(1);
    let params = case.random.params();
    let x = case.input("x", &[8], params);
    for _ in 0..2 {
        case.node(Op::Delay(Delay {}), &[x], params);
    }
    let Err(EmitError::NotOnnx(problems)) = emit::onnx(&case.graph, "") else {
        panic!("state has no form in ONNX");
    };
    assert_eq!(problems.len(), 2);
    for problem in &problems {
        assert_eq!((&*problem.node, &*problem.operator), ("node", "Delay"));
        assert!(problem.reason.contains("state from one inference to the next"));
        assert!(problem.help.is_some());
    }
}
