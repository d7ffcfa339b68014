//! Guards: the proof that a step may rest, rule 8. What a guarded step writes is there only where its conditions turn
//! out right, so that it may be read by steps with the same conditions, and by a Select that takes the other side else.

use super::memory::Memory;
use super::value::{Value, Values};
use super::{CheckError, Fault, absolute};
use crate::ir::{Program, QuantGraph};
use crate::op::Op;

/// What a condition is worth, and the way it has to turn out.
pub(super) type Condition = (Value, bool);

/// The conditions of one step, which are known and computed when its turn comes. `before` holds those of the steps
/// before it.
pub(super) fn read(
    program: &Program,
    step_idx: usize,
    memory: &Memory,
    before: &[Vec<Condition>],
) -> Result<Vec<Condition>, CheckError> {
    let step = &program.steps[step_idx];
    let mut conditions = Vec::new();
    let mut writers = Vec::new();
    let mut right = step.guards.is_empty() || step.state.is_none();
    for guard in &step.guards {
        let buffer = &program.buffers[guard.access.buffer];
        let alive = buffer.live.first <= step_idx && step_idx <= buffer.live.last;
        let at = absolute(program, guard.access);
        right &= alive && guard.access.bytes == 1 && guard.access.offset < buffer.bytes;
        writers.push(memory.writer(at));
        match memory.value(at) {
            Some(condition) => conditions.push((condition, guard.when)),
            None => right = false,
        }
    }
    // A condition that was computed under conditions decides only under those.
    right &= writers
        .into_iter()
        .all(|writer| is_there(writer, before, &conditions));
    if right {
        return Ok(conditions);
    }
    Err(CheckError::Step {
        step: step_idx,
        name: step.name.clone(),
        fault: Fault::WrongGuard,
    })
}

/// Whether what a step wrote (`None`: the caller) is there whenever these conditions turn out right.
pub(super) fn is_there(writer: Option<usize>, of_steps: &[Vec<Condition>], conditions: &[Condition]) -> bool {
    let needed = writer.and_then(|writer| of_steps.get(writer));
    needed.is_none_or(|needed| needed.iter().all(|condition| conditions.contains(condition)))
}

/// The conditions under which a node reads its input of this index: a Select reads each side only where it takes it.
pub(super) fn of_input(
    graph: &QuantGraph,
    values: &Values<'_>,
    node: usize,
    index: usize,
    own: &[Condition],
) -> Vec<Condition> {
    let mut conditions = own.to_vec();
    let node = &graph.nodes[node];
    if let (Op::Select(_), 1..=2) = (&node.op, index)
        && graph.tensors[node.inputs[0]].ty.bytes() == 1
        && let Some(condition) = values.of_tensor(node.inputs[0], 0)
    {
        conditions.push((condition, index == 1));
    }
    conditions
}
