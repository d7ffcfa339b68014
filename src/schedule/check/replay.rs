//! Replays one step over symbolic memory.

use tinsmith_runtime::format::{CONSTANT_ALIGN, IN_CONSTANTS};

use super::guards::{self, Condition};
use super::memory::Memory;
use super::touched::{Region, Touched};
use super::value::Values;
use super::{CheckError, Fault, Scope, absolute};
use crate::ir::{Access, Program, QuantGraph, Step};
use crate::op::{KernelCall, Operand};

/// A step and all that its verdict depends on.
struct Replay<'a> {
    graph: &'a QuantGraph,
    program: &'a Program,
    values: &'a Values<'a>,
    /// Of the steps up to this one.
    conditions: &'a [Vec<Condition>],
    step: &'a Step,
    step_idx: usize,
    /// What the operator asked for.
    call: &'a KernelCall,
    /// What the record touches.
    bound: Touched,
    /// The same, relative to where each region starts.
    free: Touched,
}

/// Proves one step right and writes what its output is worth.
pub(super) fn step(
    scope: &Scope<'_>,
    conditions: &[Vec<Condition>],
    step_idx: usize,
    memory: &mut Memory,
) -> Result<(), CheckError> {
    let Scope {
        graph,
        lowered,
        program,
        values,
        ..
    } = *scope;
    let step = &program.steps[step_idx];
    let parts = || {
        // A body's step keeps no state, and is told from those around it.
        let in_place = step.within == scope.within && (step.within.is_none() || step.state.is_none());
        let call = lowered
            .get(step.node)?
            .calls
            .get(step.call)
            .filter(|_| in_place)?;
        Some((call, Touched::of(&step.layer)?, Touched::unbound(call)?))
    };
    let Some((call, bound, free)) = parts() else {
        return Err(CheckError::Step {
            step: step_idx,
            name: step.name.clone(),
            fault: Fault::WrongRecord,
        });
    };
    let replay = Replay {
        graph,
        program,
        values,
        conditions,
        step,
        step_idx,
        call,
        bound,
        free,
    };
    replay.record()?;
    for k in 0..call.sources.len() {
        replay.source(k, memory)?;
    }
    replay.constants()?;
    replay.state(memory)?;
    replay.output(memory)
}

