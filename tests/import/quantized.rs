//! Element types, casts and quantization: what models may say of them, and what is refused.

use half::f16;
use tinsmith::import::{self, Options};
use tinsmith::ir::FloatGraph;
use tinsmith::ir::verify::verify;
use tinsmith::op::Op;
use tinsmith::op::tensor::{DType, Data, Narrow, Values};
use tinsmith::{quantize, reference};
use tinsmith_proto::OperatorSetIdProto;
use tinsmith_proto::tensor_proto::DataType;

use super::onnx::{Onnx, int, word};
use super::refused::refused;

fn import(model: &Onnx) -> FloatGraph {
    let graph = import::onnx(&model.bytes(), &Options::default()).unwrap();
    verify(&graph).unwrap();
    graph
}

fn run(model: &Onnx, inputs: &[Values]) -> Values {
    reference::run(&import(model), inputs).unwrap().remove(0)
}

fn f32s(elements: &[f32]) -> Values {
    Values::f32([elements.len()], elements.to_vec())
}

fn bytes(elements: &[u8]) -> Values {
    Values::new([elements.len()], Data::U8(elements.to_vec()))
}

fn narrow(kind: Narrow, shape: &[usize], codes: &[u8]) -> Values {
    Values::new(shape, Data::Narrow(kind, codes.to_vec()))
}

/// A convolution as NNCF writes it: a range for its input, one for each channel of its weights.
fn of_nncf(levels: i64, low: f32) -> Onnx {
    let ends = |values: &[f32]| Values::f32([values.len(), 1, 1, 1], values.to_vec());
    let fake = "org.openvinotoolkit.FakeQuantize";
    let mut model = Onnx::new(13);
    model.0.opset_import.push(OperatorSetIdProto {
        domain: "org.openvinotoolkit".into(),
        version: 1,
    });
    model
        .input("x", [1, 2, 1, 2])
        .constant("low", &Values::f32([1], vec![low]))
        .constant("high", &Values::f32([1], vec![1.27]))
        .constant("w", &Values::f32([2, 2, 1, 1], vec![0.5, -1.0, 0.035, 9.0]))
        .constant("w_low", &ends(&[-1.27, -2.54]))
        .constant("w_high", &ends(&[1.27, 2.54]))
        .node(
            fake,
            &["x", "low", "high", "low", "high"],
            &["xq"],
            vec![int("levels", levels)],
        )
        .node(
            fake,
            &["w", "w_low", "w_high", "w_low", "w_high"],
            &["wq"],
            vec![int("levels", 255)],
        )
        .node("Conv", &["xq", "wq"], &["c"], vec![])
        .node(
            fake,
            &["c", "y_low", "y_high", "y_low", "y_high"],
            &["y"],
            vec![int("levels", 256)],
        )
        .constant("y_low", &Values::f32([], vec![-5.12]))
        .constant("y_high", &Values::f32([], vec![5.08]))
        .output("y")
}

