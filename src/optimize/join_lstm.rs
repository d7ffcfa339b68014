//! The pass `join-lstm`.

use super::draft::{Draft, Place};
use super::edit::{Tensor, add_constant, add_tensor, reals, shape, sole_producer};
use super::stored::StoredConstant;
use crate::ir::{FloatGraph, Node};
use crate::op::tensor::{DType, TensorType, Values};
use crate::op::{Gives, Lstm, Op, Recurrent};

/// Makes one `Lstm` of the recurrence of an LSTM, the `Dense` that multiplies its inputs, and the first states; another one
/// where the last cell state is read. What is between the products and the gates, and what is in the cell, is then
/// never rounded to int8, and `h` and `c` have a range each.
///
/// Refuses other cells, functions and options than those of [`Lstm`], weights that are no constants, and results that
/// are read other than by slices of states or of the cell. Exact: the same sums in the same order.
pub(super) fn join_lstm(graph: &mut FloatGraph) -> usize {
    Draft::sweep(graph, join)
}

fn join(graph: &mut Draft, position: Place) -> Option<()> {
    let node = &graph.nodes[position];
    let Op::Recurrent(recurrent) = &node.op else {
        return None;
    };
    let plain = Recurrent {
        cell: Lstm::CELL,
        activations: Lstm::activations(),
        clip: None,
        backward: recurrent.backward,
    };
    let (backward, is_plain) = (recurrent.backward, *recurrent == plain);
    let (name, packed) = (node.name.clone(), node.outputs[0]);
    let &[product, recurrence, side] = &node.inputs[..] else {
        return None;
    };
    let dense = sole_producer(graph, product)?;
    let Op::Dense(layer) = &graph.nodes[dense].op else {
        return None;
    };
    let (x, weights) = (graph.nodes[dense].inputs[0], graph.nodes[dense].inputs[1]);
    let bias = graph.nodes[dense].inputs.get(2).copied();
    let &[states, batch, hidden] = shape(graph, packed) else {
        return None;
    };
    // Integers behind a DequantizeLinear are constants as well.
    let are_known = bias.is_none_or(|bias| reals(graph, bias).is_some())
        && [weights, recurrence]
            .into_iter()
            .all(|weights| StoredConstant::find(graph, weights).is_some());
    if !is_plain
        || !layer.clamp.is_none()
        || !are_known
        || shape(graph, x).len() != 3
        || graph.is_output(packed)
    {
        return None;
    }
    let steps = states - 2;
    let mut readers = Vec::new();
    for reader in graph.readers(packed) {
        let Op::Slice(slice) = &graph.nodes[reader].op else {
            return None;
        };
        let last = slice.starts[0] as i64 + slice.steps[0] * (slice.shape[0] as i64 - 1);
        let ends = [slice.starts[0] as i64, last];
        let cell = steps as i64 + 1;
        // All of it in front of the cell, or nothing else.
        let gives = match ends.map(|end| end == cell) {
            [false, false] => Gives::States,
            [true, true] => Gives::Cell,
            _ => return None,
        };
        readers.push((reader, gives));
    }
    let [h, c] = first_states(graph, position, side, batch * hidden)?;
    let bias = bias.unwrap_or_else(|| {
        let zeros = Values::f32([4 * hidden], vec![0.0; 4 * hidden]);
        add_constant(graph, &format!("{name}/bias"), zeros)
    });
    for gives in [Gives::States, Gives::Cell] {
        let own: Vec<Place> = readers
            .iter()
            .filter(|reader| reader.1 == gives)
            .map(|reader| reader.0)
            .collect();
        if own.is_empty() {
            continue;
        }
        let rows = match gives {
            Gives::States => steps + 1,
            Gives::Cell => 1,
        };
        let base = graph.tensors[packed].name.clone();
        let output = add_tensor(graph, &base, TensorType::new(DType::F32, [rows, batch, hidden]));
        let node = Node {
            name: match gives {
                Gives::States => name.clone(),
                Gives::Cell => format!("{name}/cell"),
            },
            op: Op::Lstm(Lstm { gives, backward }),
            inputs: vec![x, weights, bias, recurrence, h, c],
            outputs: vec![output],
        };
        graph.insert_before(position, node);
        for reader in own {
            graph.change(reader, |node| {
                node.inputs[0] = output;
                if let (Op::Slice(slice), Gives::Cell) = (&mut node.op, gives) {
                    slice.starts[0] = 0;
                }
            });
        }
    }
    graph.remove(position);
    graph.remove(dense);
    Some(())
}

/// The first `h` and `c` of a recurrence's side, of `length` elements each, if all behind them is zero: no peepholes.
fn first_states(graph: &mut Draft, position: Place, side: Tensor, length: usize) -> Option<[Tensor; 2]> {
    let is_zero = |values: &[f32]| values.iter().all(|&value| value == 0.0);
    if let Some(values) = reals(graph, side) {
        let (states, rest) = values.split_at_checked(2 * length)?;
        if !is_zero(rest) {
            return None;
        }
        let states = states.to_vec();
        let base = format!("{}/first_state", graph.nodes[position].name);
        return Some([0, length].map(|first| {
            let own = states[first..first + length].to_vec();
            add_constant(graph, &base, Values::f32([length], own))
        }));
    }
    let parts = &graph.nodes[graph.producer(side)?];
    let Op::Concat(_) = parts.op else { return None };
    let (&h, rest) = parts.inputs.split_first()?;
    let (&c, rest) = rest.split_first()?;
    let fit = [h, c].iter().all(|&state| shape(graph, state) == [length]);
    let are_zero = rest
        .iter()
        .all(|&tensor| reals(graph, tensor).is_some_and(is_zero));
    (fit && are_zero).then_some([h, c])
}
