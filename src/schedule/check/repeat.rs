//! Loops: the proof that a body does the same every time, rule 9. By induction: before each time, the places of what the
//! body carries hold what it carries. The body is replayed once, over memory of which nothing is known but that, the
//! counter and what the loop is given; it must end with the same places holding what it carries on, and with all that it
//! is given untouched.

use tinsmith_runtime::kernels::Layer;

use super::guards;
use super::memory::Memory;
use super::value::{Value, Values};
use super::{CheckError, Fault, Scope, absolute};
use crate::ir::{Access, Node, Program, QuantGraph};
use crate::op::Repeat;
use crate::op::quant::QuantTensor;

/// The node of a step that stands in front of a body, with that body.
pub(super) fn of_step<'g>(
    graph: &'g QuantGraph,
    program: &Program,
    step_idx: usize,
) -> Option<(&'g Node<QuantTensor>, &'g Repeat, &'g QuantGraph)> {
    let step = &program.steps[step_idx];
    let node = graph.nodes.get(step.node)?;
    let (repeat, body) = graph.body(node)?;
    (step.call == repeat.carried).then_some((node, repeat, body))
}

/// Proves a loop right, and sets what is worth what behind it; gives the first step behind its body. `conditions` has
/// those of the loop's step already.
pub(super) fn step(
    scope: &Scope<'_>,
    conditions: &mut Vec<Vec<guards::Condition>>,
    step_idx: usize,
    memory: &mut Memory,
) -> Result<usize, CheckError> {
    let program = scope.program;
    let step = &program.steps[step_idx];
    let fault = |fault: Fault| CheckError::Step {
        step: step_idx,
        name: step.name.clone(),
        fault,
    };
    let holds = |fact: bool, what: Fault| if fact { Ok(()) } else { Err(fault(what)) };
    let Some((node, repeat, body)) = of_step(scope.graph, program, step_idx) else {
        return Err(fault(Fault::WrongRecord));
    };
    let Layer::Repeat(record) = &step.layer else {
        return Err(fault(Fault::WrongRecord));
    };
    // The record is the operator's, and its body lies within the steps around it.
    let end = step_idx + 1 + record.steps as usize;
    let as_asked = record.trips as usize == repeat.trips && (record.conditional == 1) == repeat.conditional;
    let within = record.steps > 0 && end <= scope.end && step.state.is_none();
    let ends = step.body.len() == body.inputs.len();
    holds(as_asked && within && ends, Fault::WrongRecord)?;
    for (access, &input) in step.body.iter().zip(&body.inputs) {
        let buffer = &program.buffers[access.buffer];
        let alive = buffer.live.first <= step_idx && end <= buffer.live.last + 1;
        let inside = u64::from(access.offset) + u64::from(access.bytes) <= buffer.bytes.into();
        let whole = access.bytes as usize == body.tensors[input].ty.bytes();
        holds(alive && inside && whole && !buffer.state, Fault::WrongAccess)?;
    }
    let counter = step.body[0];
    holds(
        absolute(program, counter) == record.ofm && step.write == counter,
        Fault::WrongAccess,
    )?;
    let condition = Access {
        bytes: 1,
        ..step.body[1]
    };
    let reads: &[Option<Access>] = if repeat.conditional {
        holds(
            absolute(program, condition) == record.condition,
            Fault::WrongAccess,
        )?;
        &[Some(condition)]
    } else {
        &[]
    };
    holds(step.reads == reads, Fault::WrongAccess)?;

    // What the body is given is there, and stands for itself inside.
    let own = conditions[step_idx].clone();
    let mut given: Vec<Option<Vec<Value>>> = vec![None; body.tensors.len()];
    for (at, (&input, &inner)) in node.inputs.iter().zip(&body.inputs[1..]).enumerate() {
        let carried = at < repeat.carried;
        let place = absolute(program, step.body[1 + at]);
        let mut values = Vec::new();
        for byte in 0..step.body[1 + at].bytes {
            let wanted = if carried {
                scope.values.after_call(step.node, at, byte)
            } else {
                scope.values.of_tensor(input, byte)
            };
            let there = guards::is_there(memory.writer(place + byte), conditions, &own);
            match wanted.filter(|_| there && memory.value(place + byte) == wanted) {
                Some(value) => values.push(value),
                None => {
                    let tensor = scope.graph.tensors[input].name.clone();
                    let byte = byte.into();
                    return Err(fault(Fault::WrongValue { tensor, byte }));
                }
            }
        }
        if !carried {
            given[inner.index()] = Some(values);
        }
    }

    let lowered = &scope.lowered[step.node].body;
    let values = Values::within(body, lowered, scope.values.depth() + 1, &given)?;
    let inner = Scope {
        graph: body,
        lowered,
        program,
        values: &values,
        end,
        within: Some(step_idx),
    };
    let mut inside = Memory::new(program.plan.arena_bytes);
    let places = || {
        step.body
            .iter()
            .map(|&access| (absolute(program, access), access.bytes))
    };
    for (&input, (place, bytes)) in body.inputs.iter().zip(places()) {
        for byte in 0..bytes {
            let value = values.of_tensor(input, byte);
            let known = inside.value(place + byte);
            let (Some(value), true) = (value, known.is_none() || known == value) else {
                return Err(fault(Fault::ClobbersSource));
            };
            inside.set(place + byte, value, None);
        }
    }
    super::replay_steps(&inner, conditions, step_idx + 1, &mut inside)?;
    let carried_on = body.outputs.iter().chain(&body.inputs[1 + repeat.carried..]);
    for (&tensor, (place, bytes)) in carried_on.zip(places().skip(1)) {
        for byte in 0..bytes {
            let there = guards::is_there(inside.writer(place + byte), conditions, &[]);
            if !there || inside.value(place + byte) != values.of_tensor(tensor, byte) {
                let tensor = body.tensors[tensor].name.clone();
                let byte = byte.into();
                return Err(fault(Fault::WrongValue { tensor, byte }));
            }
        }
    }

    // Behind it, nothing is known of what the body wrote but what is carried in the end.
    for at in 0..program.plan.arena_bytes {
        if inside.writer(at).is_some() {
            memory.forget(at, step_idx);
        }
    }
    let (first, bytes) = (record.ofm, counter.bytes);
    (first..first + bytes).for_each(|at| memory.forget(at, step_idx));
    for (&output, (place, bytes)) in node.outputs.iter().take(repeat.carried).zip(places().skip(1)) {
        for byte in 0..bytes {
            let value = scope.values.of_tensor(output, byte);
            let value = value.ok_or_else(|| fault(Fault::WrongAccess))?;
            memory.set(place + byte, value, Some(step_idx));
        }
    }
    Ok(end)
}
