//! Calibration on small graphs: parameters, determinism, and what is refused.

use std::sync::Arc;

use tinsmith::ir::{FloatGraph, FloatTensor, Handle, NoSamples, Node, QuantGraph, SampleError, Samples};
use tinsmith::op::quant::{QuantParams, Quantization};
use tinsmith::op::tensor::{DType, Data, TensorType, Values};
use tinsmith::op::{Binary, BinaryKind, Clamp, Concat, Conv2d, Dense, Op, Softmax, Unary, UnaryKind, Window};
use tinsmith::quantize::{self, Calibrator, Options, QuantizeError};

use super::meaning;

/// Builds small float graphs.
struct Builder(FloatGraph);

impl Builder {
    fn new() -> Self {
        Self(FloatGraph::new("small"))
    }

    fn tensor(&mut self, name: &str, shape: &[usize], data: Option<Vec<f32>>) -> Handle<FloatTensor> {
        self.0.tensors.push(FloatTensor {
            name: name.into(),
            ty: TensorType::new(DType::F32, shape),
            data: data.map(|data| Arc::new(Values::f32(shape, data))),
        })
    }

    fn input(&mut self, name: &str, shape: &[usize]) -> Handle<FloatTensor> {
        let input = self.tensor(name, shape, None);
        self.0.inputs.push(input);
        input
    }

    fn node(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[Handle<FloatTensor>],
        shape: &[usize],
    ) -> Handle<FloatTensor> {
        let output = self.tensor(&format!("{name}_out"), shape, None);
        self.0.nodes.push(Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
            outputs: vec![output],
        });
        output
    }

    fn finish(mut self, outputs: &[Handle<FloatTensor>]) -> FloatGraph {
        self.0.outputs = outputs.to_vec();
        self.0
    }
}

fn binary(kind: BinaryKind) -> Op {
    Op::Binary(Binary {
        kind,
        clamp: Clamp::NONE,
    })
}

/// Samples in memory.
struct Memory(Vec<Vec<Values>>);

impl Samples for Memory {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        Ok(self.0[index].clone())
    }
}

/// `n` samples of one input with seeded values between -1 and 1.
fn noise(n: usize, shape: &[usize]) -> Memory {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let len = shape.iter().product::<usize>();
    let sample = |_| vec![Values::f32(shape, (0..len).map(|_| next()).collect())];
    Memory((0..n).map(sample).collect())
}

fn quantize(
    graph: &FloatGraph,
    samples: &dyn Samples,
    calibrator: Calibrator,
) -> Result<QuantGraph, QuantizeError> {
    let options = Options {
        calibrator,
        ..Options::default()
    };
    quantize::run(graph.clone(), samples, &options, &|_, _, _| ()).map(|quantized| quantized.quant)
}

fn params(graph: &QuantGraph, name: &str) -> QuantParams {
    let found = graph.tensors.iter().find(|(_, tensor)| tensor.name == name);
    found.unwrap().1.params().unwrap()
}

/// A convolution, an activation and a softmax behind a dense layer.
fn classifier() -> FloatGraph {
    let mut b = Builder::new();
    let x = b.input("x", &[1, 4, 4, 2]);
    let weights = (0..3 * 9 * 2)
        .map(|i| ((i * 7) % 13) as f32 / 13.0 - 0.5)
        .collect();
    let weights = b.tensor("w", &[3, 3, 3, 2], Some(weights));
    let bias = b.tensor("b", &[3], Some(vec![0.1, -0.2, 0.3]));
    let conv = Op::Conv2d(Conv2d {
        window: Window {
            kernel: [3, 3],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [1, 1, 1, 1],
        },
        groups: 1,
        clamp: Clamp::RELU,
    });
    let y = b.node("conv", conv, &[x, weights, bias], &[1, 4, 4, 3]);
    let flat = Op::Reshape(tinsmith::op::Reshape { shape: vec![1, 48] });
    let y = b.node("flat", flat, &[y], &[1, 48]);
    let weights = (0..4 * 48).map(|i| ((i * 5) % 17) as f32 / 17.0 - 0.5).collect();
    let weights = b.tensor("dense_w", &[4, 48], Some(weights));
    let y = b.node(
        "dense",
        Op::Dense(Dense { clamp: Clamp::NONE }),
        &[y, weights],
        &[1, 4],
    );
    let y = b.node("softmax", Op::Softmax(Softmax::along(1)), &[y], &[1, 4]);
    b.finish(&[y])
}

