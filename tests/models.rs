//! Whole models: output bytes against ONNX's meaning, accuracy against the float model, sizes as snapshots.

use std::fmt::Write;
use std::fs;

use tinsmith::data::npy::Array;
use tinsmith::data::{self, Files, Input, IntegerScale, Source};
use tinsmith::evaluate::{self, Labels, MetricKind, Subject};
use tinsmith::ir::{FloatGraph, NoSamples, SampleError, Samples};
use tinsmith::op::tensor::Values;
use tinsmith::quantize::Precision;
use tinsmith::reference;
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith::{Artifact, Options};

use crate::shared;

/// A model, its data, and how the data's integers become reals.
struct Case {
    name: &'static str,
    model: &'static str,
    calibration: &'static str,
    evaluation: &'static str,
    labels: Option<&'static str>,
    integers: IntegerScale,
    /// Samples evaluated here; `cargo xtask bench` takes all.
    samples: usize,
    /// The most points that INT8 may lose on them.
    most_drop: f64,
}

const PLAIN: IntegerScale = IntegerScale {
    scale: 1.0,
    offset: 0.0,
};

const CASES: &[Case] = &[
    Case {
        name: "kws",
        model: "models/kws_ds_cnn.onnx",
        calibration: "data/kws_speech_commands/calib_x_int8.npy",
        evaluation: "data/kws_speech_commands/eval_x_int8.npy",
        labels: Some("data/kws_speech_commands/eval_y.npy"),
        integers: IntegerScale {
            scale: 0.584_702_908_992_767_3,
            offset: 83.0,
        },
        samples: 200,
        most_drop: 1.5,
    },
    Case {
        name: "ic",
        model: "models/ic_resnet8.onnx",
        calibration: "data/ic_cifar10/calib_x.npy",
        evaluation: "data/ic_cifar10/eval_x.npy",
        labels: Some("data/ic_cifar10/eval_y.npy"),
        integers: PLAIN,
        samples: 300,
        most_drop: 2.0,
    },
    Case {
        name: "vww",
        model: "models/vww_mobilenet_v1_025_96.onnx",
        calibration: "data/vww_person/calib_x.npy",
        evaluation: "data/vww_person/eval_x.npy",
        labels: Some("data/vww_person/eval_y.npy"),
        integers: IntegerScale {
            scale: 1.0 / 255.0,
            offset: 0.0,
        },
        samples: 60,
        most_drop: 3.5,
    },
    Case {
        name: "ad",
        model: "models/ad_autoencoder.onnx",
        calibration: "models/io/ad_autoencoder/in0_input_1.npy",
        evaluation: "models/io/ad_autoencoder/in0_input_1.npy",
        labels: None,
        integers: PLAIN,
        samples: 1,
        most_drop: 1.0,
    },
    Case {
        name: "sww",
        model: "models/sww_ds_cnn1d.onnx",
        calibration: "data/sww_marvin/calib_x.npy",
        evaluation: "data/sww_marvin/calib_x.npy",
        labels: Some("data/sww_marvin/calib_y.npy"),
        integers: PLAIN,
        samples: 45,
        most_drop: 2.3,
    },
];

const QDQ: [&str; 5] = ["kws", "ic", "vww", "ad", "sww"];

fn target() -> Target {
    Target::builtin("mps2-an386").unwrap()
}

fn load(path: &str) -> Option<FloatGraph> {
    let bytes = fs::read(shared::path(path)?).unwrap();
    Some(tinsmith::load(&bytes, &Options::default()).unwrap())
}

fn inputs(graph: &FloatGraph) -> Vec<Input> {
    let tensors = graph.inputs.iter().map(|&input| &graph.tensors[input]);
    tensors
        .map(|tensor| Input {
            name: tensor.name.clone(),
            ty: tensor.ty.clone(),
        })
        .collect()
}

fn open(graph: &FloatGraph, path: &str, integers: IntegerScale) -> Option<Files> {
    let path = shared::path(path)?;
    let source = Source { input: None, path };
    Some(data::open(&inputs(graph), &[source], integers).unwrap())
}

fn build(graph: FloatGraph, samples: &dyn Samples) -> Artifact {
    let mut options = Options::default();
    options.emit.strip = true;
    tinsmith::build(&target(), graph, samples, &options, &|_, _, _| ()).unwrap()
}

/// Some of the samples, spread evenly.
struct Spread<'s>(&'s Files, usize);

impl Spread<'_> {
    fn position(&self, index: usize) -> usize {
        index * self.0.len() / self.len()
    }
}

impl Samples for Spread<'_> {
    fn len(&self) -> usize {
        self.1.min(self.0.len())
    }
    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        self.0.get(self.position(index))
    }
}

/// What a model costs, for the snapshots.
fn figures(artifact: &Artifact) -> String {
    let program = &artifact.program;
    let plan = &program.plan;
    let mut text = String::new();
    let sum = |of: fn(&tinsmith::op::Proof) -> usize| {
        program.proofs.iter().map(|(_, proof)| of(proof)).sum::<usize>()
    };
    let _ = writeln!(
        text,
        "flash {} bytes, padding {}",
        artifact.blob.len(),
        program.padding_bytes
    );
    let _ = writeln!(
        text,
        "arena {} bytes, lower bound {}",
        plan.arena_bytes, plan.lower_bound_bytes
    );
    let _ = writeln!(text, "peak at {}", plan.peak_at);
    let _ = writeln!(
        text,
        "channels exact: {} up, {} even, {} moved; {} inexact",
        sum(|proof| proof.up),
        sum(|proof| proof.even),
        sum(|proof| proof.moved),
        sum(|proof| proof.inexact.len()),
    );
    for step in &program.steps {
        let first = program.buffers[step.write.buffer].offset + step.write.offset;
        let _ = writeln!(
            text,
            "{:15} {:8} MACs {:7} bytes at {:6}  {}",
            step.layer.name(),
            step.macs,
            step.write.bytes,
            first,
            step.name
        );
    }
    text
}

