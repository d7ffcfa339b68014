//! The reference executor: liveness, errors, the same bits at any number of threads, and real models against the
//! outputs that ONNX Runtime gives for them.

use std::path::Path;

use rayon::prelude::*;
use tinsmith::import::{self, ImportError};
use tinsmith::ir::{FloatGraph, FloatTensor, Handle, Node};
use tinsmith::op::tensor::{DType, Data, TensorType, Values};
use tinsmith::op::vectors::Vectors;
use tinsmith::op::{Binary, BinaryKind, Clamp, Conv2d, Dense, Op, Reshape, Window};
use tinsmith::optimize;
use tinsmith::reference::{self, Executor, ReferenceError};
use tinsmith_proto::{Message, ModelProto};

/// Adds a tensor of f32.
fn tensor(
    graph: &mut FloatGraph,
    name: &str,
    shape: &[usize],
    data: Option<Vec<f32>>,
) -> Handle<FloatTensor> {
    graph.tensors.push(FloatTensor {
        name: name.into(),
        ty: TensorType::new(DType::F32, shape),
        data: data.map(|data| Values::f32(shape, data).into()),
    })
}

/// Adds a node whose output has the same shape as its first input.
fn node(
    graph: &mut FloatGraph,
    name: &str,
    op: Op,
    inputs: &[Handle<FloatTensor>],
    shape: &[usize],
) -> Handle<FloatTensor> {
    let output = tensor(graph, &format!("{name}_y"), shape, None);
    graph.nodes.push(Node {
        name: name.into(),
        op,
        inputs: inputs.to_vec(),
        outputs: vec![output],
    });
    output
}

fn binary(kind: BinaryKind) -> Op {
    Op::Binary(Binary {
        kind,
        clamp: Clamp::NONE,
    })
}

/// `y = (x·W + x) + x`, with `x·W` given out as well.
fn small_graph() -> FloatGraph {
    let mut graph = FloatGraph::new("small");
    let x = tensor(&mut graph, "x", &[1, 2], None);
    let weights = tensor(&mut graph, "w", &[2, 2], Some(vec![0.0, 1.0, 1.0, 0.0]));
    let swapped = node(
        &mut graph,
        "swap",
        Op::Dense(Dense { clamp: Clamp::NONE }),
        &[x, weights],
        &[1, 2],
    );
    let once = node(
        &mut graph,
        "once",
        binary(BinaryKind::Add),
        &[swapped, x],
        &[1, 2],
    );
    let twice = node(&mut graph, "twice", binary(BinaryKind::Add), &[once, x], &[1, 2]);
    graph.inputs = vec![x];
    graph.outputs = vec![twice, swapped];
    graph
}

#[test]
fn runs_in_order_and_keeps_what_is_read_later() {
    let graph = small_graph();
    let outputs = reference::run(&graph, &[Values::f32([1, 2], vec![1.0, 10.0])]).unwrap();
    assert_eq!(
        outputs,
        [
            Values::f32([1, 2], vec![12.0, 21.0]),
            Values::f32([1, 2], vec![10.0, 1.0])
        ]
    );
}

#[test]
fn observers_see_inputs_and_every_result() {
    let graph = small_graph();
    let mut seen = Vec::new();
    let inputs = [Values::f32([1, 2], vec![1.0, 10.0])];
    reference::observe(&graph, &inputs, &mut |tensor, values| {
        seen.push((
            graph.tensors[tensor].name.clone(),
            values.as_f32().unwrap().to_vec(),
        ));
    })
    .unwrap();
    let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x", "swap_y", "once_y", "twice_y"]);
    assert_eq!(seen[2].1, [11.0, 11.0]);
}

#[test]
fn inputs_must_be_the_graphs() {
    let graph = small_graph();
    let error = reference::run(&graph, &[]).unwrap_err();
    assert_eq!(error, ReferenceError::InputCount { wanted: 1, found: 0 });
    let error = reference::run(&graph, &[Values::f32([2], vec![0.0; 2])]).unwrap_err();
    assert_eq!(error.to_string(), "input `x`: f32[1,2] wanted, f32[2] found");
    let error = reference::run(&graph, &[Values::new([1, 2], Data::I8(vec![0; 2]))]).unwrap_err();
    assert_eq!(error.to_string(), "input `x`: f32[1,2] wanted, i8[1,2] found");
}

#[test]
fn a_node_that_cannot_act_is_named() {
    let mut graph = small_graph();
    let x = graph.inputs[0];
    node(
        &mut graph,
        "bad",
        Op::Reshape(Reshape { shape: vec![3] }),
        &[x],
        &[3],
    );
    let error = reference::run(&graph, &[Values::f32([1, 2], vec![0.0; 2])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Reshape `bad`: as many elements as f32[1,2] has wanted, f32[3] found"
    );
}

#[test]
fn a_graph_that_contradicts_itself_is_refused() {
    let inputs = [Values::f32([1, 2], vec![0.0; 2])];
    let mut graph = small_graph();
    graph.nodes.swap(0, 1);
    let error = reference::run(&graph, &inputs).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node `once` reads `swap_y`, which nothing before it gives"
    );
    let mut graph = small_graph();
    let output = graph.outputs[0];
    graph.tensors[output].ty.shape = vec![2, 1];
    let error = reference::run(&graph, &inputs).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node `twice` gives f32[1,2] where the graph has f32[2,1]"
    );
}