#[test]
fn a_classifier_keeps_its_results() {
    let graph = classifier();
    let samples = noise(32, &[1, 4, 4, 2]);
    for calibrator in [
        Calibrator::MinMax,
        Calibrator::Percentile(99.9),
        Calibrator::MeanSquaredError,
    ] {
        let quant = quantize(&graph, &samples, calibrator).unwrap();
        assert_eq!(params(&quant, "flat_out"), params(&quant, "conv_out"));
        assert_eq!(
            params(&quant, "conv_out").zero_point,
            -128,
            "behind ReLU zero is the least code"
        );
        let softmax = QuantParams {
            scale: 1.0 / 256.0,
            zero_point: -128,
        };
        assert_eq!(params(&quant, "softmax_out"), softmax);
        let input = params(&quant, "x");
        for sample in &samples.0[..8] {
            let wanted = tinsmith::reference::run(&graph, sample).unwrap();
            let reals = sample[0].as_f32().unwrap();
            let codes = reals
                .iter()
                .map(|&x| tinsmith_runtime::arith::quantize(x, input.scale, input.zero_point as i8));
            let codes = Values::new([1, 4, 4, 2], Data::I8(codes.collect()));
            let got = meaning::outputs(&quant, &[codes]);
            for (wanted, &got) in wanted[0].as_f32().unwrap().iter().zip(got[0].as_i8().unwrap()) {
                // Four steps of 1/256: the noise of int8 through two layers of some fifty products each.
                let got = (f32::from(got) + 128.0) / 256.0;
                assert!(
                    (wanted - got).abs() < 4.0 / 256.0,
                    "{calibrator:?}: {wanted} {got}"
                );
            }
        }
    }
}

#[test]
fn ranges_hold_zero_and_span_255_steps() {
    let mut b = Builder::new();
    let x = b.input("x", &[4]);
    let y = b.node(
        "act",
        Op::Unary(Unary {
            kind: UnaryKind::Tanh,
        }),
        &[x],
        &[4],
    );
    let graph = b.finish(&[y]);
    let sample = |values: [f32; 4]| Memory(vec![vec![Values::f32([4], values.to_vec())]]);
    let quant = quantize(&graph, &sample([1.0, 2.0, 3.0, 5.1]), Calibrator::MinMax).unwrap();
    assert_eq!(
        params(&quant, "x"),
        QuantParams {
            scale: (f64::from(5.1f32) / 255.0) as f32,
            zero_point: -128
        }
    );
    let quant = quantize(&graph, &sample([0.0, 0.0, 255.0, 12.0]), Calibrator::MinMax).unwrap();
    assert_eq!(
        params(&quant, "x"),
        QuantParams {
            scale: 1.0,
            zero_point: -128
        }
    );
    let quant = quantize(&graph, &sample([-2.55, 0.0, -1.0, -0.5]), Calibrator::MinMax).unwrap();
    assert_eq!(params(&quant, "x").zero_point, 127);
    // Nothing but zeros.
    let quant = quantize(&graph, &sample([0.0; 4]), Calibrator::MeanSquaredError).unwrap();
    assert!(params(&quant, "x").scale > 0.0);
    assert_eq!(
        params(&quant, "act_out"),
        QuantParams {
            scale: 1.0 / 128.0,
            zero_point: 0
        }
    );
}

#[test]
fn one_thread_and_two_quantize_alike() {
    let graph = classifier();
    let samples = noise(150, &[1, 4, 4, 2]);
    for calibrator in [
        Calibrator::MinMax,
        Calibrator::Percentile(99.0),
        Calibrator::MeanSquaredError,
    ] {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| quantize(&graph, &samples, calibrator).unwrap())
        };
        assert_eq!(on(1), on(2));
    }
}

