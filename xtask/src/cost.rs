//! `cargo xtask cost TARGET`: the cost figures of a target, fitted to what an emulated board counts.
//!
//! The layers of the reference models and of one small graph with every other kernel run on the board. The figures
//! printed minimise the squares of the relative errors of the predictions; they are what `[cost]` in the target's
//! description holds.

use std::path::PathBuf;

use miette::{IntoDiagnostic, Result, miette};
use serde_json::{Map, Value};

use tinsmith::ir::text::parse;
use tinsmith::ir::{NoSamples, QuantGraph};
use tinsmith::schedule::{self, cost};
use tinsmith::target::{Cost, Target};
use tinsmith::{emit, import, optimize, quantize, simulate};

/// Kernels that the reference models do not use, in several sizes.
const OTHERS: &str = r#"
graph "others"
input %x: i8[1,32,32,8] scale 0.05 zero_point 3
const %k: i8[1,1,1,8] scale 0.02 zero_point 1 = ramp
%a: i8[1,16,16,8] scale 0.05 zero_point 3 = MaxPool {"window":{"kernel":[2,2],"strides":[2,2],"dilations":[1,1],"pads":[0,0,0,0]},"clamp":{}} (%x)
%b: i8[1,30,30,8] scale 0.05 zero_point 3 = MaxPool {"window":{"kernel":[3,3],"strides":[1,1],"dilations":[1,1],"pads":[0,0,0,0]},"clamp":{}} (%x)
%c: i8[1,16,16,8] scale 0.00390625 zero_point -128 = Unary {"kind":"Sigmoid"} (%a)
%d: i8[1,16,16,8] scale 0.01 zero_point 0 = Binary {"kind":"Mul","clamp":{}} (%c, %a)
%e: i8[1,16,16,8] scale 0.01 zero_point 0 = Binary {"kind":"Mul","clamp":{}} (%d, %k)
%f: i8[1,16,16,8] scale 0.01 zero_point 0 = Binary {"kind":"Add","clamp":{}} (%e, %k)
%g: i8[1,8,16,16] scale 0.01 zero_point 0 = Transpose {"perm":[0,3,1,2]} (%f)
%h: i8[1,8,16,16] scale 0.01 zero_point 0 = Delay {} (%g)
%i: i8[1,8,20,20] scale 0.01 zero_point 0 = Pad {"before":[0,0,2,2],"after":[0,0,2,2],"mode":{"Constant":0.0}} (%h)
%j: i8[1,30,30,8] scale 0.05 zero_point 3 = Unary {"kind":"Tanh"} (%b)
%l: i8[1,8,20,20] scale 0.01 zero_point 0 = Transpose {"perm":[0,1,3,2]} (%i)
%m: i8[1,30,8,30] scale 0.05 zero_point 3 = Transpose {"perm":[0,2,3,1]} (%j)
%n: i8[1,8,30,30] scale 0.05 zero_point 3 = Transpose {"perm":[0,2,1,3]} (%m)
%s: i8[1,3200] scale 0.01 zero_point 0 = Reshape {"shape":[1,3200]} (%l)
%p: i8[1,3200] scale 0.00390625 zero_point -128 = Softmax {"axis":1} (%s)
output %p
output %n
"#;

/// A layer's counts of work, one per figure, and what the board counted.
struct Sample {
    name: String,
    counts: Vec<f64>,
    instructions: f64,
}

