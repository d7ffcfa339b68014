//! What each layer costs by itself, against the same computed step by step.

use tinsmith::evaluate::{Options, Report};
use tinsmith::op::quant::Quantization;
use tinsmith::op::tensor::{Data, Values};
use tinsmith::target::Target;

use super::{Rows, measure};
use crate::import::onnx::Onnx;

const WIDTHS: [usize; 3] = [6, 5, 4];

/// A number from −1 to 1.
fn hash(a: usize, b: usize, c: usize) -> f32 {
    ((a * 73 + b * 151 + c * 37 + a * b * 11) % 101) as f32 / 50.0 - 1.0
}

/// `[inputs, outputs]`, as Gemm has them.
fn weights(layer: usize) -> Vec<f32> {
    let (inputs, outputs) = (WIDTHS[layer], WIDTHS[layer + 1]);
    (0..inputs * outputs)
        .map(|i| hash(i / outputs, i % outputs, layer + 3))
        .collect()
}

fn bias(layer: usize) -> Vec<f32> {
    (0..WIDTHS[layer + 1]).map(|o| hash(o, layer, 9) / 4.0).collect()
}

/// Two dense layers with a Relu between them.
fn model() -> Onnx {
    let mut model = Onnx::new(13).input("x", [1, 6]);
    for layer in 0..2 {
        let (inputs, outputs) = (WIDTHS[layer], WIDTHS[layer + 1]);
        model = model
            .constant(
                &format!("w{layer}"),
                &Values::f32([inputs, outputs], weights(layer)),
            )
            .constant(&format!("b{layer}"), &Values::f32([outputs], bias(layer)));
    }
    model
        .node("Gemm", &["x", "w0", "b0"], &["h"], vec![])
        .node("Relu", &["h"], &["r"], vec![])
        .node("Gemm", &["r", "w1", "b1"], &["y"], vec![])
        .output("y")
}

fn samples() -> Rows {
    Rows {
        shape: vec![1, 6],
        rows: (0..15).map(|s| (0..6).map(|i| hash(s, i, 1)).collect()).collect(),
    }
}

/// The nearest of int8's codes, as a real again.
fn through_int8(x: f64, scale: f64, zero_point: f64) -> f64 {
    ((x / scale).round_ties_even() + zero_point).clamp(-128.0, 127.0) * scale - zero_point * scale
}

/// One layer on a row; where `params` of its output are given, it is quantized, its weights by output channel.
fn dense(layer: usize, x: &[f64], params: Option<(f64, f64)>) -> Vec<f64> {
    let outputs = WIDTHS[layer + 1];
    let (weights, bias) = (weights(layer), bias(layer));
    (0..outputs)
        .map(|o| {
            let column = (0..x.len()).map(|i| f64::from(weights[i * outputs + o]));
            let most = column.clone().fold(0.0, |most: f64, w| most.max(w.abs()));
            let sum: f64 = column
                .zip(x)
                .map(|(w, x)| match params {
                    Some(_) => through_int8(w, most / 127.0, 0.0) * x,
                    None => w * x,
                })
                .sum();
            let sum = sum + f64::from(bias[o]);
            let sum = if layer == 0 { sum.max(0.0) } else { sum };
            params.map_or(sum, |(scale, zero_point)| through_int8(sum, scale, zero_point))
        })
        .collect()
}

#[test]
fn a_layer_alone_is_what_its_rounding_makes_of_the_outputs() {
    let report = |threads: usize| -> Report {
        let options = Options {
            layer_samples: 7,
            isolated: true,
            ..Options::default()
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| measure(&model(), &samples(), &samples(), &options))
            .unwrap()
    };
    let found = report(1);
    assert_eq!(found, report(2));
    assert_eq!(found, report(3));

    let target = Target::named("mps2-an386").unwrap();
    let options = tinsmith::Options::default();
    let artifact = tinsmith::compile(&target, &model().bytes(), &samples(), &options, &|_, _, _| ()).unwrap();
    let tensors = artifact.quant.tensors;
    let params = |name: &str| {
        let tensor = tensors.iter().find(|(_, tensor)| tensor.name == name).unwrap().1;
        match tensor.quantization {
            Quantization::PerTensor(params) => (f64::from(params.scale), f64::from(params.zero_point)),
            ref other => panic!("{other:?}"),
        }
    };
    for (layer, name) in ["r", "y"].into_iter().enumerate() {
        let (mut signal, mut noise) = (0.0, 0.0);
        // Seven of fifteen, spread evenly.
        for s in [0, 2, 4, 6, 8, 10, 12] {
            let x: Vec<f64> = samples().rows[s].iter().map(|&x| x.into()).collect();
            let run = |quantized: Option<usize>| {
                let of = |at: usize| (quantized == Some(at)).then(|| params(name));
                dense(1, &dense(0, &x, of(0)), of(1))
            };
            for (wanted, found) in run(None).into_iter().zip(run(Some(layer))) {
                signal += wanted * wanted;
                noise += (wanted - found) * (wanted - found);
            }
        }
        let wanted = 10.0 * libm::log10(signal / noise);
        let layer = found.layers.iter().find(|layer| layer.tensor == name).unwrap();
        let isolated = layer.isolated_db.unwrap();
        // The bias is rounded too, to steps that are much finer.
        assert!(
            (isolated - wanted).abs() < 0.05,
            "{name}: {isolated} found, {wanted} wanted"
        );
        assert!(isolated > layer.sqnr_db - 3.0, "{layer:?}");
    }
}

#[test]
fn codes_of_16_bits_are_read_as_such() {
    let zero = Values::new([], Data::I16(vec![0]));
    let model = Onnx::new(21)
        .input("x", [1, 6])
        .constant("s", &Values::f32([], vec![1.0 / 16384.0]))
        .constant("z", &zero)
        .node("QuantizeLinear", &["x", "s", "z"], &["x_codes"], vec![])
        .node("DequantizeLinear", &["x_codes", "s", "z"], &["x_reals"], vec![])
        .node("Sigmoid", &["x_reals"], &["g"], vec![])
        .node("QuantizeLinear", &["g", "s", "z"], &["g_codes"], vec![])
        .node("DequantizeLinear", &["g_codes", "s", "z"], &["y"], vec![])
        .output("y");
    let options = Options {
        layer_samples: 15,
        ..Options::default()
    };
    let report = measure(&model, &samples(), &samples(), &options).unwrap();
    assert!(!report.layers.is_empty());
    for layer in &report.layers {
        assert!(layer.sqnr_db > 60.0 && layer.saturated == 0.0, "{layer:?}");
    }
    assert_eq!(report.outside, []);
    // Between the ends of int8's codes and of int16's nothing is cut off.
    let mut wide = samples();
    wide.rows[3][2] = 2.5;
    let report = measure(&model, &samples(), &wide, &options).unwrap();
    let x = &report.outside[0];
    assert_eq!((x.samples, x.worst, x.high), (1, 2.5, 32767.0 / 16384.0));
}