impl Replay<'_> {
    fn holds(&self, fact: bool, fault: Fault) -> Result<(), CheckError> {
        if fact { Ok(()) } else { Err(self.fault(fault)) }
    }

    fn fault(&self, fault: Fault) -> CheckError {
        CheckError::Step {
            step: self.step_idx,
            name: self.step.name.clone(),
            fault,
        }
    }

    /// Rule 2: bound to the offsets that the record itself holds, the operator's record is the same.
    fn record(&self) -> Result<(), CheckError> {
        let (bound, free) = (&self.bound, &self.free);
        let counts = [self.call.sources.len(), bound.sources.len(), free.sources.len()];
        self.holds(
            counts.iter().all(|&count| count == self.step.reads.len()),
            Fault::WrongRecord,
        )?;
        // Where a record's region starts is what was bound plus how far its first byte is from there.
        let start =
            |bound: &Region, free: &Region| u32::try_from(bound.extent.0 - free.extent.0).unwrap_or(u32::MAX);
        let flag = |region: &Region| if region.in_constants { IN_CONSTANTS } else { 0 };
        let sources = bound.sources.iter().zip(&free.sources);
        let sources: Vec<u32> = sources
            .map(|(bound, free)| start(bound, free) | flag(bound))
            .collect();
        let mut wanted = self.call.layer;
        wanted.bind(
            &sources,
            start(&bound.output, &free.output),
            bound.constants.map_or(0, |(offset, _)| offset),
            bound.state.map_or(0, |(offset, _)| offset),
        );
        self.holds(wanted == self.step.layer, Fault::WrongRecord)
    }

    /// Rule 1 for one source; and what the program says about the access is what the record does.
    fn source(&self, k: usize, memory: &Memory) -> Result<(), CheckError> {
        let (region, shape) = (&self.bound.sources[k], &self.free.sources[k]);
        let node = &self.graph.nodes[self.step.node];
        let (tensor, first) = match &self.call.sources[k] {
            Operand::Constant(bytes) => return self.constant_source(k, bytes, 0),
            Operand::Output => (node.outputs[0], 0),
            Operand::Input { index, byte_offset } => {
                let tensor = *node
                    .inputs
                    .get(*index)
                    .ok_or_else(|| self.fault(Fault::WrongRecord))?;
                (tensor, *byte_offset as i64)
            }
        };
        if let Some(constant) = &self.graph.tensors[tensor].data {
            return self.constant_source(k, &constant.data.to_le_bytes(), first);
        }
        let read = self.step.reads[k].ok_or_else(|| self.fault(Fault::WrongAccess))?;
        self.holds(!region.in_constants, Fault::WrongAccess)?;
        self.inside(read, region)?;
        let own = &self.conditions[self.step_idx];
        let own = match self.call.sources[k] {
            Operand::Input { index, .. } => {
                guards::of_input(self.graph, self.values, self.step.node, index, own)
            }
            Operand::Output | Operand::Constant(_) => own.clone(),
        };
        for (at, relative) in region.bytes().zip(shape.bytes()) {
            let byte = first + relative;
            let wanted = u32::try_from(byte)
                .ok()
                .and_then(|byte| match self.call.sources[k] {
                    Operand::Output => self.values.before_call(self.step.node, self.step.call, byte),
                    Operand::Input { .. } | Operand::Constant(_) => self.values.of_tensor(tensor, byte),
                });
            let there = |&at: &u32| guards::is_there(memory.writer(at), self.conditions, &own);
            let found = u32::try_from(at)
                .ok()
                .filter(there)
                .and_then(|at| memory.value(at));
            if wanted.is_none() || wanted != found {
                let tensor = self.graph.tensors[tensor].name.clone();
                return Err(self.fault(Fault::WrongValue { tensor, byte }));
            }
        }
        Ok(())
    }

    /// A source in the constants section holds the bytes of `constant`, from `first` on.
    fn constant_source(&self, k: usize, constant: &[u8], first: i64) -> Result<(), CheckError> {
        let (region, shape) = (&self.bound.sources[k], &self.free.sources[k]);
        let byte = |bytes: &[u8], at: i64| usize::try_from(at).ok().and_then(|at| bytes.get(at).copied());
        let same = region.bytes().zip(shape.bytes()).all(|(at, relative)| {
            let wanted = byte(constant, first + relative);
            wanted.is_some() && byte(&self.program.constants, at) == wanted
        });
        let there = region.in_constants && self.step.reads[k].is_none();
        self.holds(there && same, Fault::WrongConstants)
    }

    /// An access says what the record does, inside its buffer, while that is alive.
    fn inside(&self, access: Access, region: &Region) -> Result<(), CheckError> {
        let buffer = &self.program.buffers[access.buffer];
        let alive = buffer.live.first <= self.step_idx && self.step_idx <= buffer.live.last;
        let within = u64::from(access.offset) + u64::from(access.bytes) <= u64::from(buffer.bytes);
        let same = region.extent == (i64::from(absolute(self.program, access)), access.bytes);
        self.holds(alive && within && same, Fault::WrongAccess)
    }

    /// Rule 4.
    fn constants(&self) -> Result<(), CheckError> {
        let wanted = &self.call.constants;
        let Some((offset, bytes)) = self.bound.constants else {
            return self.holds(wanted.is_empty(), Fault::WrongConstants);
        };
        let start = offset as usize;
        let there = self
            .program
            .constants
            .get(start..start.saturating_add(wanted.len()));
        let right = there == Some(&wanted[..]) && bytes as usize <= wanted.len();
        self.holds(
            right && offset.is_multiple_of(CONSTANT_ALIGN),
            Fault::WrongConstants,
        )
    }

    /// Rule 5.
    fn state(&self, memory: &mut Memory) -> Result<(), CheckError> {
        match (self.step.state, self.bound.state) {
            (None, None) => self.holds(self.call.state_bytes == 0, Fault::WrongState),
            (Some(access), Some((offset, bytes))) => {
                let told = absolute(self.program, access) == offset && access.bytes == bytes;
                let kept =
                    self.program.buffers[access.buffer].state && self.call.state_bytes == bytes as usize;
                let own = memory.claim_state(offset..offset.saturating_add(bytes));
                self.holds(told && kept && own, Fault::WrongState)
            }
            (Some(_), None) | (None, Some(_)) => Err(self.fault(Fault::WrongState)),
        }
    }

    /// Rule 3, and what the output is worth from now on.
    fn output(&self, memory: &mut Memory) -> Result<(), CheckError> {
        let output = &self.bound.output;
        self.inside(self.step.write, output)?;
        for (k, source) in self.bound.sources.iter().enumerate() {
            let in_place = self.call.in_place.contains(&k) && self.bound.in_place[k];
            let apart = source.in_constants || source.is_apart_from(output);
            self.holds(
                apart || (in_place && source.extent == output.extent),
                Fault::ClobbersSource,
            )?;
        }
        let plan = &self.program.plan;
        let state = plan.state_offset..plan.state_offset + plan.state_bytes;
        for (at, relative) in output.bytes().zip(self.free.output.bytes()) {
            let byte = u32::try_from(self.call.ofm_byte_offset as i64 + relative).ok();
            let value = byte.and_then(|byte| self.values.after_call(self.step.node, self.step.call, byte));
            let at = u32::try_from(at).ok().filter(|at| *at < plan.arena_bytes);
            let (Some(value), Some(at)) = (value, at) else {
                return Err(self.fault(Fault::WrongAccess));
            };
            self.holds(!state.contains(&at), Fault::WrongState)?;
            memory.set(at, value, Some(self.step_idx));
        }
        Ok(())
    }
}