fn assert_figures(name: &str, artifact: &Artifact) {
    insta::with_settings!({ snapshot_path => "models", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, figures(artifact));
    });
}

/// Every output byte of the quantized reference models is what ONNX defines.
#[test]
fn qdq_models_give_the_bytes_that_onnx_defines() {
    for name in QDQ {
        let Some(graph) = load(&format!("reference/qdq/{name}.onnx")) else {
            return;
        };
        let artifact = build(graph, &NoSamples);
        let array = |suffix: &str| {
            let path = shared::path(&format!("reference/qdq/{name}_{suffix}.npy")).unwrap();
            let bytes = Array::open(&path).unwrap().read_f64().unwrap();
            bytes
                .into_iter()
                .map(|byte| byte as i8 as u8)
                .collect::<Vec<u8>>()
        };
        let (x, wanted) = (array("x"), array("y_exact"));
        let mut simulator = Simulator::new(&artifact.blob).unwrap();
        let mut found = Vec::new();
        for input in x.chunks(x.len() / 64) {
            found.extend(simulator.run(&[input]).unwrap().remove(0));
        }
        let differing = found.iter().zip(&wanted).filter(|(a, b)| a != b).count();
        assert_eq!(found.len(), wanted.len(), "{name}");
        assert_eq!(differing, 0, "{name}: of {} bytes", wanted.len());
        assert_figures(&format!("{name}-qdq"), &artifact);
    }
}

#[test]
fn float_models_keep_their_accuracy_and_size() {
    for case in CASES {
        let Some(graph) = load(case.model) else { return };
        let calibration = open(&graph, case.calibration, case.integers).unwrap();
        let samples = open(&graph, case.evaluation, case.integers).unwrap();
        let samples = Spread(&samples, case.samples);
        let artifact = build(graph, &calibration);
        assert_figures(case.name, &artifact);
        let labels = case.labels.map(|path| {
            let classes = Array::open(&shared::path(path).unwrap())
                .unwrap()
                .read_f64()
                .unwrap();
            Labels::Classes(
                (0..samples.len())
                    .map(|i| classes[samples.position(i)] as i64)
                    .collect(),
            )
        });
        let metric = if labels.is_some() {
            MetricKind::Top1
        } else {
            MetricKind::Cosine
        };
        let options = evaluate::Options {
            metrics: vec![metric],
            labels,
            layer_samples: 8,
            ..evaluate::Options::default()
        };
        let subject = Subject {
            float: &artifact.float,
            quant: &artifact.quant,
            program: &artifact.program,
            blob: &artifact.blob,
            calibration: None,
        };
        let report = evaluate::run(subject, &samples, &options, &|_, _, _| ()).unwrap();
        let drop = report.metrics[0].drop.value * 100.0;
        assert!(
            drop <= case.most_drop,
            "{}: {} drops {drop} points",
            case.name,
            metric.name()
        );
        assert!(!report.layers.is_empty(), "{}", case.name);
        assert_eq!(report.diagnoses, [], "{}", case.name);
    }
}

/// Flash beyond weights and nine bytes per output channel stays under 2 kB, padding apart, in a stripped blob.
#[test]
fn blobs_are_lean() {
    for case in CASES {
        let Some(graph) = load(case.model) else { return };
        let one = open(&graph, case.calibration, case.integers).unwrap();
        let artifact = build(graph, &Spread(&one, 1));
        let stored = artifact.program.stored_bytes();
        assert!(stored.weights > 10_000 && stored.channels > 0, "{}", case.name);
        let padding = artifact.program.padding_bytes;
        let rest = artifact.blob.len() - padding - stored.weights - stored.channels;
        assert!(rest <= 2048, "{}: {rest} bytes beside the weights", case.name);
    }
}

/// In f32, the simulator gives what the reference executor gives.
#[test]
fn float_models_in_f32_are_the_reference() {
    for case in CASES {
        let Some(graph) = load(case.model) else { return };
        let samples = open(&graph, case.evaluation, case.integers).unwrap();
        let mut options = Options::default();
        options.quantize.precision = Precision::F32;
        // Reals take four times the room of the boards' int8.
        let mut target = target();
        target
            .memory
            .iter_mut()
            .for_each(|memory| memory.bytes = 64 << 20);
        let artifact = tinsmith::build(&target, graph, &NoSamples, &options, &|_, _, _| ()).unwrap();
        let mut simulator = Simulator::new(&artifact.blob).unwrap();
        let sample = samples.get(0).unwrap();
        let stored = edge::store_all(simulator.blob(), &sample).unwrap();
        let inputs: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
        let outputs = simulator.run(&inputs).unwrap();
        let found = edge::load_all(simulator.blob(), &outputs).unwrap();
        let wanted = reference::run(&artifact.float, &sample).unwrap();
        for (found, wanted) in found.iter().zip(&wanted) {
            let (found, wanted) = (found.to_f64(), wanted.to_f64());
            let most = wanted.iter().fold(0.0f64, |most, x| most.max(x.abs()));
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!(
                    (found - wanted).abs() <= 1e-6 * most,
                    "{}: {found} {wanted}",
                    case.name
                );
            }
        }
    }
}