/// The first array of a folder whose name starts like this.
fn array(folder: &Path, prefix: &str) -> Option<Values> {
    let path = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix))?;
    let npy = npyz::NpyFile::new(std::io::BufReader::new(std::fs::File::open(path).unwrap())).unwrap();
    let shape: Vec<usize> = npy.shape().iter().map(|&extent| extent as usize).collect();
    Some(Values::f32(shape, npy.into_vec::<f32>().unwrap()))
}

fn arrays(folder: &Path, kind: &str) -> Vec<Values> {
    (0..)
        .map_while(|i| array(folder, &format!("{kind}{i}_")))
        .collect()
}

/// The largest difference, relative to the range of what was wanted.
fn relative_error(found: &Values, wanted: &Values) -> f64 {
    assert_eq!(found.ty(), wanted.ty());
    let (found, wanted) = (found.to_f64(), wanted.to_f64());
    let (min, max) = wanted
        .iter()
        .fold((f64::MAX, f64::MIN), |(min, max), &x| (min.min(x), max.max(x)));
    let largest = found
        .iter()
        .zip(&wanted)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(found.iter().all(|x| x.is_finite()));
    // A single number has no range of its own: its size stands for it.
    let range = if wanted.len() == 1 { max.abs() } else { max - min };
    largest / range
}

/// The models that must import; the others of the folder are run where they do.
const WHOLE: [&str; 5] = [
    "ad_autoencoder",
    "ic_resnet8",
    "kws_ds_cnn",
    "sww_ds_cnn1d",
    "vww_mobilenet_v1_025_96",
];

#[test]
fn real_models_give_the_outputs_of_onnx_runtime() {
    let Some(models) = crate::shared::path("models") else {
        return;
    };
    let mut names: Vec<String> = std::fs::read_dir(models.join("io"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names {
        let bytes = std::fs::read(models.join(format!("{name}.onnx"))).unwrap();
        let folder = models.join("io").join(&name);
        let inputs = arrays(&folder, "in");
        // Sizes that the model leaves open are those of the stored input.
        let shapes = inputs.iter().map(|x| x.shape.clone());
        let options = import::Options {
            shapes: input_names(&bytes).into_iter().zip(shapes).collect(),
            ..import::Options::default()
        };
        let graph = match import::onnx(&bytes, &options) {
            Ok(graph) => graph,
            Err(ImportError::Problems(problems)) if !WHOLE.contains(&name.as_str()) => {
                eprintln!(
                    "{name}: not imported, {} problems, such as {}",
                    problems.len(),
                    problems[0]
                );
                continue;
            }
            Err(error) => panic!("{name}: {error}"),
        };
        let wanted = arrays(&folder, "out");
        let optimized = optimize::run(graph.clone(), &optimize::Options::default()).unwrap();
        for (stage, graph) in [("imported", &graph), ("optimized", &optimized)] {
            let found = reference::run(graph, &inputs).unwrap();
            assert_eq!(found.len(), wanted.len());
            for (found, wanted) in found.iter().zip(&wanted) {
                let error = relative_error(found, wanted);
                assert!(error <= 1e-4, "{name}, {stage}: {error:e} of the range");
            }
        }
    }
}

/// The names of a model's inputs, without the constants that old models list among them.
fn input_names(model: &[u8]) -> Vec<String> {
    let graph = ModelProto::decode(model).unwrap().graph.unwrap();
    let is_constant = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    let names = graph.input.iter().map(|info| info.name.clone());
    names.filter(|name| !is_constant(name)).collect()
}

/// A convolution with padding, a depthwise one and a dense layer.
fn layered_graph() -> FloatGraph {
    let mut graph = FloatGraph::new("layered");
    let numbers = |len: usize| Some((0..len).map(|i| (i * 37 % 101) as f32 / 71.0 - 0.7).collect());
    let conv = |groups| {
        Op::Conv2d(Conv2d {
            window: Window {
                kernel: [3, 3],
                strides: [1, 1],
                dilations: [1, 1],
                pads: [1; 4],
            },
            groups,
            clamp: Clamp::RELU,
        })
    };
    let x = tensor(&mut graph, "x", &[1, 9, 9, 3], None);
    let weights = tensor(&mut graph, "w1", &[13, 3, 3, 3], numbers(13 * 27));
    let y = node(&mut graph, "conv", conv(1), &[x, weights], &[1, 9, 9, 13]);
    let weights = tensor(&mut graph, "w2", &[13, 3, 3, 1], numbers(13 * 9));
    let y = node(&mut graph, "depthwise", conv(13), &[y, weights], &[1, 9, 9, 13]);
    let weights = tensor(&mut graph, "w3", &[5, 13], numbers(65));
    let dense = Op::Dense(Dense { clamp: Clamp::NONE });
    let y = node(&mut graph, "dense", dense, &[y, weights], &[1, 9, 9, 5]);
    graph.inputs = vec![x];
    graph.outputs = vec![y];
    graph
}

#[test]
fn packing_once_gives_the_bits_of_packing_every_time() {
    let graph = layered_graph();
    let x = Values::f32([1, 9, 9, 3], (0..243).map(|i| (i % 29) as f32 / 13.0).collect());
    let mut values = x.clone();
    for node in &graph.nodes {
        let weights = graph.tensors[node.inputs[1]].data.clone().unwrap();
        values = node.op.eval(&[&values, weights.as_ref()]).unwrap().remove(0);
    }
    assert_eq!(reference::run(&graph, &[x]).unwrap(), [values]);
}

#[test]
fn the_bits_do_not_depend_on_threads() {
    let graph = layered_graph();
    let executor = Executor::new(&graph).unwrap();
    let sample = |i: usize| (0..243).map(|k| (i * k % 89) as f32 / 7.0).collect();
    let samples: Vec<Values> = (0..64).map(|i| Values::f32([1, 9, 9, 3], sample(i))).collect();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| -> Vec<Vec<Values>> {
            samples
                .par_iter()
                .map(|x| executor.run(std::slice::from_ref(x)).unwrap())
                .collect()
        })
    };
    assert_eq!(run(1), run(2));
}

