//! Loops.

use super::message::graph;
use super::order::Order;
use super::write_nodes;
use super::writer::Writer;
use crate::ir::Node;
use crate::op::quant::QuantTensor;
use crate::op::tensor::{DType, TensorType};
use crate::op::{OpError, Repeat};

/// ONNX's loop, which counts and asks before every iteration as ours does. What stays the same it sees from outside.
pub(super) fn repeat(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Repeat) -> Result<(), OpError> {
    let body = &w.graph.bodies[op.body];
    let outside: Vec<String> = node
        .inputs
        .iter()
        .map(|&input| w.read(input, Order::Own))
        .collect();
    let trips = w.number("trips", op.trips as f64, DType::I64);
    let condition = match (op.conditional, outside.first()) {
        (true, Some(first)) => w.reshaped(first, &[]),
        _ => String::new(),
    };
    let mut inner = Writer::within(w, body);
    let truth = TensorType::new(DType::Bool, []);
    let mut problems = Vec::new();
    if let Some((&counter, values)) = body.inputs.split_first() {
        inner.body_input(counter, None);
        let holds = inner.extra_input("holds", &truth);
        for (index, &value) in values.iter().enumerate() {
            let is_carried = index < op.carried;
            inner.body_input(
                value,
                outside.get(index).map(String::as_str).filter(|_| !is_carried),
            );
        }
        problems = write_nodes(&mut inner);
        if problems.is_empty() {
            inner.enter(node);
            let goes_on = match (op.conditional, body.outputs.first()) {
                (true, Some(&first)) => {
                    let first = inner.read(first, Order::Own);
                    inner.reshaped(&first, &[])
                }
                _ => inner.add("Identity", &[&holds], Vec::new()),
            };
            inner.body_condition(&goes_on, &truth);
            body.outputs.iter().for_each(|&output| inner.body_output(output));
        }
    }
    let body = inner.finish_within(w);
    if !problems.is_empty() {
        let within: Vec<String> = problems
            .iter()
            .map(|problem| format!("within it, {problem}"))
            .collect();
        return Err(OpError::new(within.join("; ")));
    }
    let inputs: Vec<&str> = [trips.as_str(), condition.as_str()]
        .into_iter()
        .chain(outside[..op.carried].iter().map(String::as_str))
        .collect();
    let made = w.add_many("Loop", &inputs, vec![graph("body", body)], op.carried);
    for (&output, name) in node.outputs.iter().zip(made) {
        w.write(output, Order::Own, name);
    }
    Ok(())
}
