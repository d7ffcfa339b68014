//! Nodes in reals among nodes in integers, as a `[quantization]` table settles it.

use tinsmith::ir::text::parse;
use tinsmith::ir::{FloatGraph, QuantGraph, SampleError, Samples};
use tinsmith::op::tensor::{DType, Values};
use tinsmith::quantize::{self, Options, Pins, Precision, QuantizeError, Steps};

use super::case::Case;

/// Samples of 4×4 pixels with 3 channels.
struct Noise;

impl Samples for Noise {
    fn len(&self) -> usize {
        16
    }

    fn get(&self, index: usize) -> Result<Vec<Values>, SampleError> {
        let noise = |i: usize| ((index * 48 + i) as f32 * 0.77).sin() * 1.5;
        Ok(vec![Values::f32([1, 4, 4, 3], (0..48).map(noise).collect())])
    }
}

/// Two convolutions, a function between them, and one path around them that is added.
fn graph() -> FloatGraph {
    let weights: Vec<f32> = (0..9).map(|i| (i as f32 * 1.3).cos()).collect();
    let conv = "\"window\":{\"kernel\":[1,1],\"strides\":[1,1],\"dilations\":[1,1],\"pads\":[0,0,0,0]},\
                \"groups\":1,\"clamp\":{}";
    parse(&format!(
        "graph \"mixed\"\ninput %x: f32[1,4,4,3]\n\
         const %w: f32[3,1,1,3] = {weights:?}\n\
         %first = Conv2d {{{conv}}} (%x, %w)\n\
         %flat = Reshape {{\"shape\":[1,16,3]}} (%first)\n\
         %function = Unary {{\"kind\":\"Sigmoid\"}} (%flat)\n\
         %back = Reshape {{\"shape\":[1,4,4,3]}} (%function)\n\
         %second = Conv2d {{{conv}}} (%back, %w)\n\
         %sum = Binary {{\"kind\":\"Add\",\"clamp\":{{}}}} (%second, %first)\n\
         output %sum\n"
    ))
    .unwrap()
}

fn quantized(table: &str, steps: Steps) -> Result<QuantGraph, QuantizeError> {
    quantized_in(Precision::Int8, table, steps)
}

fn quantized_in(precision: Precision, table: &str, steps: Steps) -> Result<QuantGraph, QuantizeError> {
    let options = Options {
        precision,
        pins: Pins::parse(&format!("[quantization]\n{table}")).unwrap(),
        steps,
        ..Options::default()
    };
    quantize::run(graph(), &Noise, &options, &|_, _, _| ()).map(|quantized| quantized.quant)
}

fn node(name: &str, precision: &str) -> String {
    format!("[[quantization.nodes]]\nname = \"{name}\"\nprecision = \"{precision}\"\n")
}

/// What every tensor holds that a node makes, by name.
fn made(quant: &QuantGraph) -> Vec<(String, DType)> {
    let outputs = quant.nodes.iter().flat_map(|node| &node.outputs);
    outputs
        .map(|&output| {
            let tensor = &quant.tensors[output];
            (tensor.name.clone(), tensor.ty.dtype)
        })
        .collect()
}

/// Runs a quantized graph on the simulator. Written as ONNX, a function in reals between codes of 16 bits would be read as
/// one on codes, which is another.
fn check_blob(quant: QuantGraph) {
    Case {
        graph: quant,
        ..Case::new(7)
    }
    .check_blob();
}

/// Runs a quantized graph every way there is.
fn check(quant: QuantGraph) {
    Case {
        graph: quant,
        ..Case::new(7)
    }
    .check();
}

#[test]
fn a_node_in_reals_has_conversions_around_it() {
    let quant = quantized(&node("function", "f32"), Steps::NONE).unwrap();
    let wanted = [
        ("first", DType::I8),
        ("flat", DType::I8),
        ("flat#1", DType::F32),
        ("function", DType::F32),
        // What moves reals leaves them as they are.
        ("back", DType::F32),
        ("back#1", DType::I8),
        ("second", DType::I8),
        ("sum", DType::I8),
    ];
    assert_eq!(made(&quant), wanted.map(|(name, dtype)| (name.into(), dtype)));
    check(quant);
}

#[test]
fn a_tensor_is_converted_once_for_all_who_read_it() {
    let table = node("second", "f32") + &node("first", "f32");
    let quant = quantized(&table, Steps::NONE).unwrap();
    let converted: Vec<_> = made(&quant)
        .into_iter()
        .filter(|(name, _)| name.contains('#'))
        .collect();
    // The function, the second convolution and the sum read another form than is made.
    let wanted = [
        ("flat#1", DType::I8),
        ("back#1", DType::F32),
        ("second#1", DType::I8),
        ("first#1", DType::I8),
    ];
    assert_eq!(converted, wanted.map(|(name, dtype)| (name.into(), dtype)));
    // The only reader of the input takes reals.
    assert_eq!(quant.tensors[quant.inputs[0]].ty.dtype, DType::F32);
}

#[test]
fn layers_are_mended_beside_reals() {
    let quant = quantized(&node("first", "f32"), Steps::of(quantize::Effort::Normal)).unwrap();
    assert_eq!(quant.tensors[quant.outputs[0]].ty.dtype, DType::I8);
    let quant = quantized(&node("*", "f32"), Steps::of(quantize::Effort::Normal)).unwrap();
    assert!(made(&quant).iter().all(|(_, dtype)| *dtype == DType::F32));
}

