//! Recurrent layers. Their products with the inputs are nodes of their own here, so the weights of the ONNX operator are
//! the identity; but for a whole LSTM, which is ONNX's own.

use super::message::{count, float, floats, int, word, words};
use super::order::Order;
use super::statistics::{joined, part};
use super::writer::Writer;
use crate::ir::Node;
use crate::op::quant::QuantTensor;
use crate::op::tensor::Values;
use crate::op::{Cell, Function, Gives, Lstm, Recurrent};

/// ONNX's name of a function, and whether it has an alpha and a beta: lists of these have no entry for those without.
fn name(function: Function) -> (&'static str, bool, bool) {
    match function {
        Function::Relu => ("Relu", false, false),
        Function::Tanh => ("Tanh", false, false),
        Function::Sigmoid => ("Sigmoid", false, false),
        Function::Affine => ("Affine", true, true),
        Function::LeakyRelu => ("LeakyRelu", true, false),
        Function::ThresholdedRelu => ("ThresholdedRelu", true, false),
        Function::ScaledTanh => ("ScaledTanh", true, true),
        Function::HardSigmoid => ("HardSigmoid", true, true),
        Function::Elu => ("Elu", true, false),
        Function::Softsign => ("Softsign", false, false),
        Function::Softplus => ("Softplus", false, false),
    }
}

pub(super) fn recurrent(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Recurrent) {
    let output = w.shape(node.outputs[0]);
    let (steps, batch, hidden) = (output[0] - 2, output[1], output[2]);
    let rows = op.cell.gates() * hidden;
    let dtype = w.dtype(node.outputs[0]);
    let zeros = |w: &mut Writer<'_>, shape: &[usize]| {
        let zeros = Values::f32(shape, vec![0.0; shape.iter().product()]);
        w.constant("zeros", &Values::new(shape, zeros.data.cast(dtype)))
    };
    let x = w.read(node.inputs[0], Order::Own);
    let mut identity = vec![0.0; rows * rows];
    identity.iter_mut().step_by(rows + 1).for_each(|one| *one = 1.0);
    let identity = Values::f32([1, rows, rows], identity);
    let identity = w.constant(
        "identity",
        &Values::new([1, rows, rows], identity.data.cast(dtype)),
    );
    let recurrence = w.read(node.inputs[1], Order::Own);
    let recurrence = w.reshaped(&recurrence, &[1, rows, hidden]);
    let side = w.read(node.inputs[2], Order::Own);
    let states = batch * hidden;
    let of_side = |w: &mut Writer<'_>, start: usize, shape: &[usize]| {
        let part = part(w, &side, 0, start..start + shape.iter().product::<usize>());
        w.reshaped(&part, shape)
    };
    let h = of_side(w, 0, &[1, batch, hidden]);
    let mut inputs = vec![x, identity, recurrence, String::new(), String::new(), h];
    if let Some(&lengths) = node.inputs.get(3) {
        let found = w.dtype(lengths);
        let lengths = w.read(lengths, Order::Own);
        inputs[4] = w.cast(lengths, found, crate::op::tensor::DType::I32);
    }
    let mut attributes = vec![
        count("hidden_size", hidden),
        word("direction", if op.backward { "reverse" } else { "forward" }),
    ];
    attributes.extend(op.clip.map(|clip| float("clip", clip)));
    let (op_type, functions) = match op.cell {
        Cell::Rnn => ("RNN", 1),
        Cell::Gru { linear_before_reset } => {
            // The products have their biases; the one inside the reset is left.
            let inner = of_side(w, 2 * states, &[1, hidden]);
            let zeros = zeros(w, &[1, 5 * hidden]);
            inputs[3] = joined(w, &[&zeros, &inner], 1);
            attributes.push(int("linear_before_reset", linear_before_reset));
            ("GRU", 2)
        }
        Cell::Lstm { input_forget } => {
            inputs.push(of_side(w, states, &[1, batch, hidden]));
            inputs.push(of_side(w, 2 * states + hidden, &[1, 3 * hidden]));
            attributes.push(int("input_forget", input_forget));
            ("LSTM", 3)
        }
    };
    let activations = &op.activations[..functions];
    let mut names = Vec::new();
    let (mut alphas, mut betas) = (Vec::new(), Vec::new());
    for activation in activations {
        let (name, has_alpha, has_beta) = name(activation.function);
        names.push(name);
        alphas.extend(has_alpha.then_some(activation.alpha));
        betas.extend(has_beta.then_some(activation.beta));
    }
    attributes.push(words("activations", &names));
    for (name, numbers) in [("activation_alpha", alphas), ("activation_beta", betas)] {
        if !numbers.is_empty() {
            attributes.push(floats(name, numbers));
        }
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let is_lstm = functions == 3;
    let made = w.add_many(op_type, &inputs, attributes, if is_lstm { 3 } else { 2 });
    let all = w.reshaped(&made[0], &[steps, batch, hidden]);
    let cell = match made.get(2) {
        Some(cell) => cell.clone(),
        None => zeros(w, &[1, batch, hidden]),
    };
    let y = w.own("Concat", &[&all, &made[1], &cell], vec![int("axis", 0)]);
    w.write(node.outputs[0], Order::Own, y);
}

pub(super) fn lstm(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Lstm) {
    let (x_shape, recurrence_shape) = (w.shape(node.inputs[0]), w.shape(node.inputs[3]));
    let (steps, batch, features) = (x_shape[0], x_shape[1], x_shape[2]);
    let (rows, hidden) = (recurrence_shape[0], recurrence_shape[1]);
    let x = w.read(node.inputs[0], Order::Own);
    let in_shape = |w: &mut Writer<'_>, index: usize, shape: &[usize]| {
        let input = w.read(node.inputs[index], Order::Own);
        w.reshaped(&input, shape)
    };
    let weights = in_shape(w, 1, &[1, rows, features]);
    let bias = in_shape(w, 2, &[1, rows]);
    let recurrence = in_shape(w, 3, &[1, rows, hidden]);
    let h = in_shape(w, 4, &[1, batch, hidden]);
    let c = in_shape(w, 5, &[1, batch, hidden]);
    let zeros = Values::f32([1, rows], vec![0.0; rows]);
    let zeros = Values::new([1, rows], zeros.data.cast(w.dtype(node.outputs[0])));
    let zeros = w.constant("zeros", &zeros);
    let biases = joined(w, &[&bias, &zeros], 1);
    let attributes = vec![
        count("hidden_size", hidden),
        word("direction", if op.backward { "reverse" } else { "forward" }),
    ];
    let inputs = [&x, &weights, &recurrence, &biases, "", &h, &c];
    match op.gives {
        Gives::States => {
            let made = w.add_many("LSTM", &inputs, attributes, 2);
            let all = w.reshaped(&made[0], &[steps, batch, hidden]);
            let y = w.own("Concat", &[&all, &made[1]], vec![int("axis", 0)]);
            w.write(node.outputs[0], Order::Own, y);
        }
        Gives::Cell => {
            let made = w.add_many("LSTM", &inputs, attributes, 3);
            let y = w.own("Identity", &[&made[2]], Vec::new());
            w.write(node.outputs[0], Order::Own, y);
        }
    }
}
