//! Every step that lets int8 lose less, on a model built to need it: with the step, what other samples lose is at most half
//! of what they lose without it, or seven tenths where weights alone are rounded otherwise.

use tinsmith::ir::text::parse;
use tinsmith::ir::{FloatGraph, SampleError, Samples};
use tinsmith::op::tensor::{Data, Values};
use tinsmith::quantize::{self, Calibrator, Effort, Options, Quantized, Step, Steps};

use super::meaning;

/// Samples in memory.
pub(super) struct Memory(pub(super) Vec<Values>);

impl Samples for Memory {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        Ok(vec![self.0[index].clone()])
    }
}

/// A generator of reproducible numbers between −1 and 1.
pub(super) struct Noise(pub(super) u32);

impl Noise {
    pub(super) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(super) fn take(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }
}

/// A 1×1 convolution as text: its constants, and the node.
pub(super) fn pointwise(
    name: &str,
    input: &str,
    [inputs, outputs]: [usize; 2],
    weights: &[f32],
    bias: &[f32],
    clamp: &str,
) -> String {
    format!(
        "const %{name}_w: f32[{outputs},1,1,{inputs}] = {weights:?}\n\
         const %{name}_b: f32[{outputs}] = {bias:?}\n\
         %{name} = Conv2d {{\"window\":{{\"kernel\":[1,1],\"strides\":[1,1],\"dilations\":[1,1],\"pads\":[0,0,0,0]}},\
         \"groups\":1,\"clamp\":{clamp}}} (%{input}, %{name}_w, %{name}_b)\n"
    )
}

const RELU: &str = "{\"min\":0.0}";
pub(super) const OPEN: &str = "{}";

/// A graph over `x` of 8×8 pixels.
pub(super) fn graph(channels: usize, nodes: &[String], output: &str) -> FloatGraph {
    let text = format!(
        "graph \"needy\"\ninput %x: f32[1,8,8,{channels}]\n{}output %{output}\n",
        nodes.concat()
    );
    parse(&text).unwrap()
}

/// `n` samples of 8×8 pixels.
pub(super) fn samples(
    seed: u32,
    n: usize,
    channels: usize,
    mut pixel: impl FnMut(&mut Noise) -> Vec<f32>,
) -> Memory {
    let mut noise = Noise(seed);
    let sample = |_| {
        let pixels = (0..64).flat_map(|_| pixel(&mut noise));
        Values::f32([1, 8, 8, channels], pixels.collect())
    };
    Memory((0..n).map(sample).collect())
}

/// The mean squared error of the graph's output over samples that calibration does not see.
pub(super) fn loss(graph: &FloatGraph, calibration: &Memory, others: &Memory, options: &Options) -> f64 {
    let Quantized { float, quant } =
        quantize::run(graph.clone(), calibration, options, &|_, _, _| ()).unwrap();
    let input = quant.tensors[quant.inputs[0]].params().unwrap();
    let output = quant.tensors[quant.outputs[0]].params().unwrap();
    let (mut sum, mut count) = (0.0, 0);
    for sample in &others.0 {
        let wanted = tinsmith::reference::run(graph, std::slice::from_ref(sample)).unwrap();
        let same = tinsmith::reference::run(&float, std::slice::from_ref(sample)).unwrap();
        let codes = sample.as_f32().unwrap().iter();
        let codes = codes.map(|&x| tinsmith_runtime::arith::quantize(x, input.scale, input.zero_point as i8));
        let codes = Values::new(sample.shape.clone(), Data::I8(codes.collect()));
        let got = meaning::outputs(&quant, &[codes]).remove(0);
        let (wanted, same) = (wanted[0].as_f32().unwrap(), same[0].as_f32().unwrap());
        let range = wanted.iter().fold(0.0f32, |range, x| range.max(x.abs()));
        for ((wanted, same), &got) in wanted.iter().zip(same).zip(got.as_i8().unwrap()) {
            assert!(
                (wanted - same).abs() <= 1e-4 * range,
                "in reals nothing changes: {wanted} {same}"
            );
            let got = f64::from(i32::from(got) - output.zero_point) * f64::from(output.scale);
            sum += (got - f64::from(*wanted)).powi(2);
            count += 1;
        }
    }
    sum / f64::from(count)
}