#[test]
fn the_last_entry_counts() {
    let table = node("*", "f32") + "[[quantization.nodes]]\noperator = \"Conv2d\"\nprecision = \"int8\"\n";
    let quant = quantized(&table, Steps::NONE).unwrap();
    let of = |wanted: &str| {
        let made = made(&quant);
        made.into_iter().find(|(name, _)| name == wanted).unwrap().1
    };
    assert_eq!(
        [of("first"), of("function"), of("second"), of("sum")],
        [DType::I8, DType::F32, DType::I8, DType::F32]
    );
}

#[test]
fn ranges_are_settled_by_name() {
    let table = "[[quantization.tensors]]\nname = \"se*\"\nrange = [-1.0, 1.55]\n";
    let quant = quantized(table, Steps::NONE).unwrap();
    let second = quant.tensors.iter().find(|(_, tensor)| tensor.name == "second");
    let params = second.unwrap().1.params().unwrap();
    assert_eq!((params.scale, params.zero_point), (0.01, -28));
    check(quant);
}

#[test]
fn entries_that_stand_for_nothing_are_all_named() {
    let table = node("third", "f32") + "[[quantization.tensors]]\nname = \"w\"\nrange = [0.0, 1.0]\n";
    let error = quantized(&table, Steps::NONE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no node has the name `third`\nno tensor has the name `w`"
    );
}

#[test]
fn a_whole_model_may_have_16_bits() {
    let quant = quantized_in(Precision::Int16x8, &node("function", "f32"), Steps::NONE).unwrap();
    let wanted = [
        ("first", DType::I16),
        ("flat", DType::I16),
        ("flat#1", DType::F32),
        ("function", DType::F32),
        ("back", DType::F32),
        ("back#1", DType::I16),
        ("second", DType::I16),
        ("sum", DType::I16),
    ];
    assert_eq!(made(&quant), wanted.map(|(name, dtype)| (name.into(), dtype)));
    for (_, tensor) in quant.tensors.iter().filter(|(_, tensor)| tensor.is_wide()) {
        let params = tensor.params().unwrap();
        assert_eq!(params.zero_point, 0);
        assert!(
            params.scale.log2().fract() == 0.0,
            "{} of {}",
            params.scale,
            tensor.name
        );
    }
    check_blob(quant);
}

/// Codes of both widths, and reals, from one tensor: each is made once.
#[test]
fn widths_meet_in_one_model() {
    let table = node("second", "int16x8") + &node("function", "f32") + &node("sum", "int16x8");
    let quant = quantized(&table, Steps::NONE).unwrap();
    let wanted = [
        ("first", DType::I8),
        ("flat", DType::I8),
        ("flat#1", DType::F32),
        ("function", DType::F32),
        ("back", DType::F32),
        ("back#1", DType::I16),
        ("second", DType::I16),
        ("first#1", DType::I16),
        ("sum", DType::I16),
    ];
    assert_eq!(made(&quant), wanted.map(|(name, dtype)| (name.into(), dtype)));
    check_blob(quant);
    let quant = quantized_in(Precision::Int16x8, &node("second", "int8"), Steps::NONE).unwrap();
    assert!(made(&quant).contains(&("back#1".into(), DType::I8)));
}

#[test]
fn functions_say_how_far_they_may_be() {
    let quant = quantized_in(Precision::Int16x8, "", Steps::NONE).unwrap();
    let note = quant
        .notes
        .iter()
        .find(|note| note.starts_with("Unary `function`"));
    assert!(
        note.unwrap().contains("within 1 of what reals would give"),
        "{note:?}"
    );
    let quant = quantized("", Steps::NONE).unwrap();
    assert!(quant.notes.is_empty(), "{:?}", quant.notes);
}

#[test]
fn layers_on_16_bits_are_mended() {
    let steps = Steps::of(quantize::Effort::Normal);
    let quant = quantized_in(Precision::Int16x8, &node("function", "f32"), steps).unwrap();
    check_blob(quant);
}

/// A softmax has no such form: it computes in reals, which is said.
#[test]
fn what_has_no_form_on_16_bits_computes_in_reals() {
    let mut graph = graph();
    let softmax = parse(
        "graph \"s\"\ninput %x: f32[2,3]\n%y = Softmax {\"axis\":1,\"kind\":\"Probability\"} (%x)\noutput %y\n",
    )
    .unwrap();
    let last = graph.outputs[0];
    let output = graph.tensors.push(tinsmith::ir::FloatTensor {
        name: "chances".into(),
        ..graph.tensors[last].clone()
    });
    let mut node = softmax.nodes[0].clone();
    node.name = "chances".into();
    node.inputs = vec![last];
    node.outputs = vec![output];
    graph.nodes.push(node);
    graph.outputs = vec![output];
    let options = Options {
        precision: Precision::Int16x8,
        ..Options::default()
    };
    let quant = quantize::run(graph, &Noise, &options, &|_, _, _| ())
        .unwrap()
        .quant;
    assert_eq!(quant.tensors[quant.outputs[0]].ty.dtype, DType::F32);
    let says = |note: &String| note.contains("having no int16 form: Softmax `chances`");
    assert!(quant.notes.iter().any(says), "{:?}", quant.notes);
}
