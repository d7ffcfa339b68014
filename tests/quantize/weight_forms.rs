//! Weights in every form: exact through blob and simulator, worth their bytes, and taken again from ONNX as they are.

use tinsmith::ir::{FloatGraph, NoSamples};
use tinsmith::op::quant::Quantization;
use tinsmith::op::tensor::{DType, Narrow};
use tinsmith::op::{Clamp, Conv2d, Dense, Op, Window};
use tinsmith::quantize::{self, Calibrator, Options, Step, Steps, WeightForm};
use tinsmith::schedule;
use tinsmith::target::Target;

use super::case::Case;
use super::steps::{Memory, Noise, OPEN, graph, loss, pointwise, samples};

fn dense() -> Op {
    Op::Dense(Dense { clamp: Clamp::RELU })
}

fn pointwise_op(strides: [usize; 2]) -> Op {
    Op::Conv2d(Conv2d {
        window: Window {
            kernel: [1, 1],
            strides,
            dilations: [1, 1],
            pads: [0; 4],
        },
        groups: 1,
        clamp: Clamp::NONE,
    })
}

/// One layer over `shape` with int4 weights.
fn check(seed: u32, op: Op, shape: &[usize], weights: &[usize], block: Option<usize>, with_bias: bool) {
    let mut case = Case::new(seed);
    let (from, to) = (case.random.params(), case.random.params());
    let x = case.input("x", shape, from);
    let mut inputs = vec![x, case.int4_weights(weights, block)];
    if with_bias {
        inputs.push(case.bias(weights[0]));
    }
    case.node(op, &inputs, to);
    case.check();
}

#[test]
fn int4_layers_are_exact() {
    let mut seed = 0;
    for block in [None, Some(16), Some(32), Some(64)] {
        for (features, out) in [(1, 1), (17, 3), (32, 4), (33, 5), (64, 9), (100, 6)] {
            seed += 1;
            check(
                seed,
                dense(),
                &[3, features],
                &[out, features],
                block,
                seed % 2 == 0,
            );
            let weights = [out, 1, 1, features];
            check(
                seed,
                pointwise_op([1, 1]),
                &[2, 3, 2, features],
                &weights,
                block,
                true,
            );
            check(
                seed,
                pointwise_op([2, 3]),
                &[2, 5, 4, features],
                &weights,
                block,
                false,
            );
        }
    }
}

