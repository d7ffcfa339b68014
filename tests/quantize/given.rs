//! Models that come quantized, in all the forms that tools write: their bytes on the simulator against whole numbers.
//! Scales are whole parts of 2^30 with 24 digits of their own, as floats have: sums of their products are whole numbers.

mod operators;

use tinsmith::Options;
use tinsmith::ir::{NoSamples, SampleError, Samples};
use tinsmith::op::tensor::{DType, Data, Narrow, Values};
use tinsmith::quantize::Precision;
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith_proto::tensor_proto::DataType;

use super::case::Random;
use crate::import::onnx::{Onnx, data_type, float, int, ints};

/// The parts of one that scales count.
const PARTS: i128 = 1 << 30;

/// A quotient, rounded to even.
fn rounded(numerator: i128, denominator: i128) -> i64 {
    let (floor, rest) = (
        numerator.div_euclid(denominator),
        numerator.rem_euclid(denominator),
    );
    let up = 2 * rest > denominator || (2 * rest == denominator && floor & 1 == 1);
    (floor + i128::from(up)) as i64
}

fn product(factors: [i64; 3]) -> i128 {
    factors.into_iter().map(i128::from).product()
}

/// Scale, zero point and type of codes.
#[derive(Clone, Copy)]
struct Grid {
    /// In parts.
    scale: i64,
    zero: i64,
    dtype: DType,
}

impl Grid {
    const fn new(scale: i64, zero: i64, dtype: DType) -> Self {
        Self { scale, zero, dtype }
    }

    /// The code of `numerator / PARTS^power`.
    fn code(self, numerator: i128, power: u32) -> i64 {
        let code = rounded(numerator, i128::from(self.scale) * PARTS.pow(power - 1)) + self.zero;
        let most = if self.is_wide() { 65535 } else { 255 };
        code.clamp(self.low(), self.low() + most)
    }

    fn is_wide(self) -> bool {
        matches!(self.dtype, DType::I16 | DType::U16)
    }

    /// The least code.
    fn low(self) -> i64 {
        match self.dtype {
            DType::I8 => -128,
            DType::I16 => -32768,
            _ => 0,
        }
    }

    /// The code of a number from 0 to 255, spread over all codes.
    fn spread(self, number: i64) -> i64 {
        self.low() + number * if self.is_wide() { 257 } else { 1 }
    }

    /// Scale and zero point, as constants of these names.
    fn constants(self, model: Onnx, name: &str) -> Onnx {
        let zero = Values::new([], Data::I64(vec![self.zero]).cast(self.dtype));
        model
            .constant(&format!("{name}_scale"), &reals([], &[self.scale]))
            .constant(&format!("{name}_zero"), &zero)
    }
}

/// Parts as reals.
fn reals(shape: impl Into<Vec<usize>>, parts: &[i64]) -> Values {
    Values::f32(
        shape,
        parts.iter().map(|&part| part as f32 / PARTS as f32).collect(),
    )
}

fn integers(shape: &[usize], elements: &[i64], dtype: DType) -> Values {
    Values::new(shape, Data::I64(elements.to_vec()).cast(dtype))
}

/// Compiles and runs; the problem's text where that fails.
fn run(model: &Onnx, inputs: &[Values], precision: Precision) -> Result<Vec<Values>, String> {
    let target = Target::builtin("cortex-a").unwrap();
    let mut options = Options::default();
    options.quantize.precision = precision;
    let artifact = tinsmith::compile(&target, &model.bytes(), &NoSamples, &options, &|_, _, _| ())
        .map_err(|error| error.to_string())?;
    let mut simulator = Simulator::new(&artifact.blob).unwrap();
    let stored = edge::store_all(simulator.blob(), inputs).unwrap();
    let outputs = simulator.run(&stored.iter().map(Vec::as_slice).collect::<Vec<_>>());
    Ok(edge::load_all(simulator.blob(), &outputs.unwrap()).unwrap())
}

