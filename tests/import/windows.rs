//! Windows and resampling: what is refused by name, and f32 programs against the reference executor.

use tinsmith::import::{self, Options};
use tinsmith::ir::NoSamples;
use tinsmith::op::tensor::{DType, Data, Values};

use tinsmith::quantize::Precision;
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith::{optimize, reference};
use tinsmith_proto::AttributeProto;

use super::onnx::{Onnx, float, int, ints, word};
use super::refused::refused;
use crate::blobs::Random;

/// A node on `x` with weights `w [2, 2, 3, 3]`, refused with these parts in the text.
fn node(op: &str, inputs: &[&str], attributes: Vec<AttributeProto>, parts: &[&str]) {
    let scales = |values: [f32; 4]| Values::f32([4], values.to_vec());
    let model = Onnx::new(22)
        .input("x", [1, 2, 4, 4])
        .zeros("w", &[2, 2, 3, 3])
        .constant("huge", &scales([1.0, 1.0, 1e9, 1.0]))
        .constant("nan", &scales([1.0, 1.0, f32::NAN, 1.0]))
        .constant("none", &scales([1.0, 1.0, 0.0, 1.0]))
        .constant("twice", &scales([1.0, 1.0, 2.0, 2.0]))
        .zeros("points", &[1, 2, 2, 3])
        .node(op, inputs, &["y"], attributes)
        .output("y");
    refused(&model, &[&[format!("{op} `Y`").as_str()], parts].concat());
}

#[test]
fn windows_out_of_range_are_refused() {
    let kernel = || ints("kernel_shape", &[2, 2]);
    for (op, inputs) in [("Conv", &["x", "w"][..]), ("ConvTranspose", &["x", "w"])] {
        for (name, values) in [
            ("strides", [0, 1]),
            ("dilations", [1, 0]),
            ("strides", [1, i64::MAX]),
        ] {
            node(
                op,
                inputs,
                vec![ints(name, &values)],
                &[name, "from 1 to 65535 wanted"],
            );
        }
        node(op, inputs, vec![int("group", 0)], &["`group` of at least 1"]);
        node(op, inputs, vec![int("group", -1)], &["`group` of at least 1"]);
        let most = ints("pads", &[65_536, 0, 0, 0]);
        node(op, inputs, vec![most], &["`pads` of 4 values from 0 to 65535"]);
    }
    for op in ["MaxPool", "AveragePool"] {
        node(
            op,
            &["x"],
            vec![ints("kernel_shape", &[0, 2])],
            &["`kernel_shape` of 2"],
        );
        let far = vec![kernel(), ints("dilations", &[65_535, 65_535])];
        node(op, &["x"], far, &["an input that holds the window"]);
    }
    let transposed = |attributes, parts: &[&str]| node("ConvTranspose", &["x", "w"], attributes, parts);
    transposed(vec![ints("output_padding", &[1, 0])], &["`output_padding` below"]);
    transposed(vec![ints("pads", &[4, 0, 4, 0])], &["leave something"]);
    transposed(
        vec![ints("output_shape", &[0, 3])],
        &["`output_shape` of 2 positive"],
    );
    transposed(
        vec![ints("output_shape", &[3])],
        &["`output_shape` of 2 positive"],
    );
    let large = vec![ints("output_shape", &[i64::MAX, 3])];
    transposed(large, &["`output_shape` of 2 positive"]);
    let wide = vec![ints("strides", &[65_535, 65_535])];
    transposed(wide, &["an output of at most 4 GiB"]);
}

#[test]
fn resizing_out_of_range_is_refused() {
    let linear = || vec![word("mode", "linear")];
    for scales in ["huge", "nan", "none"] {
        node(
            "Resize",
            &["x", "", scales],
            linear(),
            &["an output of up to 65535"],
        );
    }
    node("Resize", &["x"], linear(), &["scales of 4 axes wanted, 0 found"]);
    node(
        "Resize",
        &["x", "", "twice"],
        vec![ints("axes", &[2])],
        &["scales of 1 axes wanted, 4 found"],
    );
    let antialias = vec![int("antialias", 1)];
    node(
        "Resize",
        &["x", "", "twice"],
        antialias,
        &["mode linear or cubic"],
    );
    node(
        "Resize",
        &["x", "", "twice"],
        vec![word("mode", "box")],
        &["box found"],
    );
    node(
        "GridSample",
        &["x", "points"],
        vec![],
        &["as many coordinates wanted"],
    );
    node(
        "GridSample",
        &["x", "points"],
        vec![word("mode", "box")],
        &["box found"],
    );
}

/// One node over random reals, compiled in f32: its results are the reference's.
#[track_caller]
fn agrees(op: &str, shape: &[i64], weights: &[(&str, Values)], attributes: Vec<AttributeProto>) {
    let random = &mut Random(shape.len() as u64);
    let mut model = Onnx::new(19).input("x", shape.iter().copied());
    let mut inputs = vec!["x"];
    for (name, values) in weights {
        if !name.is_empty() {
            model = model.constant(name, values);
        }
        inputs.push(name);
    }
    let model = model.node(op, &inputs, &["y"], attributes).output("y");
    let graph = import::onnx(&model.bytes(), &Options::default()).unwrap();
    let shape: Vec<usize> = shape.iter().map(|&extent| extent as usize).collect();
    let x = Values::f32(shape.clone(), reals(random, shape.iter().product()));
    let wanted = reference::run(&graph, std::slice::from_ref(&x)).unwrap();

    let target = Target::builtin("host-x86-64").unwrap();
    let mut options = tinsmith::Options::default();
    options.quantize.precision = Precision::F32;
    let graph = optimize::run(graph, &options.optimize).unwrap();
    let artifact = tinsmith::build(&target, graph, &NoSamples, &options, &|_, _, _| ()).unwrap();
    let mut simulator = Simulator::new(&artifact.blob).unwrap();
    let stored = edge::store_all(simulator.blob(), &[x]).unwrap();
    let inputs: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
    let outputs = simulator.run(&inputs).unwrap();
    let found = edge::load_all(simulator.blob(), &outputs).unwrap();
    assert_eq!(found, wanted, "{op}");
}