/// What the step saves: the loss without any step, and with this one.
#[track_caller]
fn check(
    step: Step,
    calibrator: Calibrator,
    graph: &FloatGraph,
    calibration: &Memory,
    others: &Memory,
    most: f64,
) {
    let options = |steps: Steps| Options {
        calibrator,
        steps,
        effort: Effort::Normal,
        ..Options::default()
    };
    let without = loss(graph, calibration, others, &options(Steps::NONE));
    let with = loss(graph, calibration, others, &options(Steps::NONE.with(step, true)));
    assert!(
        with <= most * without,
        "{}: {with:.3e} of {without:.3e}",
        step.name()
    );
}

#[test]
fn channels_of_unlike_ranges_are_equalized() {
    // Each channel reaches half as far as the one before it, and is read twice as strongly.
    let mut noise = Noise(1);
    let sizes: Vec<f32> = (0..8).map(|c| 0.5f32.powi(c)).collect();
    let first: Vec<f32> = sizes
        .iter()
        .flat_map(|size| noise.take(4).into_iter().map(move |w| w * size))
        .collect();
    let second: Vec<f32> = (0..6)
        .flat_map(|_| {
            noise
                .take(8)
                .into_iter()
                .zip(&sizes)
                .map(|(w, size)| w / size)
                .collect::<Vec<_>>()
        })
        .collect();
    let graph = graph(
        4,
        &[
            pointwise("a", "x", [4, 8], &first, &[0.0; 8], RELU),
            pointwise("b", "a", [8, 6], &second, &[0.0; 6], OPEN),
        ],
        "b",
    );
    let pixel = |noise: &mut Noise| noise.take(4);
    let (calibration, others) = (samples(2, 8, 4, pixel), samples(3, 8, 4, pixel));
    check(
        Step::EqualizeChannels,
        Calibrator::MinMax,
        &graph,
        &calibration,
        &others,
        0.5,
    );
}

#[test]
fn channels_of_a_residual_block_are_equalized_together() {
    let mut noise = Noise(11);
    let sizes: Vec<f32> = (0..8).map(|c| 0.5f32.powi(c)).collect();
    let rows = |noise: &mut Noise, inputs: usize, read: Option<&[f32]>, made: &[f32]| -> Vec<f32> {
        let mut weights = Vec::new();
        for size in made {
            for i in 0..inputs {
                weights.push(noise.next() * size / read.map_or(1.0, |read| read[i]));
            }
        }
        weights
    };
    let a = rows(&mut noise, 4, None, &sizes);
    let b = rows(&mut noise, 8, Some(&sizes), &sizes);
    let c = rows(&mut noise, 8, Some(&sizes), &[1.0; 6]);
    let add = "%sum = Binary {\"kind\":\"Add\",\"clamp\":{\"min\":0.0}} (%a, %b)\n".to_owned();
    let graph = graph(
        4,
        &[
            pointwise("a", "x", [4, 8], &a, &[0.0; 8], RELU),
            pointwise("b", "a", [8, 8], &b, &[0.0; 8], OPEN),
            add,
            pointwise("c", "sum", [8, 6], &c, &[0.0; 6], OPEN),
        ],
        "c",
    );
    let pixel = |noise: &mut Noise| noise.take(4);
    let (calibration, others) = (samples(12, 8, 4, pixel), samples(13, 8, 4, pixel));
    check(
        Step::EqualizeChannels,
        Calibrator::MinMax,
        &graph,
        &calibration,
        &others,
        0.5,
    );
}