/// A layer's numbers: `x [1, 3, 5, 4]`, `weights [4, 3, 3, 3]`, padded by one.
struct Layer {
    x: Vec<i64>,
    weights: Vec<i64>,
    scales: Vec<i64>,
    bias: Vec<i64>,
}

const X: [usize; 4] = [1, 3, 5, 4];
const W: [usize; 4] = [4, 3, 3, 3];
const Y: [usize; 4] = [1, 4, 5, 4];

impl Layer {
    /// Weights between two codes; one scale for all channels, or one each.
    fn new(seed: u32, [low, high]: [i64; 2], one_scale: bool) -> Self {
        let mut case = super::case::Case::new(seed);
        let random: &mut Random = &mut case.random;
        let mut draw = |low: i64, high: i64| low + i64::from(random.next()) % (high - low + 1);
        let x = (0..60).map(|_| draw(0, 255)).collect();
        let weights = (0..108).map(|_| draw(low, high)).collect();
        let mut scales: Vec<i64> = (0..4).map(|_| draw(1 << 23, (1 << 24) - 1)).collect();
        if one_scale {
            scales = vec![scales[0]; 4];
        }
        let bias = (0..4).map(|_| draw(-900, 900)).collect();
        Self {
            x,
            weights,
            scales,
            bias,
        }
    }

    /// The output's codes.
    fn outputs(&self, x_grid: Grid, y_grid: Grid) -> Vec<i64> {
        let mut codes = Vec::new();
        for (channel, &scale) in self.scales.iter().enumerate() {
            for row in 0..5 {
                for column in 0..4 {
                    let mut sum = self.bias[channel];
                    for tap in 0..27 {
                        let (c, y, x) = (tap / 9, row + tap / 3 % 3, column + tap % 3);
                        if (1..6).contains(&y) && (1..5).contains(&x) {
                            let code = x_grid.spread(self.x[c * 20 + (y - 1) * 4 + x - 1]);
                            sum += (code - x_grid.zero) * self.weights[channel * 27 + tap];
                        }
                    }
                    codes.push(y_grid.code(product([sum, x_grid.scale, scale]), 2));
                }
            }
        }
        codes
    }

    /// The model around weights `w` that nodes before made, in codes at the edge.
    fn model(&self, opset: i64, [x_grid, y_grid]: [Grid; 2], weights: impl FnOnce(Onnx) -> Onnx) -> Onnx {
        let model = Onnx::new(opset).typed_input("x", data_type(x_grid.dtype), X.map(|n| n as i64));
        let model = y_grid.constants(x_grid.constants(model, "x"), "y");
        let is_one = self.scales.iter().all(|scale| *scale == self.scales[0]);
        let steps: Vec<f32> = self
            .scales
            .iter()
            .map(|scale| product([*scale, x_grid.scale, 1]) as f32 / (PARTS * PARTS) as f32)
            .collect();
        let steps = if is_one {
            Values::f32([], vec![steps[0]])
        } else {
            Values::f32([4], steps)
        };
        let model = model
            .constant("bias", &integers(&[4], &self.bias, DType::I32))
            .constant("bias_scale", &steps);
        let axis = if is_one { Vec::new() } else { vec![int("axis", 0)] };
        weights(model)
            .node(
                "DequantizeLinear",
                &["x", "x_scale", "x_zero"],
                &["x_real"],
                vec![],
            )
            .node("DequantizeLinear", &["bias", "bias_scale"], &["bias_real"], axis)
            .node(
                "Conv",
                &["x_real", "w", "bias_real"],
                &["sum"],
                vec![ints("pads", &[1; 4])],
            )
            .node("QuantizeLinear", &["sum", "y_scale", "y_zero"], &["y"], vec![])
            .output("y")
    }

    fn input(&self, grid: Grid) -> Values {
        let codes: Vec<i64> = self.x.iter().map(|&number| grid.spread(number)).collect();
        integers(&X, &codes, grid.dtype)
    }

