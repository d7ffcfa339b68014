//! Models of other floats than f32, for devices that have no other.

use std::sync::Arc;

use super::draft::Draft;
use crate::ir::{FloatGraph, FloatTensor, Handle, Node};
use crate::op::tensor::{DType, Data, TensorType, Values};
use crate::op::{DequantizeLinear, DequantizeTo, Op, QuantizeLinear, QuantizeTo};

/// The same graph with every f16, bf16 and f64 as f32, which its notes say of inputs and outputs. f16 and bf16 lose
/// nothing, but what rounded to them on the way does so no longer; f64 is rounded.
///
/// A graph that looks into the bits of reals stays as it is, for later stages to refuse.
pub fn widen(graph: FloatGraph) -> FloatGraph {
    if !has_wide(&graph) {
        return graph;
    }
    widened(&graph).unwrap_or(graph)
}

/// Whether a tensor of the graph or of its bodies is of a type that changes.
fn has_wide(graph: &FloatGraph) -> bool {
    graph.tensors.iter().any(|(_, tensor)| changes(tensor.ty.dtype)) || graph.bodies.iter().any(has_wide)
}

fn changes(dtype: DType) -> bool {
    dtype.is_float() && dtype != DType::F32
}

/// The type that stands for a type.
fn widened_type(dtype: DType) -> DType {
    if changes(dtype) { DType::F32 } else { dtype }
}

fn widened(graph: &FloatGraph) -> Option<FloatGraph> {
    let mut out = graph.clone();
    out.bodies = graph.bodies.iter().map(widened).collect::<Option<_>>()?;
    for handle in graph.tensors.iter().map(|(handle, _)| handle) {
        let tensor = &mut out.tensors[handle];
        let dtype = widened_type(tensor.ty.dtype);
        if let Some(values) = tensor.data.as_ref().filter(|_| dtype != tensor.ty.dtype) {
            let data = values.data.cast(dtype);
            tensor.data = Some(Arc::new(Values::new(values.shape.clone(), data)));
        }
        tensor.ty.dtype = dtype;
    }
    for (ports, what) in [(&graph.inputs, "input"), (&graph.outputs, "output")] {
        for &port in ports {
            let FloatTensor { name, ty, .. } = &graph.tensors[port];
            if changes(ty.dtype) {
                out.notes
                    .push(format!("{what} `{name}` is f32, {} in the model", ty.dtype));
            }
        }
    }
    Draft::edit(&mut out, |out| {
        for position in out.places() {
            let node = widened_node(out, out.nodes[position].clone());
            out.change(position, |old| *old = node);
            let node = &out.nodes[position];
            let types: Vec<&TensorType> = node.inputs.iter().map(|&input| &out.tensors[input].ty).collect();
            let found = node.op.output_types(&types).ok()?;
            let wanted = node.outputs.iter().map(|&output| &out.tensors[output].ty);
            if !found.iter().eq(wanted) {
                return None;
            }
        }
        Some(())
    })?;
    Some(out)
}

/// A node with the types that it names itself widened; quantization takes the forms that the quantizer knows.
fn widened_node(graph: &mut Draft, mut node: Node<FloatTensor>) -> Node<FloatTensor> {
    match &mut node.op {
        Op::Cast(cast) => cast.to = widened_type(cast.to),
        Op::QuantizeTo(op) => {
            op.precision = widened_type(op.precision);
            let QuantizeTo {
                to, axis, block_size, ..
            } = *op;
            if is_plain(graph, &node, to, block_size) {
                node.inputs = with_zero_point(graph, &node, to);
                node.op = Op::QuantizeLinear(QuantizeLinear { axis });
            }
        }
        Op::DequantizeTo(op) => {
            op.to = widened_type(op.to);
            let DequantizeTo { axis, block_size, .. } = *op;
            let from = graph.tensors[node.inputs[0]].ty.dtype;
            if is_plain(graph, &node, from, block_size) {
                node.inputs = with_zero_point(graph, &node, from);
                node.op = Op::DequantizeLinear(DequantizeLinear { axis });
            }
        }
        _ => {}
    }
    node
}

/// Whether a quantization has the form that becomes tensors' parameters.
fn is_plain(graph: &Draft, node: &Node<FloatTensor>, codes: DType, block_size: usize) -> bool {
    block_size == 0
        && matches!(
            codes,
            DType::I8 | DType::U8 | DType::I16 | DType::U16 | DType::I32
        )
        && graph.tensors[node.inputs[1]].ty.dtype == DType::F32
}

/// The inputs of a quantization with the zero points that it may leave out.
fn with_zero_point(graph: &mut Draft, node: &Node<FloatTensor>, dtype: DType) -> Vec<Handle<FloatTensor>> {
    let mut inputs = node.inputs.clone();
    if inputs.len() == 2 {
        let shape = graph.tensors[inputs[1]].ty.shape.clone();
        let zero = Data::I8(vec![0]).cast(dtype);
        let zeros = zero.gather(std::iter::repeat_n(0, shape.iter().product()));
        inputs.push(super::edit::add_constant(
            graph,
            "zero_point",
            Values::new(shape, zeros),
        ));
    }
    inputs
}
