//! Float models with their quantization parameters in a file beside them.

use tinsmith::import::{Encodings, EncodingsError};
use tinsmith::ir::NoSamples;
use tinsmith::op::tensor::{Data, Values};
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith::{Options, import};
use tinsmith_proto::{Message, ModelProto};

use crate::import::onnx::{Onnx, int};

/// `y = relu(conv(x) + bias)`, then a product with `v`: weights per channel, and per tensor in four bits.
fn model() -> Onnx {
    let weights = vec![0.25, -0.5, 1.0, 0.125, 0.0625, 3.0];
    Onnx::new(11)
        .input("x", [1, 3, 1, 2])
        .constant("w", &Values::f32([2, 3, 1, 1], weights))
        .constant("b", &Values::f32([2], vec![0.5, -0.25]))
        .constant(
            "v",
            &Values::f32([4, 2], vec![1.0, -2.0, 0.5, 9.0, -9.0, 0.3, 0.75, 1.25]),
        )
        .node("Conv", &["x", "w", "b"], &["c"], vec![])
        .node("Relu", &["c"], &["r"], vec![])
        .node("Flatten", &["r"], &["f"], vec![int("axis", 1)])
        .node("MatMul", &["f", "v"], &["y"], vec![])
        .output("y")
}

/// The first form, with lists by name.
const BY_NAME: &str = r#"{"version": "0.6.1",
    "activation_encodings": {
        "x": [{"bitwidth": 8, "dtype": "int", "is_symmetric": "True", "offset": -128, "scale": 0.03125}],
        "r": [{"bitwidth": 8, "dtype": "int", "is_symmetric": "False", "offset": 0, "scale": 0.0625}],
        "y": [{"bitwidth": 8, "dtype": "int", "is_symmetric": "False", "min": -12.75, "max": 19.125}]},
    "param_encodings": {
        "b": [{"bitwidth": 32, "dtype": "int", "is_symmetric": "True", "offset": 0, "scale": 0.001}],
        "w": [{"bitwidth": 8, "dtype": "int", "is_symmetric": "True", "offset": -128, "scale": 0.015625},
              {"bitwidth": 8, "dtype": "int", "is_symmetric": "True", "offset": -128, "scale": 0.03125}],
        "v": [{"bitwidth": 4, "dtype": "int", "is_symmetric": "True", "offset": -8, "scale": 0.5}]}}"#;

/// The second one, with lists of encodings.
const BY_LIST: &str = r#"{"version": "1.0.0",
    "activation_encodings": [
        {"name": "x", "bw": 8, "dtype": "INT", "enc_type": "PER_TENSOR", "is_sym": true, "offset": [-128.0], "scale": [0.03125]},
        {"name": "r", "bw": 8, "dtype": "INT", "enc_type": "PER_TENSOR", "is_sym": false, "offset": [0], "scale": [0.0625]},
        {"name": "y", "bw": 8, "dtype": "INT", "enc_type": "PER_TENSOR", "is_sym": false, "offset": [-102], "scale": [0.125]}],
    "param_encodings": [
        {"name": "w", "bw": 8, "dtype": "INT", "enc_type": "PER_CHANNEL", "is_sym": true, "offset": [-128, -128], "scale": [0.015625, 0.03125]},
        {"name": "v", "bw": 4, "dtype": "INT", "enc_type": "PER_TENSOR", "is_sym": true, "offset": [-8], "scale": [0.5]}]}"#;

/// The third one, one list with ONNX's own scales and zero points.
const BY_TYPE: &str = r#"{"version": "2.0.0", "encodings": [
        {"name": "x", "output_dtype": "uint8", "y_scale": 0.03125, "y_zero_point": 128},
        {"name": "r", "output_dtype": "uint8", "y_scale": 0.0625},
        {"name": "y", "output_dtype": "int8", "y_scale": 0.125, "y_zero_point": -26},
        {"name": "b", "output_dtype": "int32", "y_scale": 0.001},
        {"name": "c", "output_dtype": "float16"},
        {"name": "w", "output_dtype": "int8", "y_scale": [0.015625, 0.03125], "y_zero_point": null, "axis": 0},
        {"name": "v", "output_dtype": "int4", "y_scale": 0.5, "axis": null, "block_size": null}]}"#;

fn with(text: &str) -> Options {
    Options {
        import: import::Options {
            encodings: Some(Encodings::parse(text).unwrap()),
            ..import::Options::default()
        },
        ..Options::default()
    }
}