fn reals(random: &mut Random, count: usize) -> Vec<f32> {
    (0..count)
        .map(|_| random.range(-999, 999) as f32 / 128.0)
        .collect()
}

#[test]
fn windows_in_f32_are_the_reference() {
    let random = &mut Random(1);
    let mut weights = |shape: &[usize]| Values::f32(shape, reals(random, shape.iter().product()));
    let (cube, bias) = (weights(&[4, 1, 2, 3, 2]), weights(&[4]));
    let constants = [("w", cube), ("b", bias)];
    let attributes = vec![
        int("group", 2),
        ints("pads", &[1, 0, 1, 0, 1, 0]),
        ints("strides", &[2, 1, 1]),
    ];
    agrees("Conv", &[2, 2, 4, 4, 3], &constants, attributes);
    agrees("Conv", &[3, 2, 5, 4], &[("w", weights(&[3, 2, 3, 2]))], vec![]);
    let (line, sheet) = (weights(&[2, 3, 3]), weights(&[4, 3, 3, 2]));
    agrees(
        "ConvTranspose",
        &[2, 2, 5],
        &[("w", line)],
        vec![ints("strides", &[3])],
    );
    let attributes = vec![
        int("group", 2),
        ints("strides", &[2, 3]),
        ints("dilations", &[1, 2]),
        ints("output_padding", &[1, 2]),
        ints("pads", &[1, 0, 2, 1]),
    ];
    agrees("ConvTranspose", &[1, 4, 3, 4], &[("w", sheet)], attributes);
    for op in ["MaxPool", "AveragePool"] {
        let kernel = || ints("kernel_shape", &[2, 3, 2]);
        let attributes = vec![
            kernel(),
            ints("pads", &[1, 1, 0, 0, 1, 1]),
            ints("strides", &[1, 2, 2]),
        ];
        agrees(op, &[2, 3, 4, 5, 4], &[], attributes);
        agrees(
            op,
            &[2, 3, 6, 7, 5],
            &[],
            vec![kernel(), int("ceil_mode", 1), ints("dilations", &[2, 1, 2])],
        );
        agrees(op, &[3, 2, 5, 4], &[], vec![ints("kernel_shape", &[2, 2])]);
    }
    agrees("GlobalMaxPool", &[2, 3, 4, 3, 2], &[], vec![]);
    agrees("GlobalAveragePool", &[2, 3, 4, 3, 2], &[], vec![]);
}

#[test]
fn resizing_in_f32_is_the_reference() {
    let none = || ("", Values::f32([0], vec![]));
    let scales = |values: &[f32]| ("scales", Values::f32([values.len()], values.to_vec()));
    for mode in ["nearest", "linear", "cubic"] {
        let attributes = || vec![word("mode", mode)];
        for factors in [[2.0, 3.0], [0.6, 1.7], [1.0, 20.0]] {
            let factors = scales(&[1.0, 1.0, factors[0], factors[1]]);
            agrees("Resize", &[2, 2, 5, 6], &[none(), factors], attributes());
        }
    }
    for mode in ["linear", "cubic"] {
        let attributes = vec![word("mode", mode), int("antialias", 1), ints("axes", &[3, 2])];
        agrees(
            "Resize",
            &[1, 2, 7, 9],
            &[none(), scales(&[0.4, 0.7])],
            attributes,
        );
    }
    let region = Values::f32([4], vec![-0.25, 0.3, 0.75, 1.4]);
    let attributes = vec![
        word("mode", "linear"),
        word("coordinate_transformation_mode", "tf_crop_and_resize"),
        float("extrapolation_value", 7.0),
        ints("axes", &[2, 3]),
    ];
    agrees(
        "Resize",
        &[1, 2, 6, 5],
        &[("roi", region), scales(&[1.5, 2.0])],
        attributes,
    );
}

#[test]
fn integers_are_resized_as_reals_and_rounded() {
    let x = Values::new([1, 1, 1, 3], Data::I8(vec![-128, 1, 127]));
    let model = Onnx::new(19)
        .typed_input("x", super::onnx::data_type(DType::I8), [1, 1, 1, 3])
        .constant("scales", &Values::f32([4], vec![1.0, 1.0, 1.0, 2.0]))
        .node(
            "Resize",
            &["x", "", "scales"],
            &["y"],
            vec![word("mode", "cubic")],
        )
        .output("y");
    let graph = import::onnx(&model.bytes(), &Options::default()).unwrap();
    let found = reference::run(&graph, &[x]).unwrap().remove(0);
    // By hand, a = −0.75: weights at 1/4 and 3/4, edges repeated, overshoot saturated.
    let weights = [-0.10546875, 0.87890625, 0.26171875, -0.03515625];
    let at = |i: i64| [-128.0, 1.0, 127.0][i.clamp(0, 2) as usize];
    let wanted: Vec<i8> = (0..6)
        .map(|i: i64| {
            let (first, ahead) = ((i - 1).div_euclid(2), i % 2 == 1);
            let taps =
                (0..4).map(|t| if ahead { weights[t] } else { weights[3 - t] } * at(first - 1 + t as i64));
            let sum: f64 = taps.sum();
            sum.round().clamp(-128.0, 127.0) as i8
        })
        .collect();
    assert_eq!(found.data, Data::I8(wanted));
}