    /// Expects the exact codes.
    fn check(&self, what: &str, model: &Onnx, [x_grid, y_grid]: [Grid; 2]) {
        let found = run(model, &[self.input(x_grid)], Precision::Int8);
        let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
        let wanted = integers(&Y, &self.outputs(x_grid, y_grid), y_grid.dtype);
        assert_eq!(found, [wanted], "{what}");
    }
}

const INT8: [Grid; 2] = [
    Grid::new(15_204_353 << 1, 3, DType::I8),
    Grid::new(11_468_801 << 6, -5, DType::I8),
];
const UINT8: [Grid; 2] = [
    Grid::new(15_204_353 << 1, 131, DType::U8),
    Grid::new(11_468_801 << 6, 120, DType::U8),
];

const INT16: [Grid; 2] = [
    Grid::new(15_204_353 << 1, 3000, DType::I16),
    Grid::new(11_468_801 << 6, -5, DType::I16),
];
const UINT16: [Grid; 2] = [
    Grid::new(15_204_353 << 1, 32768, DType::U16),
    Grid::new(11_468_801 << 6, 12_345, DType::U16),
];

/// Weights behind `DequantizeLinear` with a scale per output channel.
fn per_channel(model: Onnx, layer: &Layer, codes: &Values, zeros: Option<Values>) -> Onnx {
    let model = model
        .constant("codes", codes)
        .constant("w_scale", &reals([4], &layer.scales));
    let (model, inputs): (_, &[&str]) = match zeros {
        Some(zeros) => (model.constant("w_zero", &zeros), &["codes", "w_scale", "w_zero"]),
        None => (model, &["codes", "w_scale"]),
    };
    model.node("DequantizeLinear", inputs, &["w"], vec![int("axis", 0)])
}

#[test]
fn every_opset_has_its_form() {
    let layer = Layer::new(1, [-127, 127], true);
    for opset in [10, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27] {
        for grids in [INT8, UINT8] {
            let model = layer.model(opset, grids, |model| {
                model
                    .constant("codes", &integers(&W, &layer.weights, DType::I8))
                    .constant("w_scale", &reals([], &layer.scales[..1]))
                    .node("DequantizeLinear", &["codes", "w_scale"], &["w"], vec![])
            });
            layer.check(&format!("opset {opset}"), &model, grids);
        }
    }
}

#[test]
fn weights_come_per_channel_in_every_integer_type() {
    let narrow = |narrow, zero: i64, layer: &Layer| {
        let codes = layer
            .weights
            .iter()
            .map(|code| (code + zero) as u8 & 15)
            .collect();
        Values::new(W, Data::Narrow(narrow, codes))
    };
    for grids in [INT8, UINT8] {
        let layer = Layer::new(2, [-128, 127], false);
        let codes = integers(&W, &layer.weights, DType::I8);
        let model = layer.model(13, grids, |model| per_channel(model, &layer, &codes, None));
        layer.check("int8", &model, grids);
        let moved: Vec<i64> = layer.weights.iter().map(|code| code + 128).collect();
        let codes = integers(&W, &moved, DType::U8);
        let zeros = integers(&[4], &[128; 4], DType::U8);
        let model = layer.model(13, grids, |model| per_channel(model, &layer, &codes, Some(zeros)));
        layer.check("uint8", &model, grids);
        let layer = Layer::new(3, [-8, 7], false);
        let codes = narrow(Narrow::I4, 0, &layer);
        let model = layer.model(21, grids, |model| per_channel(model, &layer, &codes, None));
        layer.check("int4", &model, grids);
        let codes = narrow(Narrow::U4, 8, &layer);
        let zeros = Values::new([4], Data::Narrow(Narrow::U4, vec![8; 4]));
        let model = layer.model(21, grids, |model| per_channel(model, &layer, &codes, Some(zeros)));
        layer.check("uint4", &model, grids);
    }
}