fn run(model: &Onnx, options: &Options, x: &[f32]) -> Result<Vec<f32>, String> {
    let target = Target::builtin("cortex-a").unwrap();
    let artifact = tinsmith::compile(&target, &model.bytes(), &NoSamples, options, &|_, _, _| ());
    let artifact = artifact.map_err(|error| error.to_string())?;
    let mut simulator = Simulator::new(&artifact.blob).unwrap();
    let x = Values::f32([1, 3, 1, 2], x.to_vec());
    let stored = edge::store_all(simulator.blob(), &[x]).unwrap();
    let outputs = simulator.run(&[&stored[0]]).unwrap();
    let outputs = edge::load_all(simulator.blob(), &outputs).unwrap();
    Ok(outputs[0].as_f32().unwrap().to_vec())
}

/// What AIMET simulates: every tensor rounded to its steps. All scales are powers of two, so f64 is exact.
fn simulated(x: &[f32]) -> Vec<f32> {
    let round = |value: f64, scale: f64, low: f64, high: f64| {
        (value / scale).round_ties_even().clamp(low, high) * scale
    };
    let x: Vec<f64> = x
        .iter()
        .map(|&x| round(x.into(), 0.03125, -128.0, 127.0))
        .collect();
    let weights = [[0.25, -0.5, 1.0], [0.125, 0.0625, 3.0]];
    let (scales, bias) = ([0.015625, 0.03125], [0.5, -0.25]);
    let mut r = Vec::new();
    for channel in 0..2 {
        for column in 0..2 {
            let weight = |k: usize| round(weights[channel][k], scales[channel], -128.0, 127.0);
            let sum = (0..3).map(|k| x[k * 2 + column] * weight(k)).sum::<f64>() + bias[channel];
            r.push(round(sum.max(0.0), 0.0625, 0.0, 255.0));
        }
    }
    let v = [1.0, -2.0, 0.5, 9.0, -9.0, 0.3, 0.75, 1.25];
    let v = v.map(|v| round(v, 0.5, -8.0, 7.0));
    let product = |column: usize| (0..4).map(|k| r[k] * v[k * 2 + column]).sum::<f64>();
    (0..2)
        .map(|column| round(product(column), 0.125, -102.0, 153.0) as f32)
        .collect()
}

#[test]
fn both_forms_give_what_aimet_simulates() {
    let samples: [[f32; 6]; 4] = [
        [0.1, -0.3, 1.7, 2.9, 0.55, -1.05],
        [3.97, -4.0, 3.97, -4.0, 3.97, 2.0],
        [0.0; 6],
        [1.015, 0.2656, 0.0156, 0.047, 2.0, 0.5],
    ];
    for text in [BY_NAME, BY_LIST, BY_TYPE] {
        for sample in &samples {
            let found = run(&model(), &with(text), sample).unwrap();
            assert_eq!(found, simulated(sample), "{sample:?}");
        }
    }
}

#[test]
fn the_float_model_is_told_from_what_is_quantized() {
    let graph = tinsmith::load(&model().bytes(), &with(BY_NAME)).unwrap();
    assert!(
        graph
            .notes
            .iter()
            .any(|note| note.contains("encodings of 32 bits, 1 of them")),
        "{:?}",
        graph.notes
    );
    let names: Vec<&str> = graph
        .tensors
        .iter()
        .map(|(_, tensor)| tensor.name.as_str())
        .collect();
    assert!(names.contains(&"y") && names.contains(&"r/codes"), "{names:?}");
}