#[test]
fn what_joins_takes_one_scale_and_single_numbers_stay_exact() {
    let mut b = Builder::new();
    let x = b.input("x", &[1, 4]);
    let three = b.tensor("three", &[1], Some(vec![3.0]));
    let table = b.tensor("offsets", &[4], Some(vec![0.0, 0.5, -1.0, 0.25]));
    let wide = b.node("wide", binary(BinaryKind::Mul), &[x, three], &[1, 4]);
    let narrow = b.node("narrow", binary(BinaryKind::Add), &[x, table], &[1, 4]);
    let joined = b.node("join", Op::Concat(Concat { axis: 1 }), &[wide, narrow], &[1, 8]);
    let graph = b.finish(&[joined]);
    let quant = quantize(&graph, &noise(8, &[1, 4]), Calibrator::MinMax).unwrap();
    assert_eq!(params(&quant, "wide_out"), params(&quant, "join_out"));
    assert_eq!(params(&quant, "narrow_out"), params(&quant, "join_out"));
    let by_name = |name: &str| {
        quant
            .tensors
            .iter()
            .find(|(_, tensor)| tensor.name == name)
            .unwrap()
            .1
    };
    assert_eq!(by_name("three").quantization, Quantization::Plain);
    assert_eq!(by_name("offsets").ty.dtype, DType::I8);
    assert_eq!(by_name("x").model_dtype, DType::F32);
}

#[test]
fn bad_samples_are_named() {
    let graph = classifier();
    let refused = |samples: &dyn Samples| quantize(&graph, samples, Calibrator::MinMax).unwrap_err();
    assert_eq!(refused(&NoSamples), QuantizeError::NoSamples);
    let mut samples = noise(70, &[1, 4, 4, 2]);
    let mut values = samples.0[66][0].as_f32().unwrap().to_vec();
    values[3] = f32::NAN;
    samples.0[66] = vec![Values::f32([1, 4, 4, 2], values)];
    let error = refused(&samples);
    assert!(
        matches!(&error, QuantizeError::NotFinite { sample: 66, tensor, .. } if tensor == "x"),
        "{error}"
    );
    assert!(matches!(
        refused(&noise(1, &[1, 4])),
        QuantizeError::SampleType { sample: 0, .. }
    ));
    assert!(matches!(
        refused(&Memory(vec![vec![]])),
        QuantizeError::SampleInputs { found: 0, .. }
    ));
    let error = quantize(&graph, &samples, Calibrator::Percentile(0.0)).unwrap_err();
    assert_eq!(error, QuantizeError::Percentile(0.0));
}

#[test]
fn every_unfit_node_is_listed() {
    let mut b = Builder::new();
    let x = b.input("x", &[1, 4]);
    let weights = b.input("computed", &[2, 4]);
    let _y = b.node(
        "layer",
        Op::Dense(Dense { clamp: Clamp::NONE }),
        &[x, weights],
        &[1, 2],
    );
    let infinite = b.tensor("infinite", &[2], Some(vec![1.0, f32::INFINITY]));
    let y = b.node("sum", Op::Concat(Concat { axis: 0 }), &[infinite], &[2]);
    let z = b.node(
        "late",
        Op::Dense(Dense { clamp: Clamp::NONE }),
        &[x, weights],
        &[1, 2],
    );
    let graph = b.finish(&[y, z]);
    let samples = Memory(vec![vec![
        Values::f32([1, 4], vec![1.0; 4]),
        Values::f32([2, 4], vec![1.0; 8]),
    ]]);
    let Err(QuantizeError::NotFinite { tensor, .. }) = quantize(&graph, &samples, Calibrator::MinMax) else {
        panic!("an infinite constant reaches a tensor");
    };
    assert_eq!(tensor, "sum_out");
    let mut graph = graph;
    graph.nodes.remove(1);
    graph.outputs.remove(0);
    let Err(QuantizeError::Problems(problems)) = quantize(&graph, &samples, Calibrator::MinMax) else {
        panic!("weights are computed");
    };
    let nodes: Vec<&str> = problems.iter().map(|problem| problem.node.as_str()).collect();
    assert_eq!(nodes, ["layer", "late"]);
}