/// Training tools leave the weights real, and round them in the graph.
#[test]
fn weights_may_be_rounded_in_the_graph() {
    let layer = Layer::new(4, [-127, 127], false);
    let scale = |index: usize| layer.scales[index] as f32 / PARTS as f32;
    let real = |index: usize, code: i64| (code as f32 + 0.375) * scale(index);
    // PyTorch: rounded where they lie.
    let weights = layer
        .weights
        .iter()
        .enumerate()
        .map(|(i, &code)| real(i / 27, code));
    let weights = Values::f32(W, weights.collect());
    let rounds = |model: Onnx, weights: &Values, axis: i64, made: &str| {
        let parameters = ["w_scale", "w_zero"];
        model
            .constant("w_real", weights)
            .constant("w_scale", &reals([4], &layer.scales))
            .constant("w_zero", &integers(&[4], &[0; 4], DType::I8))
            .node(
                "QuantizeLinear",
                &["w_real", parameters[0], parameters[1]],
                &["codes"],
                vec![int("axis", axis)],
            )
            .node(
                "DequantizeLinear",
                &["codes", parameters[0], parameters[1]],
                &[made],
                vec![int("axis", axis)],
            )
    };
    let model = layer.model(13, UINT8, |model| rounds(model, &weights, 0, "w"));
    layer.check("PyTorch", &model, UINT8);
    // TensorFlow, through tf2onnx: as `[h, w, in, out]`, turned behind it.
    let places = (0..108).map(|i| (i % 4) * 27 + (i / 4 % 3) * 9 + i / 12);
    let turned = places.map(|place| real(place / 27, layer.weights[place]));
    let turned = Values::f32([3, 3, 3, 4], turned.collect());
    let model = layer.model(13, UINT8, |model| {
        let perm = vec![ints("perm", &[3, 2, 0, 1])];
        rounds(model, &turned, 3, "w_turned").node("Transpose", &["w_turned"], &["w"], perm)
    });
    layer.check("TensorFlow", &model, UINT8);
}

/// Weights of nine bits, less their zero point, are sums of two int8 parts.
#[test]
fn weights_may_lie_around_any_number() {
    for (seed, zero) in [(7, 100), (8, 0), (9, 255)] {
        let layer = Layer::new(seed, [-zero, 255 - zero], false);
        let moved: Vec<i64> = layer.weights.iter().map(|code| code + zero).collect();
        let codes = integers(&W, &moved, DType::U8);
        let zeros = integers(&[4], &[zero; 4], DType::U8);
        for grids in [INT8, UINT8] {
            let zeros = Some(zeros.clone());
            let model = layer.model(13, grids, |model| per_channel(model, &layer, &codes, zeros));
            layer.check("uint8 weights", &model, grids);
        }
    }
    // A matrix product, and a kernel of its own for each channel.
    let layer = Layer::new(10, [0, 255], true);
    let [x_grid, y_grid] = UINT8;
    let zero = 140;
    let start = |shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        let model = Onnx::new(13).typed_input("x", DataType::Uint8, [1, 4, 3, 2]);
        let model = y_grid.constants(x_grid.constants(model, "x"), "y");
        model
            .constant("codes", &integers(shape, &layer.weights[..count], DType::U8))
            .constant("w_scale", &reals([], &layer.scales[..1]))
            .constant("w_zero", &integers(&[], &[zero], DType::U8))
            .node(
                "DequantizeLinear",
                &["codes", "w_scale", "w_zero"],
                &["w"],
                vec![],
            )
            .node(
                "DequantizeLinear",
                &["x", "x_scale", "x_zero"],
                &["x_real"],
                vec![],
            )
    };
    let finish = |model: Onnx| {
        model
            .node("QuantizeLinear", &["sum", "y_scale", "y_zero"], &["y"], vec![])
            .output("y")
    };
    let x = integers(&[1, 4, 3, 2], &layer.x[..24], DType::U8);
    let term = |x: usize, weight: usize| (layer.x[x] - x_grid.zero) * (layer.weights[weight] - zero);
    let code = |sum: i64| y_grid.code(product([sum, x_grid.scale, layer.scales[0]]), 2);
    let model = finish(start(&[2, 5]).node("MatMul", &["x_real", "w"], &["sum"], vec![]));
    let found = run(&model, std::slice::from_ref(&x), Precision::Int8).unwrap();
    let wanted = (0..60).map(|at| code((0..2).map(|k| term(at / 5 * 2 + k, k * 5 + at % 5)).sum()));
    assert_eq!(
        found,
        [integers(&[1, 4, 3, 5], &wanted.collect::<Vec<_>>(), DType::U8)]
    );
    let group = vec![int("group", 4)];
    let model = finish(start(&[4, 1, 3, 2]).node("Conv", &["x_real", "w"], &["sum"], group));
    let found = run(&model, std::slice::from_ref(&x), Precision::Int8).unwrap();
    let wanted = (0..4).map(|channel| code((0..6).map(|k| term(channel * 6 + k, channel * 6 + k)).sum()));
    assert_eq!(
        found,
        [integers(&[1, 4, 1, 1], &wanted.collect::<Vec<_>>(), DType::U8)]
    );
}

