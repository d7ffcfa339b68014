//! The independent checker: proves a program right against its graph, with no code of the planner.
//!
//! It replays the program over symbolic memory: every byte of the arena holds a `Value`, the name of what it should
//! be worth by the graph's meaning. What is proven, for every program that passes:
//!
//! 1. Every byte that a step reads is worth what its node's operator says, and every byte of an output at the end.
//! 2. Every record is the one that its operator asked for, apart from the offsets the plan decided.
//! 3. A step does not write what it reads, except where its kernel works in place.
//! 4. Constants are the operators' own, and their blocks are aligned.
//! 5. State regions are disjoint, inside the state region, and written by nothing else.
//! 6. Buffers alive at the same step do not overlap; every access lies inside its buffer while it is alive; all lie
//!    inside the arena, the arena inside its bank; all are aligned.
//! 7. The lower bound is what the buffers say, and is not above the arena's size.
//! 8. A step that may rest does so only where nothing reads what it gives, and its conditions are known by then.
//! 9. A loop's body, run once more, does the same again: it ends with what it carries where it began with it, and leaves
//!    alone what it is given.
//!
//! It trusts the operators (what a kernel call computes, what is a view of what) and the runtime's account of what a
//! record touches.

mod error;
mod guards;
mod memory;
mod repeat;
mod replay;
mod touched;
mod value;

use tinsmith_runtime::format::metadata::Layout;

pub use error::{CheckError, Fault};

use crate::ir::{Access, Handle, Port, Program, QuantGraph};
use crate::op::quant::QuantTensor;
use crate::op::{Lowered, Op};
use crate::target::Target;
use memory::Memory;
use value::Values;

/// A graph, the model's or a body's, and the steps that compute it.
struct Scope<'a> {
    graph: &'a QuantGraph,
    /// What the operators asked for, one per node.
    lowered: &'a [Lowered],
    program: &'a Program,
    values: &'a Values<'a>,
    /// The first step behind those of the graph.
    end: usize,
    /// The step in front of the body.
    within: Option<usize>,
}

/// Proves `program` right. The bodies of `graph` are [`super::ready`]. `lowered` holds the operators' answers, one per node of `graph`; nodes whose calls the
/// caller does (transposes at the edge) may hold none.
///
/// # Errors
/// The first contradiction found.
pub fn program(
    target: &Target,
    graph: &QuantGraph,
    lowered: &[Lowered],
    program: &Program,
) -> Result<(), CheckError> {
    plan(target, program)?;
    let values = Values::of(graph, lowered)?;
    let mut memory = Memory::new(program.plan.arena_bytes);
    for (port, &tensor) in pair(&program.inputs, &graph.inputs)? {
        let tensor = stored_input(graph, port, tensor);
        let held = port_bytes(graph, program, port, tensor)?;
        let wanted = (0..).map_while(|byte| values.of_tensor(tensor, byte));
        for (offset, value) in held.zip(wanted) {
            if memory.value(offset).is_some_and(|there| there != value) {
                return Err(CheckError::PortsOverlap {
                    port: port.name.clone(),
                });
            }
            memory.set(offset, value, None);
        }
    }
    let mut conditions = vec![Vec::new(); program.steps.len()];
    let scope = Scope {
        graph,
        lowered,
        program,
        values: &values,
        end: program.steps.len(),
        within: None,
    };
    replay_steps(&scope, &mut conditions, 0, &mut memory)?;
    for (port, &tensor) in pair(&program.outputs, &graph.outputs)? {
        let tensor = stored_output(graph, port, tensor);
        for (byte, offset) in port_bytes(graph, program, port, tensor)?.enumerate() {
            let wanted = values.of_tensor(tensor, byte as u32);
            let there = guards::is_there(memory.writer(offset), &conditions, &[]);
            if wanted.is_none() || memory.value(offset) != wanted || !there {
                return Err(CheckError::WrongOutput {
                    port: port.name.clone(),
                    byte: byte as u32,
                });
            }
        }
    }
    Ok(())
}

/// Replays a graph's steps from the first on, and notes under which conditions each runs.
fn replay_steps(
    scope: &Scope<'_>,
    conditions: &mut Vec<Vec<guards::Condition>>,
    first: usize,
    memory: &mut Memory,
) -> Result<(), CheckError> {
    let mut step_idx = first;
    while step_idx < scope.end {
        conditions[step_idx] = guards::read(scope.program, step_idx, memory, conditions)?;
        step_idx = if repeat::of_step(scope.graph, scope.program, step_idx).is_some() {
            repeat::step(scope, conditions, step_idx, memory)?
        } else {
            replay::step(scope, conditions, step_idx, memory)?;
            step_idx + 1
        };
    }
    Ok(())
}

