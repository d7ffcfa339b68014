//! Models of other floats than f32, compiled for devices that have no other.

use half::{bf16, f16};
use tinsmith::ir::NoSamples;
use tinsmith::op::tensor::{DType, Data, Values};
use tinsmith::quantize::Precision;
use tinsmith::simulate::{Simulator, edge};
use tinsmith::target::Target;
use tinsmith::{Options, import, load, optimize, reference};
use tinsmith_proto::tensor_proto::DataType;

use crate::import::onnx::{Onnx, data_type, int};

fn weights(dtype: DType) -> Values {
    let data = Data::F32((0..12).map(|i| (i as f32 - 5.0) / 8.0).collect());
    Values::new([4, 3], data.cast(dtype))
}

/// A layer whose input, constants and output are of this type.
fn layer(dtype: DType) -> Onnx {
    Onnx::new(13)
        .typed_input("x", data_type(dtype), [1, 4])
        .constant("w", &weights(dtype))
        .node("MatMul", &["x", "w"], &["p"], vec![])
        .node("Relu", &["p"], &["y"], vec![])
        .output("y")
}

#[test]
fn layers_of_other_floats_run_in_f32() {
    let wanted = {
        let graph = import::onnx(&layer(DType::F32).bytes(), &import::Options::default()).unwrap();
        reference::run(&graph, &[Values::f32([1, 4], vec![1.0, -2.0, 0.5, 3.0])]).unwrap()
    };
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let mut options = Options::default();
        options.quantize.precision = Precision::F32;
        let graph = load(&layer(dtype).bytes(), &options).unwrap();
        assert!(
            graph
                .tensors
                .iter()
                .all(|(_, tensor)| tensor.ty.dtype == DType::F32)
        );
        assert_eq!(
            graph.notes,
            [
                format!("input `x` is f32, {dtype} in the model"),
                format!("output `y` is f32, {dtype} in the model")
            ]
        );
        let target = Target::builtin("mps2-an386").unwrap();
        let artifact = tinsmith::build(&target, graph, &NoSamples, &options, &|_, _, _| ()).unwrap();
        let mut simulator = Simulator::new(&artifact.blob).unwrap();
        let inputs = [Values::f32([1, 4], vec![1.0, -2.0, 0.5, 3.0])];
        let stored = edge::store_all(simulator.blob(), &inputs).unwrap();
        let stored: Vec<&[u8]> = stored.iter().map(Vec::as_slice).collect();
        let found = simulator.run(&stored).unwrap();
        assert_eq!(
            edge::load_all(simulator.blob(), &found).unwrap(),
            wanted,
            "{dtype}"
        );
    }
}

#[test]
fn quantization_by_narrower_scales_is_taken_as_it_stands() {
    let scale = |x: f32| Values::new([], Data::F16(vec![f16::from_f32(x)]));
    let codes = Values::new([4, 3], Data::I8((0..12).map(|i| i - 5).collect()));
    let quantized = |model: Onnx, from: &str, to: &str, back: &str| {
        model
            .node("QuantizeLinear", &[from, "s", "z"], &[to], vec![])
            .node("DequantizeLinear", &[to, "s", "z"], &[back], vec![])
    };
    let model = Onnx::new(21)
        .typed_input("x", DataType::Float16, [1, 4])
        .constant("s", &scale(0.5))
        .constant("t", &scale(0.25))
        .constant("z", &Values::new([], Data::I8(vec![3])))
        .constant("c", &codes)
        .node("DequantizeLinear", &["c", "t"], &["w"], vec![]);
    let model = quantized(model, "x", "q", "d").node("MatMul", &["d", "w"], &["p"], vec![]);
    let model = quantized(model, "p", "r", "y").output("y");
    let options = Options::default();
    let graph = load(&model.bytes(), &options).unwrap();
    let quant = tinsmith::quantize::run(graph, &NoSamples, &options.quantize, &|_, _, _| ())
        .unwrap()
        .quant;
    assert_eq!(quant.nodes.len(), 1);
}

#[test]
fn casts_between_floats_go_and_bits_stay() {
    let model = Onnx::new(26)
        .input("x", [2])
        .node("Cast", &["x"], &["h"], vec![int("to", DataType::Bfloat16 as i64)])
        .node("Relu", &["h"], &["r"], vec![])
        .node("Cast", &["r"], &["y"], vec![int("to", DataType::Float as i64)])
        .output("y");
    let graph = load(&model.bytes(), &Options::default()).unwrap();
    assert_eq!(graph.nodes.len(), 1);
    assert!(graph.notes.is_empty());
    let model = Onnx::new(26)
        .typed_input("x", DataType::Bfloat16, [2])
        .node(
            "BitCast",
            &["x"],
            &["y"],
            vec![int("to", DataType::Uint16 as i64)],
        )
        .output("y");
    let graph = import::onnx(&model.bytes(), &import::Options::default()).unwrap();
    let kept = optimize::widen(graph);
    let x = Values::new([2], Data::BF16(vec![bf16::ONE, bf16::NEG_ONE]));
    let found = reference::run(&kept, &[x]).unwrap();
    assert_eq!(found[0].data, Data::U16(vec![0x3f80, 0xbf80]));
}