/// ONNX Runtime's tool rounds the parameters of batch normalizations too: one of int8, one of int32.
#[test]
fn batch_normalization_may_stand_between_codes() {
    let layer = Layer::new(12, [-127, 127], false);
    let [x_grid, y_grid] = [UINT8[0], Grid::new(9_468_801 << 4, 120, DType::U8)];
    let factors: [i64; 3] = [77, -50, 101];
    let offsets: [i64; 3] = [3, -2, 5];
    let model = Onnx::new(13).typed_input("x", DataType::Uint8, X.map(|n| n as i64));
    let model = y_grid.constants(x_grid.constants(model, "x"), "y");
    // The factors are multiples of 1/64, and the offsets of their product with the input's step.
    let offset_scale = x_grid.scale as f32 / (1 << 30) as f32;
    let model = model
        .constant("factor", &integers(&[3], &factors, DType::I8))
        .constant("factor_scale", &Values::f32([], vec![1.0 / 64.0]))
        .constant("offset", &integers(&[3], &offsets, DType::I32))
        .constant("offset_scale", &Values::f32([], vec![offset_scale]))
        .constant("mean", &Values::f32([3], vec![0.0; 3]))
        .constant("variance", &Values::f32([3], vec![1.0; 3]))
        .node(
            "DequantizeLinear",
            &["x", "x_scale", "x_zero"],
            &["x_real"],
            vec![],
        )
        .node("DequantizeLinear", &["factor", "factor_scale"], &["f"], vec![])
        .node("DequantizeLinear", &["offset", "offset_scale"], &["o"], vec![])
        .node(
            "BatchNormalization",
            &["x_real", "f", "o", "mean", "variance"],
            &["sum"],
            vec![float("epsilon", 0.0)],
        )
        .node("QuantizeLinear", &["sum", "y_scale", "y_zero"], &["y"], vec![])
        .output("y");
    let found = run(&model, &[layer.input(x_grid)], Precision::Int8).unwrap();
    let wanted = (0..60).map(|at| {
        let steps = (layer.x[at] - x_grid.zero) * factors[at / 20] + 64 * offsets[at / 20];
        y_grid.code(product([steps, x_grid.scale, 1 << 24]), 2)
    });
    assert_eq!(found, [integers(&X, &wanted.collect::<Vec<_>>(), DType::U8)]);
}

