//! A quantized graph as an ONNX model, for ONNX Runtime and whoever else reads the format.
//!
//! Every int8 or int16 tensor stands between `QuantizeLinear` and `DequantizeLinear`, weights and biases are integers behind
//! `DequantizeLinear`, and the operators between compute in f32 what the graph means: the graph's bytes are those of
//! the model wherever f32 is exact enough to round alike. What is not quantized stays as it is. Inputs and outputs have
//! the model's own names, shapes and element types.
//!
//! Operators with channels are written channels first. Their results are read in that order for as long as nothing asks
//! for another, so that most transposes never come to be.
//!
//! Protobuf types are named here and in [`crate::import`] alone.

mod attention;
mod elementwise;
mod layers;
mod logic;
mod message;
mod movement;
mod order;
mod places;
mod ports;
mod recurrent;
mod repeat;
mod resample;
mod statistics;
mod tensors;
mod windows;
mod writer;

use tinsmith_proto::{Message, ModelProto, OperatorSetIdProto};

use super::EmitError;
use crate::ir::{Node, Problem, QuantGraph};
use crate::op::quant::QuantTensor;
use crate::op::{Op, OpError};
use writer::Writer;

/// Version of the operators, unless one of them is newer. Not the newest: ONNX Runtime's optimizer, up to 1.32 at least,
/// breaks the graphs of opset 21 in which it makes int8 tensors uint8.
const OPSET: i64 = 18;

/// The newest version that is written.
const NEWEST_OPSET: i64 = 21;

/// Version of the file format that belongs to a version of the operators.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=18 => 8,
        19 | 20 => 9,
        _ => 10,
    }
}

/// The ONNX model of a quantized graph. `version` is the model's own; what is no whole number is left out.
///
/// # Errors
/// Where operators have no ONNX form: all of them.
pub fn onnx(graph: &QuantGraph, version: &str) -> Result<Vec<u8>, EmitError> {
    let mut writer = Writer::new(graph);
    write_graph(&mut writer)?;
    let opset = writer.opset;
    let model = ModelProto {
        ir_version: ir_version(opset),
        producer_name: "tinsmith".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        model_version: version.parse().unwrap_or(0),
        graph: Some(writer.finish()),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: opset,
        }],
        ..ModelProto::default()
    };
    Ok(model.encode_to_vec())
}

/// Inputs, nodes and outputs of the writer's graph.
fn write_graph(writer: &mut Writer<'_>) -> Result<(), EmitError> {
    let graph = writer.graph;
    for &input in &graph.inputs {
        writer.input(input);
    }
    let problems = write_nodes(writer);
    if !problems.is_empty() {
        return Err(EmitError::NotOnnx(problems));
    }
    for &output in &graph.outputs {
        writer.output(output);
    }
    Ok(())
}

/// All nodes; gives the problems of those that have no ONNX form.
fn write_nodes(writer: &mut Writer<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for node in &writer.graph.nodes {
        writer.enter(node);
        if let Err(error) = write_node(writer, node) {
            problems.push(Problem {
                node: node.name.clone(),
                operator: node.op.name().into(),
                reason: error.reason,
                help: error.help,
            });
            // Its readers have no problem of their own.
            node.outputs.iter().for_each(|&output| writer.give_up(output));
        }
    }
    problems
}

/// An operator that ONNX has not in this version.
fn no_form(reason: &str) -> OpError {
    OpError::new(format!("{reason} has no form in ONNX's opset {NEWEST_OPSET}"))
        .with_help("leave onnx out of --emit, or compile a part of the model without it")
}

/// Writes what a node means.
fn write_node(writer: &mut Writer<'_>, node: &Node<QuantTensor>) -> Result<(), OpError> {
    match &node.op {
        Op::Attention(op) => attention::attention(writer, node, op),
        Op::AveragePool(op) => windows::average_pool(writer, node, op),
        Op::BatchNormalization(op) => statistics::batch_norm(writer, node, op),
        Op::Binary(op) => return elementwise::binary(writer, node, op),
        Op::BitCast(_) => return Err(no_form("BitCast")),
        Op::Cast(op) => elementwise::cast(writer, node, op),
        Op::Compare(op) => logic::compare(writer, node, op),
        Op::Concat(op) => movement::concat(writer, node, op),
        Op::Conv2d(op) => return layers::conv2d(writer, node, op),
        Op::ConvNd(op) => return layers::conv_nd(writer, node, op),
        Op::Cumulate(op) => return statistics::cumulate(writer, node, op),
        Op::Delay(_) => return Err(no_form("state from one inference to the next")),
        Op::Dense(op) => return layers::dense(writer, node, op),
        Op::DequantizeLinear(op) => elementwise::dequantize(writer, node, op.axis),
        Op::DequantizeTo(op) => elementwise::dequantize_to(writer, node, op),
        Op::Expand(op) => movement::expand(writer, node, op),
        Op::Gather(op) => places::gather(writer, node, op),
        Op::GatherElements(op) => places::gather_elements(writer, node, op),
        Op::GatherNd(op) => places::gather_nd(writer, node, op),
        Op::GridSample(op) => return places::grid_sample(writer, node, op),
        Op::LayerNorm(op) => statistics::layer_norm(writer, node, op),
        Op::Lookup(_) => return Err(no_form("a table of values by key")),
        Op::Lstm(op) => recurrent::lstm(writer, node, op),
        Op::MatMul(_) => layers::matmul(writer, node),
        Op::MaxPool(op) => windows::max_pool(writer, node, op),
        Op::MaxPoolIndices(op) => windows::max_pool_indices(writer, node, op),
        Op::NarrowCast(op) => return elementwise::narrow_cast(writer, node, op),
        Op::NonMaxSuppression(_) | Op::NonZero(_) | Op::Unique(_) => {
            return Err(no_form("a search whose findings have a bound"));
        }
        Op::Pad(op) => movement::pad(writer, node, op),
        Op::QuantizeLinear(op) => elementwise::quantize(writer, node, op.axis),
        Op::QuantizeTo(op) => return elementwise::quantize_to(writer, node, op),
        Op::Recurrent(op) => recurrent::recurrent(writer, node, op),
        Op::Reduce(op) => statistics::reduce(writer, node, op),
        Op::Repeat(op) => return repeat::repeat(writer, node, op),
        Op::Resample(op) => resample::resample(writer, node, op),
        Op::Reshape(op) => movement::reshape(writer, node, op),
        Op::RoiAlign(op) => places::roi_align(writer, node, op),
        Op::Scatter(op) => places::scatter(writer, node, op),
        Op::Select(_) => logic::select(writer, node),
        Op::Slice(op) => movement::slice(writer, node, op),
        Op::Softmax(op) => statistics::softmax(writer, node, op),
        Op::TfIdf(op) => places::tf_idf(writer, node, op),
        Op::TopK(op) => return places::top_k(writer, node, op),
        Op::Transpose(op) => movement::transpose(writer, node, op),
        Op::TreeEnsemble(_) => return Err(no_form("an ensemble of trees")),
        Op::Trilu(op) => movement::trilu(writer, node, op),
        Op::Unary(op) => elementwise::unary(writer, node, op),
    }
    Ok(())
}