/// Every set of vector instructions that this host has gives the bits of the plainest: products of any size, grouped
/// and depthwise convolutions, columns and channels that fill no vector, biases, limits, a NaN.
#[test]
fn the_bits_do_not_depend_on_the_vectors() {
    let sets: Vec<Vectors> = Vectors::ALL
        .into_iter()
        .filter(|set| set.is_available())
        .collect();
    assert_eq!(sets[0], Vectors::Baseline);
    let clamp = Clamp {
        min: Some(-40.0),
        max: Some(300.0),
    };
    for [channels, out_channels, groups, stride] in [
        [3, 70, 1, 2],
        [8, 17, 1, 1],
        [6, 30, 3, 1],
        [99, 99, 99, 1],
        [16, 16, 16, 2],
        [5, 5, 5, 1],
    ] {
        let mut graph = FloatGraph::new("convolution");
        let x = tensor(&mut graph, "x", &[1, 9, 7, channels], None);
        let shape = [out_channels, 3, 3, channels / groups];
        let len: usize = shape.iter().product();
        let weights = (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect();
        let weights = tensor(&mut graph, "w", &shape, Some(weights));
        let window = Window {
            kernel: [3, 3],
            strides: [stride, stride],
            dilations: [1, 1],
            pads: [1, 1, 1, 1],
        };
        let conv = Op::Conv2d(Conv2d {
            window,
            groups,
            clamp,
        });
        let bias = (0..out_channels).map(|i| i as f32 / 3.0 - 2.0).collect();
        let bias = tensor(&mut graph, "b", &[out_channels], Some(bias));
        let [h, w] = [9_usize.div_ceil(stride), 7_usize.div_ceil(stride)];
        let y = node(
            &mut graph,
            "conv",
            conv,
            &[x, weights, bias],
            &[1, h, w, out_channels],
        );
        let columns = [w * out_channels, 45];
        let dense_weights = (0..columns[0] * columns[1]).map(|i| ((i * 53 % 89) as f32 - 44.0) / 9.0);
        let dense_weights = tensor(
            &mut graph,
            "d",
            &[columns[1], columns[0]],
            Some(dense_weights.collect()),
        );
        let shape = vec![h, columns[0]];
        let rows = node(
            &mut graph,
            "rows",
            Op::Reshape(Reshape { shape }),
            &[y],
            &[h, columns[0]],
        );
        let dense = Op::Dense(Dense { clamp });
        let z = node(
            &mut graph,
            "dense",
            dense,
            &[rows, dense_weights],
            &[h, columns[1]],
        );
        graph.inputs = vec![x];
        graph.outputs = vec![y, z];
        let mut input: Vec<f32> = (0..63 * channels)
            .map(|i| ((i * 29 % 97) as f32 - 48.0) / 11.0)
            .collect();
        input[channels] = f32::NAN;
        let input = Values::f32([1, 9, 7, channels], input);
        let run = |set: &Vectors| set.only(|| reference::run(&graph, std::slice::from_ref(&input)).unwrap());
        let plainest = run(&sets[0]);
        for set in &sets {
            let found = run(set);
            for (found, wanted) in found.iter().zip(&plainest) {
                let bits = |values: &Values| {
                    values
                        .as_f32()
                        .unwrap()
                        .iter()
                        .map(|x| x.to_bits())
                        .collect::<Vec<_>>()
                };
                assert_eq!(bits(found), bits(wanted), "{set:?}, {channels} channels");
            }
        }
    }
}