#[test]
fn channels_beyond_all_others_are_split() {
    // Their weights are as large as the others', so that what equalization takes from their range it gives to those; and their
    // sum is small, so that the results have finer steps than they.
    let mut noise = Noise(71);
    let mut first = noise.take(4 * 64);
    let bias = noise.take(64);
    let row = noise.take(4);
    for (i, weight) in row.iter().enumerate() {
        (first[i], first[4 + i]) = (16.0 * weight, 16.0 * weight);
    }
    let mut second: Vec<f32> = noise.take(64 * 16).iter().map(|w| 0.5f32.copysign(*w)).collect();
    for row in second.chunks_mut(64) {
        row[1] = -row[0];
    }
    let graph = graph(
        4,
        &[
            pointwise("a", "x", [4, 64], &first, &bias, RELU),
            "%pool = MaxPool {\"window\":{\"kernel\":[2,2],\"strides\":[1,1],\"dilations\":[1,1],\"pads\":[0,0,0,0]},\
             \"clamp\":{}} (%a)\n"
                .to_owned(),
            pointwise("b", "pool", [64, 16], &second, &[0.0; 16], OPEN),
        ],
        "b",
    );
    let pixel = |noise: &mut Noise| noise.take(4);
    let (calibration, others) = (samples(72, 8, 4, pixel), samples(73, 8, 4, pixel));
    check(
        Step::SplitOutliers,
        Calibrator::MinMax,
        &graph,
        &calibration,
        &others,
        0.5,
    );
    let loss = |steps: Steps| {
        let options = Options {
            steps,
            ..Options::default()
        };
        loss(&graph, &calibration, &others, &options)
    };
    let equalized = Steps::NONE.with(Step::EqualizeChannels, true);
    let (without, with) = (loss(equalized), loss(equalized.with(Step::SplitOutliers, true)));
    assert!(
        with <= 0.8 * without,
        "{with:.3e} of {without:.3e} with equalization"
    );
}

#[test]
fn channels_behind_a_layer_normalization_are_smoothed() {
    // Two channels of a transformer's stream reach far beyond the others, and all that reads them.
    let mut noise = Noise(81);
    let mut scale = [1.0f32; 16];
    (scale[3], scale[11]) = (40.0, -25.0);
    let shift = noise
        .take(16)
        .iter()
        .zip(scale)
        .map(|(x, scale)| x * scale)
        .collect::<Vec<f32>>();
    let mut dense = |name: &str| {
        let weights = noise.take(16 * 8);
        let weights = weights
            .iter()
            .enumerate()
            .map(|(i, w)| w / scale[i % 16].abs())
            .collect::<Vec<f32>>();
        format!(
            "const %{name}_w: f32[8,16] = {weights:?}\nconst %{name}_b: f32[8] = {:?}\n\
             %{name} = Dense {{\"clamp\":{{}}}} (%norm, %{name}_w, %{name}_b)\n",
            noise.take(8)
        )
    };
    let nodes = [
        format!(
            "const %scale: f32[16] = {scale:?}\nconst %shift: f32[16] = {shift:?}\n\
             %norm = LayerNorm {{\"axis\":3,\"epsilon\":1e-5}} (%x, %scale, %shift)\n"
        ),
        dense("query"),
        dense("key"),
        "%sum = Binary {\"kind\":\"Add\",\"clamp\":{}} (%query, %key)\n".to_owned(),
    ];
    let graph = graph(16, &nodes, "sum");
    let pixel = |noise: &mut Noise| noise.take(16);
    let (calibration, others) = (samples(82, 8, 16, pixel), samples(83, 8, 16, pixel));
    check(
        Step::SmoothActivations,
        Calibrator::MinMax,
        &graph,
        &calibration,
        &others,
        0.25,
    );
}

#[test]
fn what_channels_never_fall_below_goes_into_biases() {
    // Channels lie around different values, far from each other and narrow.
    let mut noise = Noise(21);
    let offsets: Vec<f32> = (0..8).map(|c| 20.0 * c as f32).collect();
    let graph = graph(
        4,
        &[
            pointwise("a", "x", [4, 8], &noise.take(32), &offsets, OPEN),
            pointwise("b", "a", [8, 6], &noise.take(48), &[0.0; 6], OPEN),
        ],
        "b",
    );
    let pixel = |noise: &mut Noise| noise.take(4);
    let (calibration, others) = (samples(22, 8, 4, pixel), samples(23, 8, 4, pixel));
    check(
        Step::AbsorbBias,
        Calibrator::MinMax,
        &graph,
        &calibration,
        &others,
        0.5,
    );
}