#[test]
fn fake_quantization_is_quantization() {
    let x = [0.333, -2.0, 1.27, 0.017];
    // The formula of the page, in f64.
    let fake = |x: f64, low: f64, high: f64, levels: f64| {
        let level = ((x.clamp(low, high) - low) / (high - low) * (levels - 1.0)).round_ties_even();
        low + level * (high - low) / (levels - 1.0)
    };
    let xs = x.map(|x| fake(x, -1.28, 1.27, 256.0));
    let weights = [[0.5, -1.0], [0.035, 9.0]];
    let mut wanted = Vec::new();
    for (row, high) in weights.iter().zip([1.27, 2.54]) {
        let row = row.map(|w| fake(w, -high, high, 255.0));
        for column in 0..2 {
            wanted.push(fake(
                row[0] * xs[column] + row[1] * xs[2 + column],
                -5.12,
                5.08,
                256.0,
            ));
        }
    }
    let model = of_nncf(256, -1.28);
    let found = run(&model, &[Values::f32([1, 2, 1, 2], x.map(|x| x as f32).to_vec())]).to_f64();
    for (found, wanted) in found.iter().zip(&wanted) {
        assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
    }
    // It is taken as it stands: nothing is calibrated.
    let graph = tinsmith::load(&model.bytes(), &tinsmith::Options::default()).unwrap();
    let target = tinsmith::target::Target::builtin("cortex-a").unwrap();
    let options = tinsmith::Options::default();
    let artifact =
        tinsmith::build(&target, graph, &tinsmith::ir::NoSamples, &options, &|_, _, _| ()).unwrap();
    let params = |tensor| artifact.quant.tensors[tensor].params().unwrap();
    let input = params(artifact.quant.inputs[0]);
    assert!(
        (input.scale - 0.01).abs() < 1e-8 && input.zero_point == 0,
        "{input:?}"
    );
    let output = params(artifact.quant.outputs[0]);
    assert!(
        (output.scale - 0.04).abs() < 1e-8 && output.zero_point == 0,
        "{output:?}"
    );

    refused(
        &of_nncf(255, -1.27),
        &["256 `levels` of what is computed wanted, 255 found"],
    );
    refused(
        &of_nncf(300, -1.28),
        &["from 2 to 256 `levels` wanted, 300 found"],
    );
    refused(
        &of_nncf(256, -1.284),
        &["a range one of whose levels is 0 wanted"],
    );
    refused(&of_nncf(256, 0.1), &["a range one of whose levels is 0 wanted"]);
}

#[test]
fn a_cast_names_its_type_in_old_opsets() {
    let model = |opset, to| {
        Onnx::new(opset)
            .input("x", [2])
            .node("Cast", &["x"], &["y"], vec![to])
            .output("y")
    };
    let x = f32s(&[1.5, -2.75]);
    let wanted = Values::new([2], Data::F16([1.5, -2.75].map(f16::from_f32).to_vec()));
    for old in [1, 5] {
        let found = run(&model(old, word("to", "FLOAT16")), std::slice::from_ref(&x));
        assert_eq!(found, wanted);
    }
    for new in [6, 9, 13, 19, 25] {
        let found = run(&model(new, int("to", 10)), std::slice::from_ref(&x));
        assert_eq!(found, wanted);
    }
    refused(
        &model(5, word("to", "NUMBER")),
        &["an element type wanted, `NUMBER` found"],
    );
    refused(&model(13, int("to", 8)), &["string found"]);
}

#[test]
fn a_cast_may_say_what_lies_beyond_the_ends() {
    let model = |attributes| {
        Onnx::new(25)
            .input("x", [3])
            .node("Cast", &["x"], &["y"], attributes)
            .output("y")
    };
    let x = f32s(&[500.0, 1.5, -500.0]);
    let cast = |attributes| run(&model(attributes), std::slice::from_ref(&x));
    let e4m3 = || int("to", DataType::Float8e4m3fn as i64);
    let wanted = narrow(Narrow::F8E4M3Fn, &[3], &[0x7e, 0x3c, 0xfe]);
    assert_eq!(cast(vec![e4m3()]), wanted);
    let wanted = narrow(Narrow::F8E4M3Fn, &[3], &[0x7f, 0x3c, 0xff]);
    assert_eq!(cast(vec![e4m3(), int("saturate", 0)]), wanted);
    let e8m0 = || int("to", DataType::Float8e8m0 as i64);
    for (mode, codes) in [
        ("up", [136, 128, 255]),
        ("down", [135, 127, 255]),
        ("nearest", [136, 128, 255]),
    ] {
        let found = cast(vec![e8m0(), word("round_mode", mode)]);
        assert_eq!(found, narrow(Narrow::F8E8M0, &[3], &codes), "{mode}");
    }
    refused(
        &model(vec![e8m0(), word("round_mode", "even")]),
        &["`round_mode` of up, down or nearest wanted, `even` found"],
    );
}