pub(crate) fn run(name: &str) -> Result<bool> {
    let target = Target::named(name).into_diagnostic()?;
    let mut samples = measure(&target, &parse(OTHERS).into_diagnostic()?)?;
    for model in ["kws", "ic", "vww", "ad", "sww"] {
        let path = shared().join(format!("reference/qdq/{model}.onnx"));
        let bytes = std::fs::read(&path).map_err(|error| miette!("{}: {error}", path.display()))?;
        let graph = import::onnx(&bytes, &import::Options::default()).into_diagnostic()?;
        let graph = optimize::run(graph, &optimize::Options::default()).into_diagnostic()?;
        let graph = quantize::run(graph, &NoSamples, &quantize::Options::default(), &|_, _, _| ())
            .into_diagnostic()?
            .quant;
        samples.extend(measure(&target, &graph)?);
    }
    let figures = fit(&samples);
    println!("[cost]");
    for (name, figure) in names()?.iter().zip(&figures) {
        println!("{name} = {}", figure.round() as u32);
    }
    let error = |sample: &Sample| predicted(sample, &figures) / sample.instructions - 1.0;
    let worst = samples
        .iter()
        .max_by(|a, b| error(a).abs().total_cmp(&error(b).abs()));
    let mean = samples.iter().map(|sample| error(sample).abs()).sum::<f64>() / samples.len() as f64;
    if let Some(worst) = worst {
        let (mean, most) = (100.0 * mean, 100.0 * error(worst));
        println!(
            "# {} layers: off by {mean:.1} % on average, by {most:.1} % at most (`{}`)",
            samples.len(),
            worst.name
        );
    }
    Ok(true)
}

fn shared() -> PathBuf {
    std::env::var_os("TINSMITH_SHARED").map_or_else(|| crate::root().join("../shared"), PathBuf::from)
}

/// Runs a graph on the board, and counts the work of every layer.
fn measure(target: &Target, graph: &QuantGraph) -> Result<Vec<Sample>> {
    let program = schedule::run(target, graph, &schedule::Options::default()).into_diagnostic()?;
    let blob = emit::blob(target, &program, &emit::Options::default()).into_diagnostic()?;
    let byte = |i: u32| (i * 37 % 251) as u8;
    let inputs = program
        .inputs
        .iter()
        .map(|port| (0..port.access.bytes).map(byte).collect());
    let run = simulate::board::run(target, &blob, &[inputs.collect()]).into_diagnostic()?;
    let names = names()?;
    let mut samples = Vec::new();
    for (step, &instructions) in program.steps.iter().zip(&run.instructions[0]) {
        let counts = names.iter().map(|name| {
            let unit = cost::instructions(&only(name)?, &step.layer);
            Ok(unit as f64 / 256.0)
        });
        samples.push(Sample {
            name: format!("{} {}", graph.name, step.name),
            counts: counts.collect::<Result<_>>()?,
            instructions: instructions.max(1) as f64,
        });
    }
    Ok(samples)
}

/// The names of the figures, in their order.
fn names() -> Result<Vec<String>> {
    let figures = serde_json::to_value(Cost::default()).into_diagnostic()?;
    let figures = figures.as_object().cloned().unwrap_or_default();
    Ok(figures.into_iter().map(|(name, _)| name).collect())
}

/// Costs that count one kind of work: a prediction by them is 256 times 1/256 times the count.
fn only(counted: &str) -> Result<Cost> {
    let figures: Map<String, Value> = names()?
        .into_iter()
        .map(|name| {
            (
                name.clone(),
                Value::from(if name == counted { 1 << 16 } else { 0 }),
            )
        })
        .collect();
    serde_json::from_value(Value::Object(figures)).into_diagnostic()
}

fn predicted(sample: &Sample, figures: &[f64]) -> f64 {
    sample
        .counts
        .iter()
        .zip(figures)
        .map(|(count, figure)| count * figure)
        .sum::<f64>()
        / 256.0
}

/// The figures, none negative, that minimise the squares of the relative errors: one figure at a time, again and
/// again.
fn fit(samples: &[Sample]) -> Vec<f64> {
    let mut figures = vec![0.0; samples.first().map_or(0, |sample| sample.counts.len())];
    for _ in 0..5000 {
        for i in 0..figures.len() {
            let (mut along, mut square) = (0.0, 0.0);
            for sample in samples {
                let slope = sample.counts[i] / 256.0 / sample.instructions;
                along += slope * (1.0 - predicted(sample, &figures) / sample.instructions);
                square += slope * slope;
            }
            if square > 0.0 {
                figures[i] = f64::max(0.0, figures[i] + along / square);
            }
        }
    }
    figures
}