#[test]
fn int4_weights_of_larger_kernels_are_refused_by_name() {
    let mut case = Case::new(1);
    let params = case.random.params();
    let x = case.input("x", &[1, 4, 4, 16], params);
    let weights = case.int4_weights(&[4, 3, 3, 16], None);
    let mut op = pointwise_op([1, 1]);
    if let Op::Conv2d(conv) = &mut op {
        conv.window.kernel = [3, 3];
    }
    case.node(op, &[x, weights], params);
    let target = Target::builtin("cortex-a").unwrap();
    let error = schedule::run(&target, &case.graph, &schedule::Options::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`node`") && text.contains("1×1"), "{text}");
}

/// A layer whose inputs go along with each other, as those of real networks do.
fn correlated() -> (FloatGraph, Memory, Memory) {
    let mut noise = Noise(61);
    // Blocks of 32 inputs that reach differently far.
    let weights: Vec<f32> = (0..8 * 128)
        .map(|i| noise.next() * [1.5, 0.8, 0.2, 0.3][i % 128 / 32])
        .collect();
    let graph = graph(
        128,
        &[pointwise("a", "x", [128, 8], &weights, &[0.5; 8], OPEN)],
        "a",
    );
    let pixel = |noise: &mut Noise| {
        let common = noise.take(4);
        (0..128)
            .map(|i| common[i % 4] + 0.3 * noise.next())
            .collect::<Vec<f32>>()
    };
    (graph, samples(62, 8, 128, pixel), samples(63, 8, 128, pixel))
}

fn options(weights: WeightForm, steps: Steps) -> Options {
    Options {
        calibrator: Calibrator::MinMax,
        weights,
        steps,
        ..Options::default()
    }
}

#[test]
fn blocks_lose_less_than_channels_and_mending_less_than_rounding() {
    let (graph, calibration, others) = correlated();
    let loss = |form, steps| loss(&graph, &calibration, &others, &options(form, steps));
    let [int8, tensor, int4, block64, block32] = [
        WeightForm::Int8,
        WeightForm::Int8PerTensor,
        WeightForm::Int4,
        WeightForm::Int4Block64,
        WeightForm::Int4Block32,
    ]
    .map(|form| loss(form, Steps::NONE));
    assert!(int8 <= 1.05 * tensor, "{int8:.3e} {tensor:.3e}");
    assert!(10.0 * tensor < block32, "{tensor:.3e} {block32:.3e}");
    assert!(block32 < 0.9 * block64, "{block32:.3e} {block64:.3e}");
    assert!(block64 < 0.9 * int4, "{block64:.3e} {int4:.3e}");
    for (form, rounded) in [
        (WeightForm::Int4, int4),
        (WeightForm::Int4Block64, block64),
        (WeightForm::Int4Block32, block32),
    ] {
        let mended = loss(form, Steps::NONE.with(Step::ReconstructWeights, true));
        assert!(
            mended < 0.5 * rounded,
            "{}: {mended:.3e} of {rounded:.3e}",
            form.name()
        );
    }
    let mended = loss(
        WeightForm::Int8PerTensor,
        Steps::NONE
            .with(Step::CorrectBias, true)
            .with(Step::ReconstructWeights, true),
    );
    assert!(mended <= tensor, "{mended:.3e} {tensor:.3e}");
}

#[test]
fn layers_that_cannot_take_a_form_stay_int8_and_are_named() {
    let text = "graph \"mixed\"\ninput %x: f32[1,6,6,4]\n\
        const %k: f32[4,3,3,4] = WEIGHTS\n\
        const %w: f32[40,1,1,4] = MORE\n\
        %wide = Conv2d {\"window\":{\"kernel\":[3,3],\"strides\":[1,1],\"dilations\":[1,1],\"pads\":[0,0,0,0]},\
        \"groups\":1,\"clamp\":{}} (%x, %k)\n\
        %y = Conv2d {\"window\":{\"kernel\":[1,1],\"strides\":[1,1],\"dilations\":[1,1],\"pads\":[0,0,0,0]},\
        \"groups\":1,\"clamp\":{}} (%wide, %w)\noutput %y\n";
    let mut noise = Noise(71);
    let text = text
        .replace("WEIGHTS", &format!("{:?}", noise.take(4 * 9 * 4)))
        .replace("MORE", &format!("{:?}", noise.take(160)));
    let graph = tinsmith::ir::text::parse(&text).unwrap();
    let sample = tinsmith::op::tensor::Values::f32([1, 6, 6, 4], noise.take(144));
    let samples = Memory(vec![sample]);
    let quant = quantize::run(
        graph,
        &samples,
        &options(WeightForm::Int4Block32, Steps::NONE),
        &|_, _, _| (),
    )
    .unwrap()
    .quant;
    let dtypes: Vec<DType> = quant
        .nodes
        .iter()
        .map(|node| quant.tensors[node.inputs[1]].ty.dtype)
        .collect();
    assert_eq!(dtypes, [DType::I8, DType::Narrow(Narrow::I4)]);
    let note = quant
        .notes
        .iter()
        .find(|note| note.contains("int4-block32"))
        .unwrap();
    assert!(
        note.contains("1 of 2 layers stay int8") && note.contains("`wide`"),
        "{note}"
    );
}

#[test]
fn int4_weights_written_as_onnx_are_int4_when_read_again() {
    let (graph, calibration, _) = correlated();
    for form in [WeightForm::Int4, WeightForm::Int4Block64, WeightForm::Int4Block32] {
        let quant = quantize::run(
            graph.clone(),
            &calibration,
            &options(form, Steps::NONE),
            &|_, _, _| (),
        )
        .unwrap()
        .quant;
        let written = tinsmith::emit::onnx(&quant, "").unwrap();
        let again = tinsmith::load(&written, &tinsmith::Options::default()).unwrap();
        let again = quantize::run(again, &NoSamples, &Options::default(), &|_, _, _| ())
            .unwrap()
            .quant;
        let weights = |quant: &tinsmith::ir::QuantGraph| {
            let tensor = &quant.tensors[quant.nodes[0].inputs[1]];
            (tensor.data.clone(), tensor.quantization.clone())
        };
        let (wanted, found) = (weights(&quant), weights(&again));
        assert_eq!(found.0, wanted.0, "{}", form.name());
        if let Quantization::PerBlock { block, .. } = wanted.1 {
            assert_eq!(Some(block), form.block());
        }
        assert_eq!(found.1, wanted.1, "{}", form.name());
    }
}