#[test]
fn casts_may_follow_another_tensor() {
    let model = Onnx::new(19)
        .input("x", [2])
        .constant("like", &narrow(Narrow::F8E5M2, &[1], &[0]))
        .node("CastLike", &["x", "like"], &["y"], vec![int("saturate", 0)])
        .output("y");
    let wanted = narrow(Narrow::F8E5M2, &[2], &[0x7c, 0x3c]);
    assert_eq!(run(&model, &[f32s(&[1e6, 1.0])]), wanted);
}

fn quantized(opset: i64, scale: &Values, zero_point: &Values) -> Onnx {
    Onnx::new(opset)
        .input("x", [4])
        .constant("s", scale)
        .constant("z", zero_point)
        .node("QuantizeLinear", &["x", "s", "z"], &["y"], vec![int("axis", 0)])
        .output("y")
}

#[test]
fn scales_that_are_no_positive_numbers_are_refused() {
    for scale in [0.0, -0.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let reason = ["above 0 and below infinity wanted", " found"];
        refused(&quantized(13, &f32s(&[scale]), &bytes(&[0])), &reason);
        let scales = f32s(&[1.0, scale, 1.0, 1.0]);
        refused(&quantized(13, &scales, &bytes(&[0; 4])), &reason);
        let dequantized = Onnx::new(13)
            .typed_input("x", DataType::Uint8, [4])
            .constant("s", &f32s(&[scale]))
            .node("DequantizeLinear", &["x", "s"], &["y"], vec![])
            .output("y");
        refused(&dequantized, &reason);
        let product = Onnx::new(13)
            .typed_input("x", DataType::Uint8, [2, 2])
            .constant("s", &f32s(&[scale]))
            .constant("z", &bytes(&[3]))
            .node(
                "QLinearMatMul",
                &["x", "s", "z", "x", "s", "z", "s", "z"],
                &["y"],
                vec![],
            )
            .output("y");
        refused(&product, &["QLinearMatMul `Y`", reason[0]]);
    }
}

#[test]
fn zero_points_are_of_the_quantized_type() {
    let model = |zero: Values| {
        Onnx::new(21)
            .typed_input("x", DataType::Uint8, [4])
            .constant("s", &f32s(&[0.5]))
            .constant("z", &zero)
            .node("DequantizeLinear", &["x", "s", "z"], &["y"], vec![])
            .output("y")
    };
    refused(
        &model(Values::new([1], Data::I8(vec![0]))),
        &["`x` of i8 wanted, u8[4] found"],
    );
    refused(&model(f32s(&[0.0])), &["f32[1] found"]);
    refused(&model(bytes(&[0, 0])), &["`zero_point` as u8[1] wanted"]);
    let zero = Values::new([1], Data::I64(vec![0]));
    refused(&quantized(13, &f32s(&[1.0]), &zero), &["i64 found"]);
    let model = Onnx::new(21)
        .input("x", [4])
        .constant("s", &f32s(&[0.5]))
        .constant("z", &bytes(&[0]))
        .node(
            "QuantizeLinear",
            &["x", "s", "z"],
            &["y"],
            vec![int("output_dtype", DataType::Int8 as i64)],
        )
        .output("y");
    refused(&model, &["a zero point of output_dtype i8 wanted, u8 found"]);
}

#[test]
fn integers_saturate_at_their_own_ends() {
    let x = f32s(&[-1e9, -1.5, 1.5, 1e9]);
    for (zero, wanted) in [
        (Data::I8(vec![1]), Data::I8(vec![-128, -1, 3, 127])),
        (Data::U8(vec![1]), Data::U8(vec![0, 0, 3, 255])),
        (Data::I16(vec![1]), Data::I16(vec![-32768, -1, 3, 32767])),
        (Data::U16(vec![1]), Data::U16(vec![0, 0, 3, 65535])),
        (
            Data::Narrow(Narrow::I4, vec![1]),
            Data::Narrow(Narrow::I4, vec![8, 15, 3, 7]),
        ),
        (
            Data::Narrow(Narrow::U4, vec![1]),
            Data::Narrow(Narrow::U4, vec![0, 0, 3, 15]),
        ),
        (
            Data::Narrow(Narrow::I2, vec![1]),
            Data::Narrow(Narrow::I2, vec![2, 3, 1, 1]),
        ),
        (
            Data::Narrow(Narrow::U2, vec![1]),
            Data::Narrow(Narrow::U2, vec![0, 0, 3, 3]),
        ),
    ] {
        let model = quantized(25, &f32s(&[1.0]), &Values::new([1], zero));
        let found = run(&model, std::slice::from_ref(&x));
        assert_eq!(found, Values::new([4], wanted));
    }
}