#[test]
fn weights_are_rounded_so_that_their_errors_cancel() {
    // Inputs that nearly agree: what one weight is off by, the next can make up for.
    let mut noise = Noise(31);
    let mut weights = noise.take(64 * 4);
    weights.iter_mut().step_by(64).for_each(|w| *w = 8.0);
    let graph = graph(
        64,
        &[pointwise("a", "x", [64, 4], &weights, &[0.0; 4], OPEN)],
        "a",
    );
    let pixel = |noise: &mut Noise| {
        let common = noise.next();
        (0..64)
            .map(|_| common + 0.01 * noise.next())
            .collect::<Vec<f32>>()
    };
    let (calibration, others) = (samples(32, 8, 64, pixel), samples(33, 8, 64, pixel));
    check(
        Step::ReconstructWeights,
        Calibrator::MinMax,
        &graph,
        &calibration,
        &others,
        0.7,
    );
}

#[test]
fn biases_make_up_for_the_mean_of_errors() {
    // Inputs that are nearly constant make errors of weights an offset.
    let mut noise = Noise(41);
    let mut weights = noise.take(64 * 4);
    weights.iter_mut().step_by(64).for_each(|w| *w = 20.0);
    let graph = graph(
        64,
        &[pointwise("a", "x", [64, 4], &weights, &[-100.0; 4], OPEN)],
        "a",
    );
    let pixel = |noise: &mut Noise| (0..64).map(|_| 5.0 + 0.1 * noise.next()).collect::<Vec<f32>>();
    let (calibration, others) = (samples(42, 8, 64, pixel), samples(43, 8, 64, pixel));
    check(
        Step::CorrectBias,
        Calibrator::MinMax,
        &graph,
        &calibration,
        &others,
        0.5,
    );
}

#[test]
fn tails_that_a_function_does_not_see_are_cut() {
    // Swish of values from −40 to 4: what is far below zero comes out as zero. Each is a mean of many inputs, so that their own
    // rounding is the lesser part.
    let graph = graph(
        256,
        &[
            pointwise("a", "x", [256, 2], &[22.0 / 256.0; 512], &[-18.0; 2], OPEN),
            "%y = Unary {\"kind\":{\"Swish\":{\"alpha\":1.0}}} (%a)\n".to_owned(),
        ],
        "y",
    );
    let pixel = |noise: &mut Noise| {
        let common = noise.next();
        (0..256)
            .map(|_| common + 0.05 * noise.next())
            .collect::<Vec<f32>>()
    };
    let (calibration, others) = (samples(52, 8, 256, pixel), samples(53, 8, 256, pixel));
    check(
        Step::ClipTails,
        Calibrator::Auto,
        &graph,
        &calibration,
        &others,
        0.5,
    );
}

#[test]
fn what_is_chosen_does_not_depend_on_threads() {
    let mut noise = Noise(61);
    let graph = graph(
        4,
        &[
            pointwise("a", "x", [4, 8], &noise.take(32), &noise.take(8), RELU),
            pointwise("b", "a", [8, 6], &noise.take(48), &noise.take(6), OPEN),
        ],
        "b",
    );
    let calibration = samples(62, 11, 4, |noise| noise.take(4));
    let options = Options {
        calibrator: Calibrator::Auto,
        steps: Steps::of(Effort::Max),
        ..Options::default()
    };
    let quantize = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            quantize::run(graph.clone(), &calibration, &options, &|_, _, _| ())
                .unwrap()
                .quant
        })
    };
    let one = quantize(1);
    for threads in [2, 3] {
        assert_eq!(quantize(threads), one, "{threads} threads");
    }
}
