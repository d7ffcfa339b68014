//! Nodes that cannot be taken: each named with the reason.

use tinsmith::op::tensor::{Data, Values};
use tinsmith_proto::AttributeProto;
use tinsmith_proto::tensor_proto::DataType;

use super::onnx::{float, int, ints, value, word};
use super::refused::{refused, x};

/// A single node on `x`, which is refused with these parts in the text.
fn node(opset: i64, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>, parts: &[&str]) {
    let mut model = x()
        .ints("axes", &[7])
        .ints("huge", &[i64::MAX, i64::MAX, 2, 2])
        .zeros("w", &[3, 2, 3, 3])
        .zeros("s", &[2])
        .typed_input("n", DataType::Int64, [4])
        .node(op, inputs, &["y"], attributes)
        .output("y");
    model.0.opset_import[0].version = opset;
    refused(&model, parts);
}

#[test]
fn nodes_are_refused_by_name() {
    node(
        9,
        "QuantizeLinear",
        &["x", "s"],
        vec![],
        &["an operator of opset 9 wanted, one of opset 10"],
    );
    let kernel = || ints("kernel_shape", &[2, 2]);
    node(
        13,
        "Relu",
        &["x"],
        vec![float("alpha", 1.0)],
        &["Relu `Y`", "`alpha` found"],
    );
    node(
        13,
        "Conv",
        &["x", "w"],
        vec![word("group", "2")],
        &["`group` of type INT wanted, STRING found"],
    );
    node(
        13,
        "Conv",
        &["x", "w"],
        vec![int("group", 2)],
        &["Conv `Y`", "groups that divide 2 input and 3 output channels"],
    );
    node(13, "Conv", &["x"], vec![], &["2 to 3 inputs wanted, 1 found"]);
    node(13, "Conv", &["x", ""], vec![], &["2 to 3 inputs wanted, 1 found"]);
    node(13, "Conv", &["x", "w"], vec![kernel()], &["the weights' [3, 3]"]);
    node(
        13,
        "Conv",
        &["x", "w"],
        vec![ints("pads", &[-1, 0, 0, 0])],
        &["`pads` of 4 values from 0"],
    );
    node(
        13,
        "Conv",
        &["x", "w"],
        vec![ints("strides", &[0, 1])],
        &["`strides` of 2 values from 1"],
    );
    node(
        13,
        "Conv",
        &["x", "w"],
        vec![ints("dilations", &[2, 2])],
        &["an input that holds the window"],
    );
    node(
        13,
        "Conv",
        &["x", "w"],
        vec![word("auto_pad", "MAYBE")],
        &["MAYBE found"],
    );
    node(13, "MaxPool", &["x"], vec![], &["`kernel_shape` wanted"]);
    node(
        13,
        "BatchNormalization",
        &["x", "s", "s", "s", "s"],
        vec![int("spatial", 0)],
        &["`spatial` found"],
    );
    node(
        13,
        "Reshape",
        &["x", "n"],
        vec![],
        &["constant the new shape wanted", "static shapes"],
    );
    node(
        13,
        "Reshape",
        &["x", "axes"],
        vec![],
        &["as many elements", "[7] found"],
    );
    node(13, "Reshape", &["x", "huge"], vec![], &["as many elements"]);
    node(
        13,
        "Squeeze",
        &["x", "axes"],
        vec![],
        &["an axis of 4 wanted, 7 found"],
    );
    node(
        12,
        "Squeeze",
        &["x"],
        vec![ints("axes", &[1])],
        &["axes of extent 1 wanted"],
    );
    node(
        13,
        "Transpose",
        &["x"],
        vec![ints("perm", &[0, 1, 1, 2])],
        &["each axis once"],
    );
    node(13, "Concat", &["x", "x"], vec![], &["attribute `axis` wanted"]);
    node(13, "Cast", &["x"], vec![int("to", 8)], &["string found"]);
    node(
        13,
        "Gather",
        &["x", "axes"],
        vec![],
        &["indices of 1 elements wanted, 7 found"],
    );
    node(13, "Pad", &["x", "axes"], vec![], &["8 pads wanted, 1 found"]);
    node(
        10,
        "Pad",
        &["x"],
        vec![ints("pads", &[0; 8]), word("mode", "wrap")],
        &["wrap found"],
    );
    node(
        10,
        "Pad",
        &["x"],
        vec![ints("pads", &[-2, 0, 0, 0, 0, 0, 0, 0])],
        &["axis 0"],
    );
    node(
        13,
        "Clip",
        &["x", "n"],
        vec![],
        &["one `min` wanted, i64[4] found"],
    );
    node(13, "Gemm", &["x", "s"], vec![], &["matrices wanted"]);
    node(
        21,
        "DequantizeLinear",
        &["n", "s"],
        vec![int("block_size", 16)],
        &["an axis of 1 wanted, 1 found"],
    );
    node(
        10,
        "QuantizeLinear",
        &["x", "s"],
        vec![],
        &["one scale wanted in opset 10"],
    );
    node(13, "Constant", &[], vec![], &["one value of numbers"]);
    node(
        13,
        "ConstantOfShape",
        &["huge"],
        vec![],
        &["at most 2^31 elements"],
    );
    node(
        13,
        "Slice",
        &["x", "axes", "axes", "axes"],
        vec![],
        &["an axis of 4 wanted"],
    );
    node(
        17,
        "ReduceMean",
        &["x", "axes"],
        vec![],
        &["1 inputs wanted, 2 found"],
    );
    let two = Values::new([2], Data::Bool(vec![true, false]));
    let training = x()
        .constant("t", &two)
        .node("Dropout", &["x", "", "t"], &["y"], vec![])
        .output("y");
    refused(&training, &["training_mode found", "evaluation mode"]);
    let float_value = value("value", &Values::f32([2], vec![0.0; 2]));
    node(
        13,
        "ConstantOfShape",
        &["axes"],
        vec![float_value],
        &["one value wanted, f32[2] found"],
    );
}