/// `x · weights`, `[2, 3]`, with the weights behind `DequantizeLinear`.
fn product_with(
    weights: &Values,
    scale: &Values,
    zero_point: &Values,
    axis: i64,
    block: Option<i64>,
) -> Onnx {
    let mut attributes = vec![int("axis", axis)];
    attributes.extend(block.map(|block| int("block_size", block)));
    Onnx::new(21)
        .input("x", [1, 2])
        .constant("w", weights)
        .constant("s", scale)
        .constant("z", zero_point)
        .node("DequantizeLinear", &["w", "s", "z"], &["d"], attributes)
        .node("MatMul", &["x", "d"], &["y"], vec![])
        .output("y")
}

#[test]
fn stored_integers_of_four_bits_are_stored_in_eight() {
    let weights = narrow(Narrow::I4, &[2, 3], &[0x8, 0xf, 0x0, 0x1, 0x7, 0x2]);
    let zeros = narrow(Narrow::I4, &[3], &[0, 1, 0]);
    let model = product_with(&weights, &f32s(&[1.0, 2.0, 0.5]), &zeros, 1, None);
    let graph = import(&model);
    let dequantize = graph
        .nodes
        .iter()
        .find(|node| matches!(node.op, Op::DequantizeLinear(_)));
    let codes = &graph.tensors[dequantize.unwrap().inputs[0]];
    let wanted = Data::I8(vec![-8, -1, 0, 1, 7, 2]);
    assert_eq!(codes.data.as_ref().unwrap().data, wanted);
    let x = Values::f32([1, 2], vec![1.0, 10.0]);
    let wanted = Values::f32([1, 3], vec![2.0, 116.0, 10.0]);
    assert_eq!(run(&model, &[x]), wanted);
}

#[test]
fn weights_in_blocks_become_reals() {
    let weights = narrow(Narrow::U4, &[2, 3], &[0, 1, 2, 3, 4, 5]);
    let scale = Values::f32([2, 2], vec![1.0, 1.001_953_1, 0.5, 0.500_976_56]);
    let zeros = narrow(Narrow::U4, &[2, 2], &[1, 1, 2, 2]);
    let model = product_with(&weights, &scale, &zeros, 1, Some(2));
    let graph = import(&model);
    // No part down to the 255th of the lesser scale has both as multiples.
    assert!(!quantize::is_quantized(&graph));
    assert_eq!(graph.nodes.len(), 1);
    let x = Values::f32([1, 2], vec![1.0, 10.0]);
    // [[−1, 0, 1.0019531], [0.5, 1, 1.5029297]].
    let wanted = Values::f32([1, 3], vec![4.0, 10.0, 16.03125]);
    assert_eq!(run(&model, &[x]), wanted);
    let model = product_with(&weights, &scale, &zeros, 1, Some(3));
    refused(&model, &["`scale` as f32[2,1] wanted, f32[2,2] found"]);
    // Too few scales, along either axis.
    for shape in [[2, 1], [1, 2]] {
        let scale = Values::f32(shape, vec![1.0, 2.0]);
        let zeros = narrow(Narrow::U4, &shape, &[0, 0]);
        let model = product_with(&weights, &scale, &zeros, 1, Some(2));
        let found = format!("`scale` as f32[2,2] wanted, f32[{},{}] found", shape[0], shape[1]);
        refused(&model, &[&found]);
    }
}

#[test]
fn nothing_is_quantized_to_nothing() {
    let model = Onnx::new(13)
        .input("x", [0])
        .node("DynamicQuantizeLinear", &["x"], &["y", "scale", "zero"], vec![])
        .output("y");
    assert_eq!(run(&model, &[f32s(&[])]), bytes(&[]));
}