/// Four bits in blocks along the sum: exact in int8 where a channel's scales are whole multiples of one.
#[test]
fn weights_may_have_scales_in_blocks() {
    let layer = Layer::new(14, [-8, 7], false);
    let [x_grid, y_grid] = UINT8;
    let factors: Vec<i64> = (0..12)
        .map(|i| [3, 5, 4, 6, 10, 15, 1, 2, 16, 8, 8, 12][i])
        .collect();
    let model = |scale: &dyn Fn(usize) -> f32| {
        let model = Onnx::new(21).typed_input("x", DataType::Uint8, [2, 12]);
        let codes = layer.weights[..48].iter().map(|code| (*code + 8) as u8);
        let codes = Values::new([12, 4], Data::Narrow(Narrow::U4, codes.collect()));
        let zeros = Values::new([3, 4], Data::Narrow(Narrow::U4, vec![8; 12]));
        let block = vec![int("axis", 0), int("block_size", 4)];
        y_grid
            .constants(x_grid.constants(model, "x"), "y")
            .constant("codes", &codes)
            .constant("w_scale", &Values::f32([3, 4], (0..12).map(scale).collect()))
            .constant("w_zero", &zeros)
            .node("DequantizeLinear", &["codes", "w_scale", "w_zero"], &["w"], block)
            .node(
                "DequantizeLinear",
                &["x", "x_scale", "x_zero"],
                &["x_real"],
                vec![],
            )
            .node("MatMul", &["x_real", "w"], &["sum"], vec![])
            .node("QuantizeLinear", &["sum", "y_scale", "y_zero"], &["y"], vec![])
            .output("y")
    };
    // Sixteen digits leave room for the factors.
    let base = |channel: usize| (layer.scales[channel] >> 8) << 8;
    let even = model(&|at| (base(at % 4) * factors[at]) as f32 / PARTS as f32);
    let x = integers(&[2, 12], &layer.x[..24], DType::U8);
    let found = run(&even, std::slice::from_ref(&x), Precision::Int8).unwrap();
    let wanted = (0..8).map(|at| {
        let (row, channel) = (at / 4, at % 4);
        let terms = (0..12).map(|k| {
            let weight = layer.weights[k * 4 + channel] * factors[k / 4 * 4 + channel];
            (layer.x[row * 12 + k] - x_grid.zero) * weight
        });
        y_grid.code(product([terms.sum(), x_grid.scale, base(channel)]), 2)
    });
    assert_eq!(found, [integers(&[2, 4], &wanted.collect::<Vec<_>>(), DType::U8)]);
    let odd = model(&|at| 0.01 + at as f32 * 0.000_731);
    let reason = run(&odd, &[], Precision::Int8).unwrap_err();
    assert!(reason.contains("integers with scales in blocks"), "{reason}");
    run(&odd, &[x], Precision::F32).unwrap();
}

/// Samples that are there already.
struct Given(Vec<Vec<Values>>);

impl Samples for Given {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        Ok(self.0[index].clone())
    }
}