fn pair<'a, 'b>(
    ports: &'a [Port],
    tensors: &'b [Handle<QuantTensor>],
) -> Result<impl Iterator<Item = (&'a Port, &'b Handle<QuantTensor>)>, CheckError> {
    if ports.len() == tensors.len() {
        Ok(ports.iter().zip(tensors))
    } else {
        Err(CheckError::PortCount {
            ports: ports.len(),
            tensors: tensors.len(),
        })
    }
}

/// The tensor that an input port holds: behind its transpose where that was left to the caller.
fn stored_input(graph: &QuantGraph, port: &Port, tensor: Handle<QuantTensor>) -> Handle<QuantTensor> {
    let mut transposes = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::Transpose(_)));
    if port.layout == Layout::Onnx {
        return tensor;
    }
    transposes
        .find(|node| node.inputs.contains(&tensor))
        .map_or(tensor, |node| node.outputs[0])
}

/// The tensor that an output port holds: before its transpose where that was left to the caller.
fn stored_output(graph: &QuantGraph, port: &Port, tensor: Handle<QuantTensor>) -> Handle<QuantTensor> {
    let mut transposes = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::Transpose(_)));
    if port.layout == Layout::Onnx {
        return tensor;
    }
    transposes
        .find(|node| node.outputs.contains(&tensor))
        .map_or(tensor, |node| node.inputs[0])
}

/// Arena offsets of a port's bytes.
fn port_bytes(
    graph: &QuantGraph,
    program: &Program,
    port: &Port,
    tensor: Handle<QuantTensor>,
) -> Result<std::ops::Range<u32>, CheckError> {
    let wanted = &graph.tensors[tensor].ty;
    if port.ty != *wanted || port.access.bytes as usize != wanted.bytes() {
        return Err(CheckError::WrongPort {
            port: port.name.clone(),
        });
    }
    let start = absolute(program, port.access);
    Ok(start..start + port.access.bytes)
}

fn absolute(program: &Program, access: Access) -> u32 {
    program.buffers[access.buffer].offset + access.offset
}

/// Rules 6 and 7.
fn plan(target: &Target, program: &Program) -> Result<(), CheckError> {
    let plan = &program.plan;
    let buffers: Vec<_> = program.buffers.iter().map(|(_, buffer)| buffer).collect();
    let align = target.lanes.tensor_align();
    if u64::from(plan.arena_bytes) > target.arena().bytes {
        return Err(CheckError::OutsideBank {
            bank: target.arena().name.clone(),
        });
    }
    let state_end = u64::from(plan.state_offset) + u64::from(plan.state_bytes);
    for (i, a) in buffers.iter().enumerate() {
        let end = u64::from(a.offset) + u64::from(a.bytes);
        let in_state = a.offset >= plan.state_offset && end <= state_end;
        if end > plan.arena_bytes.into() || (a.state && !in_state) {
            return Err(CheckError::OutsideArena {
                buffer: a.name.clone(),
            });
        }
        if !a.state && !a.offset.is_multiple_of(align) {
            return Err(CheckError::Misaligned {
                buffer: a.name.clone(),
                align,
            });
        }
        for b in &buffers[i + 1..] {
            let apart = end <= b.offset.into() || u64::from(b.offset) + u64::from(b.bytes) <= a.offset.into();
            let (first, last) = (a.live.first.max(b.live.first), a.live.last.min(b.live.last));
            if !apart && (first <= last || a.state || b.state) {
                return Err(CheckError::Overlap {
                    a: a.name.clone(),
                    b: b.name.clone(),
                });
            }
        }
    }
    let sum_at = |step: usize| -> u64 {
        let alive = buffers
            .iter()
            .filter(|b| !b.state && b.live.first <= step && step <= b.live.last);
        alive.map(|b| u64::from(b.bytes)).sum()
    };
    let largest =
        (0..program.steps.len().max(1)).map(sum_at).max().unwrap_or(0) + u64::from(plan.state_bytes);
    if largest != u64::from(plan.lower_bound_bytes) || plan.lower_bound_bytes > plan.arena_bytes {
        return Err(CheckError::WrongBound {
            told: plan.lower_bound_bytes,
            found: largest,
        });
    }
    Ok(())
}
