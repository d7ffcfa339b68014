//! Concatenations of unlike parts: with the step, each keeps its own precision.

use tinsmith::ir::text::parse;
use tinsmith::ir::{FloatGraph, QuantGraph, SampleError, Samples};
use tinsmith::op::tensor::{DType, Data, Values};
use tinsmith::quantize::{self, Options, Pins, Step, Steps};
use tinsmith::reference;
use tinsmith_runtime::arith;

use super::case::Case;
use super::meaning;

/// Pixels of boxes, and channels of a part.
const PIXELS: usize = 16;
const CHANNELS: usize = 4;

/// `count` samples of 4×4 pixels with 3 channels, other ones for every seed.
struct Noise(usize);

impl Samples for Noise {
    fn len(&self) -> usize {
        12
    }

    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        let noise = |i: usize| ((self.0 * 7919 + index * 48 + i) as f32 * 0.77).sin();
        Ok(vec![Values::f32([1, 4, 4, 3], (0..48).map(noise).collect())])
    }
}

/// Boxes of hundreds of pixels beside scores, in the output that detectors have, and `more` behind it.
fn graph(more: &str) -> FloatGraph {
    let weights = |size: f32, shift: f32| -> Vec<f32> {
        (0..CHANNELS * 3)
            .map(|i| ((i as f32 + shift) * 1.3).cos() * size)
            .collect()
    };
    let conv = "\"window\":{\"kernel\":[1,1],\"strides\":[1,1],\"dilations\":[1,1],\"pads\":[0,0,0,0]},\
                \"groups\":1,\"clamp\":{}";
    parse(&format!(
        "graph \"head\"\ninput %x: f32[1,4,4,3]\n\
         const %w0: f32[{CHANNELS},1,1,3] = {:?}\n\
         const %w1: f32[{CHANNELS},1,1,3] = {:?}\n\
         %boxes = Conv2d {{{conv}}} (%x, %w0)\n\
         %logits = Conv2d {{{conv}}} (%x, %w1)\n\
         %scores = Unary {{\"kind\":\"Sigmoid\"}} (%logits)\n\
         %rows = Reshape {{\"shape\":[1,{PIXELS},{CHANNELS}]}} (%boxes)\n\
         %same = Reshape {{\"shape\":[1,{PIXELS},{CHANNELS}]}} (%scores)\n\
         %all = Concat {{\"axis\":2}} (%rows, %same)\n\
         {more}",
        weights(100.0, 0.0),
        weights(1.0, 5.0),
    ))
    .unwrap()
}

fn quantized(graph: &FloatGraph, steps: Steps, table: &str) -> QuantGraph {
    let options = Options {
        steps,
        pins: if table.is_empty() {
            Pins::default()
        } else {
            Pins::parse(table).unwrap()
        },
        ..Options::default()
    };
    quantize::run(graph.clone(), &Noise(0), &options, &|_, _, _| ())
        .unwrap()
        .quant
}

const SPLIT: Steps = Steps::NONE.with(Step::SplitConcats, true);

/// Signal to noise of the boxes and of the scores in the first output, over other samples, in decibels.
fn precision(float: &FloatGraph, quant: &QuantGraph) -> [f64; 2] {
    let params = quant.tensors[quant.inputs[0]].params().unwrap();
    let (mut signal, mut noise) = ([0.0; 2], [0.0; 2]);
    let samples = Noise(1);
    for index in 0..samples.len() {
        let sample = samples.get(index).unwrap();
        let wanted = reference::run(float, &sample).unwrap()[0].to_f64();
        let codes = sample[0].as_f32().unwrap().iter();
        let codes = codes.map(|&x| arith::quantize(x, params.scale, params.zero_point as i8));
        let codes = Values::new(sample[0].shape.clone(), Data::I8(codes.collect()));
        let found = meaning::outputs(quant, &[codes]).remove(0).to_f64();
        let output = quant.tensors[quant.outputs[0]].params();
        for (i, (wanted, found)) in wanted.iter().zip(found).enumerate() {
            let found = output.map_or(found, |output| {
                (found - f64::from(output.zero_point)) * f64::from(output.scale)
            });
            let part = i / CHANNELS % 2;
            signal[part] += wanted * wanted;
            noise[part] += (wanted - found).powi(2);
        }
    }
    [0, 1].map(|part| 10.0 * libm::log10(signal[part] / noise[part]))
}

#[test]
fn boxes_and_scores_each_keep_a_scale() {
    let graph = graph("output %all\n");
    let without = precision(&graph, &quantized(&graph, Steps::NONE, ""));
    let quant = quantized(&graph, SPLIT, "");
    let with = precision(&graph, &quant);
    println!("boxes and scores: {without:.1?} dB without, {with:.1?} dB with");
    assert!(without[1] < 10.0 && with[1] > 35.0, "{without:?} {with:?}");
    assert!(with[0] >= without[0] - 0.1, "{without:?} {with:?}");
    assert_eq!(quant.tensors[quant.outputs[0]].ty.dtype, DType::F32);
    assert!(
        quant.notes.iter().any(|note| note.contains("Concat `all`")),
        "{:?}",
        quant.notes
    );
    // Every way to run it agrees.
    Case {
        graph: quant,
        ..Case::new(7)
    }
    .check();
}

#[test]
fn what_is_moved_or_joined_again_stays_in_reals() {
    let graph = graph(
        "%turned = Transpose {\"perm\":[0,2,1]} (%all)\n\
         %twice = Concat {\"axis\":1} (%turned, %turned)\n\
         output %twice\noutput %all\n",
    );
    let quant = quantized(&graph, SPLIT, "");
    let reals = quant.outputs.iter().map(|&output| quant.tensors[output].ty.dtype);
    assert!(reals.eq([DType::F32, DType::F32]));
    Case {
        graph: quant,
        ..Case::new(8)
    }
    .check();
}

#[test]
fn what_is_computed_with_or_settled_otherwise_is_left() {
    let is_int8 = |more: &str, table: &str| {
        let quant = quantized(&graph(more), SPLIT, table);
        quant
            .tensors
            .iter()
            .all(|(_, tensor)| tensor.ty.dtype != DType::F32)
    };
    assert!(is_int8(
        "%y = Unary {\"kind\":\"Tanh\"} (%all)\noutput %y\noutput %all\n",
        ""
    ));
    let table = "[[quantization.nodes]]\nname = \"all\"\nprecision = \"int8\"\n";
    assert!(is_int8("output %all\n", table));
    // Parts that are alike lose little.
    assert!(is_int8(
        "%b = Concat {\"axis\":1} (%rows, %rows)\noutput %b\n",
        ""
    ));
}