/// Training tools leave some tensors real. Samples give those parameters, as they do in a float model, and nothing else.
#[test]
fn what_a_model_leaves_real_comes_from_samples() {
    let layer = Layer::new(11, [-127, 127], false);
    let codes = integers(&W, &layer.weights, DType::I8);
    let quantized = layer.model(13, INT8, |model| per_channel(model, &layer, &codes, None));
    // The same without QuantizeLinear at the end, and with a real input.
    let mut open = quantized.clone();
    let graph = open.graph();
    graph
        .node
        .retain(|node| node.op_type != "QuantizeLinear" && node.output[0] != "x_real");
    let sum = graph.node.last_mut().unwrap();
    (sum.input[0], sum.output[0]) = ("x".into(), "y".into());
    graph.input[0] = Onnx::new(13).input("x", X.map(|n| n as i64)).graph().input[0].clone();
    let refusal = run(&open, &[], Precision::Int8).unwrap_err();
    assert!(refusal.contains("give calibration data"), "{refusal}");

    let x: Vec<f32> = layer.x.iter().map(|&code| code as f32 / 64.0 - 1.5).collect();
    let sample = vec![Values::f32(X, x.clone())];
    let options = Options::default();
    let graph = tinsmith::load(&open.bytes(), &options).unwrap();
    let target = Target::builtin("cortex-a").unwrap();
    let samples = Given(vec![sample.clone()]);
    let artifact = tinsmith::build(&target, graph, &samples, &options, &|_, _, _| ()).unwrap();
    let notes = artifact.quant.notes.iter();
    let completed =
        notes.filter(|note| note.contains("is not quantized in the model, and is by the samples"));
    assert_eq!(completed.count(), 2, "{:?}", artifact.quant.notes);

    // The weights are the model's own, and both ends have the ranges that were met.
    let [x_scale, y_scale] = [&artifact.quant.inputs, &artifact.quant.outputs].map(|ports| {
        let params = artifact.quant.tensors[ports[0]].params().unwrap();
        (f64::from(params.scale), f64::from(params.zero_point))
    });
    let least = x.iter().fold(0.0f32, |least, &x| least.min(x));
    let greatest = x.iter().fold(0.0f32, |greatest, &x| greatest.max(x));
    assert_eq!(x_scale.0, f64::from((greatest - least) / 255.0));
    let real = |code: i64, (scale, zero): (f64, f64)| (code as f64 - zero) * scale;
    let round = |real: f64, (scale, zero): (f64, f64)| {
        ((real / scale).round_ties_even() + zero).clamp(-128.0, 127.0) as i64
    };
    let x_codes: Vec<i64> = x.iter().map(|&x| round(x.into(), x_scale)).collect();
    let mut wanted = Vec::new();
    for channel in 0..4 {
        let scale = layer.scales[channel] as f64 / PARTS as f64;
        // The bias has steps of its own in the file, and of the input's scale in the layer.
        let step = x_scale.0 * scale;
        let own = layer.scales[channel] as f64 * INT8[0].scale as f64 / (PARTS * PARTS) as f64;
        let bias = (layer.bias[channel] as f64 * f64::from(own as f32) / step).round_ties_even() * step;
        for at in 0..20 {
            let (row, column) = (at / 4, at % 4);
            let mut sum = bias;
            for tap in 0..27 {
                let (c, y, x) = (tap / 9, row + tap / 3 % 3, column + tap % 3);
                if (1..6).contains(&y) && (1..5).contains(&x) {
                    let weight = layer.weights[channel * 27 + tap] as f64 * scale;
                    sum += real(x_codes[c * 20 + (y - 1) * 4 + x - 1], x_scale) * weight;
                }
            }
            let code = round(sum, y_scale);
            wanted.push((code as f32 - y_scale.1 as f32) * y_scale.0 as f32);
        }
    }
    let mut simulator = Simulator::new(&artifact.blob).unwrap();
    let stored = edge::store_all(simulator.blob(), &sample).unwrap();
    let outputs = simulator.run(&[&stored[0]]).unwrap();
    let found = edge::load_all(simulator.blob(), &outputs).unwrap();
    assert_eq!(found, [Values::f32(Y, wanted)]);
}

/// Scales of any mantissa: every code is exact all the same.
#[test]
fn activations_may_have_16_bits() {
    for grids in [INT16, UINT16] {
        let layer = Layer::new(5, [-127, 127], false);
        let codes = integers(&W, &layer.weights, DType::I8);
        let model = layer.model(21, grids, |model| per_channel(model, &layer, &codes, None));
        layer.check("int8 weights", &model, grids);
        let layer = Layer::new(6, [-100, 155], false);
        let moved: Vec<i64> = layer.weights.iter().map(|code| code + 100).collect();
        let codes = integers(&W, &moved, DType::U8);
        let zeros = Some(integers(&[4], &[100; 4], DType::U8));
        let model = layer.model(21, grids, |model| per_channel(model, &layer, &codes, zeros));
        layer.check("uint8 weights", &model, grids);
    }
}

#[test]
fn an_operator_takes_codes_of_one_width() {
    let layer = Layer::new(5, [-127, 127], false);
    let codes = integers(&W, &layer.weights, DType::I8);
    for (grids, reason) in [
        ([INT16[0], INT8[1]], "is int16, which has no form here"),
        ([INT8[0], INT16[1]], "it computes int16, but its input"),
    ] {
        let model = layer.model(21, grids, |model| per_channel(model, &layer, &codes, None));
        let found = run(&model, &[layer.input(grids[0])], Precision::Int8).unwrap_err();
        assert!(found.contains(reason), "{found}");
    }
}