#[test]
fn quantization_computes_in_the_precision_asked_for() {
    // 2049 is no f16; the scale of 1 gives either itself or 2048.
    let x = Values::new([1], Data::F32(vec![2049.0]));
    let zero = Values::new([], Data::I16(vec![0]));
    for (precision, scale, wanted) in [
        (0, Data::F32(vec![1.0]), 2049),
        (10, Data::F32(vec![1.0]), 2048),
        (1, Data::F16(vec![f16::ONE]), 2049),
        (0, Data::F16(vec![f16::ONE]), 2048),
    ] {
        let model = Onnx::new(23)
            .input("x", [1])
            .constant("s", &Values::new([], scale))
            .constant("z", &zero)
            .node(
                "QuantizeLinear",
                &["x", "s", "z"],
                &["y"],
                vec![int("precision", precision)],
            )
            .output("y");
        let found = run(&model, std::slice::from_ref(&x));
        assert_eq!(found.data, Data::I16(vec![wanted]), "precision {precision}");
    }
    let model = Onnx::new(23)
        .typed_input("x", DataType::Int8, [2])
        .constant("s", &f32s(&[0.1]))
        .node(
            "DequantizeLinear",
            &["x", "s"],
            &["y"],
            vec![int("output_dtype", DataType::Bfloat16 as i64)],
        )
        .output("y");
    let found = run(&model, &[Values::new([2], Data::I8(vec![1, -128]))]);
    assert_eq!(found.data.dtype(), DType::BF16);
    assert_eq!(found.to_f64(), [0.10009765625, -12.8125]);
}

/// A layer over `x` whose parameters are its inputs: codes in, codes out.
fn quantized_layer(operator: &str, weights: &Values) -> Onnx {
    let rank = weights.shape.len();
    let channels = if rank == 4 {
        weights.shape[1]
    } else {
        weights.shape[0]
    };
    let dims: Vec<i64> = match rank {
        4 => vec![1, channels as i64, 5, 5],
        _ => vec![1, channels as i64],
    };
    let bias = Values::new([2], Data::I32(vec![100, -200]));
    let mut inputs = vec!["x", "xs", "z", "w", "ws", "wz", "ys", "z"];
    if rank == 4 {
        inputs.push("b");
    }
    Onnx::new(13)
        .typed_input("x", DataType::Uint8, dims)
        .constant("xs", &Values::f32([], vec![0.03]))
        .constant("z", &Values::new([], Data::U8(vec![120])))
        .constant("w", weights)
        .constant("ws", &f32s(&[0.01, 0.02]))
        .constant("wz", &Values::new([2], Data::I8(vec![0, 0])))
        .constant("ys", &Values::f32([], vec![0.05]))
        .constant("b", &bias)
        .node(operator, &inputs, &["y"], vec![])
        .output("y")
}

#[test]
fn quantized_operators_are_taken_as_they_stand() {
    let codes = |shape: &[usize]| {
        let count = shape.iter().product::<usize>() as i8;
        Values::new(shape, Data::I8((0..count).map(|i| i * 5 - 40).collect()))
    };
    for (operator, weights) in [
        ("QLinearConv", codes(&[2, 3, 2, 2])),
        ("QLinearMatMul", codes(&[3, 2])),
    ] {
        let model = quantized_layer(operator, &weights);
        let options = tinsmith::Options::default();
        let graph = tinsmith::load(&model.bytes(), &options).unwrap();
        let quant = quantize::run(graph, &tinsmith::ir::NoSamples, &options.quantize, &|_, _, _| ())
            .unwrap()
            .quant;
        let layers = quant
            .nodes
            .iter()
            .filter(|node| matches!(node.op, Op::Conv2d(_) | Op::Dense(_)));
        assert_eq!(layers.count(), 1, "{operator}");
        let computes = |op: &Op| !matches!(op, Op::Transpose(_) | Op::Reshape(_));
        assert_eq!(
            quant.nodes.iter().filter(|node| computes(&node.op)).count(),
            1,
            "{operator}"
        );
    }
}
