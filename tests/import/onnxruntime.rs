//! Operators against what ONNX Runtime computes for them: the cases that `onnxruntime/generate.py` wrote.

use tinsmith::emit::{self, EmitError};
use tinsmith::import::{self, Options};
use tinsmith::ir::verify::verify;
use tinsmith::ir::{FloatGraph, NoSamples};
use tinsmith::op::tensor::{DType, Data, Values};
use tinsmith::quantize::{self, Precision};
use tinsmith::{optimize, reference};
use tinsmith_proto::OperatorSetIdProto;

use super::onnx::{Onnx, data_type, float, floats, int, ints, strings, word};

/// How far reals may be from ONNX Runtime's, of the greatest.
const TOLERANCE: f64 = 2e-6;

fn values(words: &[&str]) -> Values {
    let dtype: DType = words[0].parse().unwrap();
    let shape: Vec<usize> = match words[1] {
        "scalar" => vec![],
        extents => extents.split(',').map(|extent| extent.parse().unwrap()).collect(),
    };
    let data = if dtype.is_float() {
        Data::F64(words[2..].iter().map(|word| word.parse().unwrap()).collect())
    } else {
        Data::I64(words[2..].iter().map(|word| word.parse().unwrap()).collect())
    };
    Values::new(shape, data.cast(dtype))
}

/// The model of a case, its inputs, and the outputs wanted.
fn case(lines: &[&str]) -> (Onnx, Vec<Values>, Vec<Values>) {
    let head: Vec<&str> = lines[0].split(' ').collect();
    let (domain, operator, version) = (head[1], head[2], head[3].parse().unwrap());
    let is_onnx = domain == "onnx";
    let mut model = Onnx::new(if is_onnx { version } else { 17 });
    let mut attributes = vec![];
    let (mut names, mut inputs, mut outputs) = (vec![], vec![], vec![]);
    for line in &lines[1..] {
        let words: Vec<&str> = line.split(' ').collect();
        let name = format!("x{}", names.len());
        match words[0] {
            "attr" => {
                let numbers = || words[3..].iter().map(|word| word.parse::<i64>().unwrap());
                let reals = || words[3..].iter().map(|word| word.parse::<f32>().unwrap());
                attributes.push(match words[2] {
                    "f" => float(words[1], reals().next().unwrap()),
                    "i" => int(words[1], numbers().next().unwrap()),
                    "s" => word(words[1], words[3]),
                    "fs" => floats(words[1], &reals().collect::<Vec<_>>()),
                    "is" => ints(words[1], &numbers().collect::<Vec<_>>()),
                    "ss" => strings(words[1], &words[3..]),
                    other => panic!("attributes of type {other}"),
                });
            }
            "-" => names.push(String::new()),
            "const" => {
                model = model.constant(&name, &values(&words[1..]));
                names.push(name);
            }
            "in" => {
                let given = values(&words[1..]);
                let dims = given.shape.iter().map(|&extent| extent as i64);
                model = model.typed_input(&name, data_type(given.data.dtype()), dims);
                inputs.push(given);
                names.push(name);
            }
            "out" => outputs.push(values(&words[1..])),
            other => panic!("a line of kind {other}"),
        }
    }
    let operator = if is_onnx {
        operator.to_owned()
    } else {
        model.0.opset_import.push(OperatorSetIdProto {
            domain: domain.into(),
            version,
        });
        format!("{domain}.{operator}")
    };
    let made: Vec<String> = (0..outputs.len()).map(|i| format!("y{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let made: Vec<&str> = made.iter().map(String::as_str).collect();
    model = model.node(&operator, &names, &made, attributes);
    for output in made {
        model = model.output(output);
    }
    (model, inputs, outputs)
}

fn agree(found: &[Values], wanted: &[Values], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found.ty(), wanted.ty(), "{what}");
        if !wanted.data.dtype().is_float() {
            assert_eq!(found, wanted, "{what}");
            continue;
        }
        let wanted = wanted.to_f64();
        let greatest = wanted.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        for (i, (found, wanted)) in found.to_f64().into_iter().zip(wanted).enumerate() {
            let close = (found - wanted).abs() <= TOLERANCE * greatest;
            assert!(close, "{what}: element {i} is {found}, {wanted} wanted");
        }
    }
}

#[test]
fn operators_agree_with_onnx_runtime() {
    let text = include_str!("onnxruntime/cases.txt");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut starts: Vec<usize> = (0..lines.len())
        .filter(|&i| lines[i].starts_with("case "))
        .collect();
    starts.push(lines.len());
    assert!(starts.len() > 40);
    let mut problems = vec![];
    let written = std::cell::Cell::new(0);
    for ends in starts.windows(2) {
        let lines = &lines[ends[0]..ends[1]];
        let what = format!("line {}: {}", ends[0] + 1, lines[0]);
        let (model, inputs, wanted) = case(lines);
        let graph = match import::onnx(&model.bytes(), &Options::default()) {
            Ok(graph) => graph,
            Err(error) => {
                problems.push(format!("{what}: {error}"));
                continue;
            }
        };
        let run = || {
            verify(&graph).unwrap();
            agree(&reference::run(&graph, &inputs).unwrap(), &wanted, &what);
            let graph = optimize::run(graph.clone(), &optimize::Options::default()).unwrap();
            agree(&reference::run(&graph, &inputs).unwrap(), &wanted, &what);
            if let Some(again) = written_and_read(&graph) {
                written.set(written.get() + 1);
                agree(
                    &reference::run(&again, &inputs).unwrap(),
                    &wanted,
                    &format!("{what}, written"),
                );
            }
        };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            problems.push(format!("{what}: disagrees"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(
        written.get() > WRITTEN,
        "only {} of the cases have a form in ONNX",
        written.get()
    );
}

/// Most cases come back as they were written: all but those with bounds, trees, tables, and codes of their own.
const WRITTEN: usize = 80;

/// The graph written as an ONNX model and read again, where all of it has a form there.
fn written_and_read(graph: &FloatGraph) -> Option<FloatGraph> {
    let options = quantize::Options {
        precision: Precision::F32,
        ..quantize::Options::default()
    };
    let quantized = quantize::run(graph.clone(), &NoSamples, &options, &|_, _, _| ()).ok()?;
    match emit::onnx(&quantized.quant, "") {
        Ok(bytes) => Some(import::onnx(&bytes, &Options::default()).unwrap()),
        Err(EmitError::NotOnnx(_)) => None,
        Err(other) => panic!("{other}"),
    }
}