#[test]
fn encodings_that_fit_nothing_are_listed_at_once() {
    let text = BY_LIST
        .replace(r#""name": "r""#, r#""name": "q""#)
        .replace(r#""name": "y", "bw": 8"#, r#""name": "y", "bw": 16"#)
        .replace(r#""name": "w""#, r#""name": "f""#);
    let problems = run(&model(), &with(&text), &[0.0; 6]).unwrap_err();
    let wanted = [
        "encoding `q`: the model has no tensor of this name",
        "encoding `y`: an activation of 8 bits and one scale wanted, 16 bits and 1 found",
        "encoding `f`: a constant of the model wanted, a computed value found",
    ];
    for part in wanted {
        assert!(problems.contains(part), "`{part}` is not in\n{problems}");
    }
    assert_eq!(problems.lines().count(), wanted.len(), "{problems}");
    // Three scales for two channels.
    let text = BY_LIST.replace("-128, -128], \"scale\": [", "-128, -128, -128], \"scale\": [1, ");
    let problem = run(&model(), &with(&text), &[0.0; 6]).unwrap_err();
    assert!(
        problem.contains("output channels wanted, 3 found for [2, 3, 1, 1]"),
        "{problem}"
    );
    // An axis of three for two scales; the same one, counted from the end.
    for (axis, is_found) in [("1", false), ("-5", false), ("9", false), ("-4", true)] {
        let text = BY_TYPE.replace(r#""axis": 0"#, &format!("\"axis\": {axis}"));
        let found = run(&model(), &with(&text), &[0.0; 6]);
        assert_eq!(found.is_ok(), is_found, "{axis}: {found:?}");
    }
    let model = Onnx(ModelProto::decode(&*model_with_own()).unwrap());
    let problem = run(&model, &with(BY_LIST), &[0.0; 6]).unwrap_err();
    assert!(
        problem.contains("a float model wanted beside encodings"),
        "{problem}"
    );
}

/// A model that rounds its output itself.
fn model_with_own() -> Vec<u8> {
    let zero = Values::new([], Data::I8(vec![0]));
    let mut model = model()
        .constant("s", &Values::f32([], vec![0.5]))
        .constant("z", &zero);
    model.graph().output.clear();
    model
        .node("QuantizeLinear", &["y", "s", "z"], &["codes"], vec![])
        .output("codes")
        .bytes()
}

#[test]
fn names_of_the_model_are_left_alone() {
    let x = [0.3, -1.7, 2.2, 0.01, -0.4, 1.5];
    let wanted = run(&model(), &with(BY_NAME), &x).unwrap();
    // Every name that an encoding would give.
    let mut other = model();
    let graph = other.graph();
    let bias = graph.initializer.iter_mut().find(|tensor| tensor.name == "b");
    bias.unwrap().name = "w/scale".into();
    graph.node[0].input[2] = "w/scale".into();
    graph.node[0].output[0] = "r/unrounded".into();
    graph.node[1].input[0] = "r/unrounded".into();
    graph.node[2].output[0] = "x/codes".into();
    graph.node[3].input[0] = "x/codes".into();
    let text = BY_NAME.replace("\"b\":", "\"w/scale\":");
    assert_eq!(run(&other, &with(&text), &x).unwrap(), wanted);
}

#[test]
fn activations_without_an_encoding_are_listed() {
    let start = BY_NAME.find(r#""r": ["#).unwrap();
    let end = BY_NAME.find(r#""y": ["#).unwrap();
    let text = format!("{}{}", &BY_NAME[..start], &BY_NAME[end..]);
    let problems = run(&model(), &with(&text), &[0.0; 6]).unwrap_err();
    assert!(problems.contains("is not quantized"), "{problems}");
    assert!(
        problems.contains("give the tensor an activation encoding of 8 bits"),
        "{problems}"
    );
    assert!(!problems.contains("calibration"), "{problems}");
}

#[test]
fn files_of_another_form_say_what_is_wrong() {
    assert!(matches!(Encodings::parse("{"), Err(EncodingsError::Json(_))));
    for (text, part) in [
        ("[]", "the file: an object with `activation_encodings`"),
        (r#"{"version": "2.0.0"}"#, "the file: an object with"),
        (
            r#"{"encodings": {}}"#,
            "encodings: a list of encodings wanted, {} found",
        ),
        (
            r#"{"encodings": [{"y_scale": 1}]}"#,
            "encodings[0]: an encoding with a `name`",
        ),
        (
            r#"{"encodings": [{"name": "w", "y_scale": 1}]}"#,
            "encoding of `w`: an `output_dtype` such as \"int8\", \"uint8\" or \"float16\" wanted, null found",
        ),
        (
            r#"{"encodings": [{"name": "w", "output_dtype": "int65", "y_scale": 1}]}"#,
            "\"int65\" found",
        ),
        (
            r#"{"encodings": [{"name": "w", "output_dtype": "uint8", "y_scale": 1, "y_zero_point": -1}]}"#,
            "`y_zero_point` within the type",
        ),
        (
            r#"{"encodings": [{"name": "w", "output_dtype": "int4", "y_scale": [[1, 2]], "block_size": 3, "axis": 1}]}"#,
            "without blocks, wanted, 3 found",
        ),
        (
            r#"{"activation_encodings": 3}"#,
            "activation_encodings: an object or a list wanted, 3 found",
        ),
        (
            r#"{"activation_encodings": {"x": 3}}"#,
            "of `x`: a list of encodings wanted, 3 found",
        ),
        (
            r#"{"activation_encodings": [{"bw": 8}]}"#,
            "activation_encodings[0]: an encoding with a `name`",
        ),
        (
            r#"{"activation_encodings": {"x": [{"scale": 1}]}}"#,
            "of `x`: a `bitwidth` from 1 to 32",
        ),
        (
            r#"{"activation_encodings": {"x": [{"bitwidth": 8, "scale": 0, "offset": 0}]}}"#,
            "of `x`: `scale` above 0 and whole `offset`",
        ),
        (
            r#"{"activation_encodings": [], "param_encodings": [{"name": "w", "bw": 4, "enc_type": "PER_BLOCK"}]}"#,
            "param_encodings of `w`: one scale per tensor or per channel",
        ),
    ] {
        let error = Encodings::parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}
