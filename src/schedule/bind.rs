//! Makes a draft a program: buffers with offsets, constants pooled, every record bound.

use std::cmp::Reverse;

use tinsmith_runtime::format::IN_CONSTANTS;
use tinsmith_runtime::format::metadata::Layout;

use super::constants::Pool;
use super::draft::Draft;
use super::edges::Edges;
use super::guards::Guard;
use super::{ScheduleError, cost};
use crate::ir::{
    Access, Arena, Buffer, Handle, LiveRange, MemoryPlan, Port, Program, QuantGraph, Step, StepGuard,
};
use crate::op::quant::QuantTensor;
use crate::op::{KernelCall, Lowered, Operand};
use crate::target::{ArenaTooSmall, FlashTooSmall, Target, largest};

/// What binding needs to look up.
struct Binder<'a> {
    graph: &'a QuantGraph,
    draft: &'a Draft,
    /// Per tensor that owns a storage: its buffer.
    buffer_of: Vec<Option<Handle<Buffer>>>,
    buffers: Arena<Buffer>,
    pool: Pool,
}

/// The program of a draft.
pub(super) fn program(
    target: &Target,
    graph: &QuantGraph,
    edges: &Edges,
    lowered: &[Lowered],
    draft: &Draft,
) -> Result<Program, ScheduleError> {
    let state_bytes: u64 = draft
        .tasks
        .iter()
        .map(|task| lowered[task.node].calls[task.call].state_bytes as u64)
        .sum();
    // The state lies below all else, where the plan's changes from order to order do not move it.
    let base = state_bytes.next_multiple_of(base_align(target, graph));
    let plan = memory_plan(target, graph, lowered, draft, state_bytes, base)?;
    let mut binder = Binder {
        graph,
        draft,
        buffer_of: vec![None; graph.tensors.len()],
        buffers: Arena::default(),
        pool: Pool::default(),
    };
    binder.make_buffers(base);
    let mut steps = Vec::with_capacity(draft.tasks.len());
    let mut state_end = 0u32;
    let mut constants_of_steps = Vec::new();
    for task in &draft.tasks {
        let kernel = &lowered[task.node].calls[task.call];
        let before = binder.pool.len();
        let mut step = binder.step(target, task.node, task.call, kernel, &mut state_end);
        step.guards = task.guards.iter().map(|&guard| binder.guard(guard)).collect();
        constants_of_steps.push((step.name.clone(), (binder.pool.len() - before) as u64));
        steps.push(step);
        // An offset in the constants section has 31 bits.
        let limit = target.flash().bytes.min(IN_CONSTANTS.into());
        if binder.pool.len() as u64 > limit {
            let rest = all_constants(graph, lowered);
            let needed = rest.iter().map(|(_, bytes)| bytes).sum();
            return Err(FlashTooSmall::new(target.flash(), needed, plan.arena_bytes.into(), rest).into());
        }
    }
    let inputs = edges
        .inputs
        .iter()
        .zip(&graph.inputs)
        .map(|(&stored, &model)| binder.port(stored, model))
        .collect();
    let outputs = edges
        .outputs
        .iter()
        .zip(&graph.outputs)
        .map(|(&stored, &model)| binder.port(stored, model))
        .collect();
    let (constants, padding_bytes) = binder.pool.finish();
    let proofs = graph
        .nodes
        .iter()
        .zip(lowered)
        .map(|(node, kernels)| (node.name.clone(), kernels.proof.clone()));
    Ok(Program {
        name: graph.name.clone(),
        buffers: binder.buffers,
        steps,
        inputs,
        outputs,
        constants,
        padding_bytes,
        plan,
        proofs: proofs.collect(),
    })
}

/// Where buffers may start after the state region.
fn base_align(target: &Target, graph: &QuantGraph) -> u64 {
    let elements = graph
        .tensors
        .iter()
        .map(|(_, tensor)| tensor.ty.dtype.bytes() as u64);
    elements
        .chain([target.lanes.tensor_align().into()])
        .max()
        .unwrap_or(1)
}

/// Every node with the bytes of its constants.
fn all_constants(graph: &QuantGraph, lowered: &[Lowered]) -> Vec<(String, u64)> {
    let bytes = |kernels: &Lowered| kernels.calls.iter().map(|call| call.constants.len() as u64).sum();
    let nodes = graph.nodes.iter().zip(lowered);
    nodes
        .map(|(node, kernels)| (node.name.clone(), bytes(kernels)))
        .collect()
}

fn memory_plan(
    target: &Target,
    graph: &QuantGraph,
    lowered: &[Lowered],
    draft: &Draft,
    state_bytes: u64,
    base: u64,
) -> Result<MemoryPlan, ScheduleError> {
    let (peak, step) = draft.peak;
    let mut at_peak: Vec<(String, u64)> = draft
        .owners
        .iter()
        .filter(|(_, live)| live.first <= step && step <= live.last)
        .map(|&(owner, _)| (tensor_name(graph, owner), draft.storage.bytes(owner)))
        .collect();
    at_peak.sort_by_key(|(_, bytes)| Reverse(*bytes));
    let peak_at = draft
        .tasks
        .get(step)
        .map_or_else(String::new, |task| graph.nodes[task.node].name.clone());
    let needed = base + draft.placement.bytes;
    // An arena offset has 31 bits: the top one of a source says that it lies in the constants.
    let available = target.arena().bytes.min(IN_CONSTANTS.into());
    let small =
        |bytes: u64| u32::try_from(bytes).expect("the arena fits its bank, which has 31 bits of address");
    if needed > available {
        let flash: u64 = all_constants(graph, lowered).iter().map(|(_, bytes)| bytes).sum();
        return Err(Box::new(ArenaTooSmall {
            bank: target.arena().name.clone(),
            needed_bytes: needed,
            available_bytes: target.arena().bytes,
            largest_at: peak_at,
            largest: largest(at_peak),
            would_fit: Target::with_room(flash, needed),
        })
        .into());
    }
    Ok(MemoryPlan {
        arena_bytes: small(needed),
        lower_bound_bytes: small(state_bytes + peak),
        all_orders: draft.all_orders,
        peak_at,
        at_peak: at_peak
            .into_iter()
            .map(|(name, bytes)| (name, small(bytes)))
            .collect(),
        state_offset: 0,
        state_bytes: small(state_bytes),
    })
}

fn tensor_name(graph: &QuantGraph, index: usize) -> String {
    graph
        .tensors
        .iter()
        .nth(index)
        .map_or_else(String::new, |(_, tensor)| tensor.name.clone())
}

/// A size or offset that the plan already found to fit the arena or the constants section.
fn small(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("offsets within the arena and the constants have 31 bits")
}

impl Binder<'_> {
    fn make_buffers(&mut self, base: u64) {
        for (&(owner, live), &offset) in self.draft.owners.iter().zip(&self.draft.placement.offsets) {
            let buffer = self.buffers.push(Buffer {
                name: tensor_name(self.graph, owner),
                bytes: small(self.draft.storage.bytes(owner)),
                live,
                offset: small(base + offset),
                state: false,
            });
            self.buffer_of[owner] = Some(buffer);
        }
    }

    /// Where a tensor's byte lies: its buffer and the offset within.
    fn locate(&self, tensor: Handle<QuantTensor>, byte: usize) -> (Handle<Buffer>, u32) {
        let place = self.draft.storage.place(tensor.index());
        let buffer =
            self.buffer_of[place.root].expect("a tensor that is written or read has a storage that is alive");
        (buffer, small(place.offset + byte as u64))
    }

    fn absolute(&self, (buffer, offset): (Handle<Buffer>, u32)) -> u32 {
        self.buffers[buffer].offset + offset
    }

    /// Bytes of the arena, as part of a buffer.
    fn access(&self, buffer: Handle<Buffer>, offset: u32, bytes: u32) -> Access {
        Access {
            buffer,
            offset: offset - self.buffers[buffer].offset,
            bytes,
        }
    }

    /// The port of a tensor at the edge, and the model's own tensor there.
    fn port(&self, stored: Handle<QuantTensor>, model: Handle<QuantTensor>) -> Port {
        let (stored_tensor, model) = (&self.graph.tensors[stored], &self.graph.tensors[model]);
        let (buffer, offset) = self.locate(stored, 0);
        Port {
            name: model.name.clone(),
            ty: stored_tensor.ty.clone(),
            quantization: stored_tensor.quantization.clone(),
            model_dtype: model.model_dtype,
            layout: if std::ptr::eq(stored_tensor, model) {
                Layout::Onnx
            } else {
                Layout::ChannelsLast
            },
            onnx_shape: model.ty.shape.clone(),
            access: Access {
                buffer,
                offset,
                bytes: small(stored_tensor.ty.bytes() as u64),
            },
        }
    }

    fn step(
        &mut self,
        target: &Target,
        node: usize,
        call: usize,
        kernel: &KernelCall,
        state_end: &mut u32,
    ) -> Step {
        let graph_node = &self.graph.nodes[node];
        let output = graph_node.outputs[0];
        let mut sources = Vec::with_capacity(kernel.sources.len());
        let mut source_buffers = Vec::with_capacity(kernel.sources.len());
        for source in &kernel.sources {
            let place = match source {
                Operand::Constant(bytes) => Err(self.pool.add(bytes, 0)),
                Operand::Output => Ok(self.locate(output, 0)),
                Operand::Input { index, byte_offset } => {
                    let tensor = graph_node.inputs[*index];
                    match &self.graph.tensors[tensor].data {
                        Some(values) => Err(self.pool.add(&values.data.to_le_bytes(), 0) + byte_offset),
                        None => Ok(self.locate(tensor, *byte_offset)),
                    }
                }
            };
            sources.push(match place {
                Ok(place) => self.absolute(place),
                Err(constant) => small(constant as u64) | IN_CONSTANTS,
            });
            source_buffers.push(place.ok().map(|(buffer, _)| buffer));
        }
        let written = self.locate(output, kernel.ofm_byte_offset);
        let constants = if kernel.constants.is_empty() {
            0
        } else {
            small(self.pool.add(&kernel.constants, kernel.padding_bytes) as u64)
        };
        let state = *state_end;
        let mut layer = kernel.layer;
        layer.bind(&sources, self.absolute(written), constants, state);
        let extents = layer
            .extents()
            .expect("a bound record's extents lie within the arena");
        let reads = source_buffers
            .iter()
            .zip(extents.sources)
            .map(|(buffer, extent)| {
                let (buffer, extent) = ((*buffer)?, extent?);
                Some(self.access(buffer, extent.offset, extent.bytes))
            });
        let reads = reads.collect();
        let write = self.access(written.0, extents.output.offset, extents.output.bytes);
        let tensors: Vec<_> = graph_node
            .inputs
            .iter()
            .map(|&input| &self.graph.tensors[input].ty)
            .collect();
        Step {
            name: graph_node.name.clone(),
            node,
            call,
            layer,
            reads,
            write,
            state: self.state(kernel, &graph_node.name, state_end),
            guards: Vec::new(),
            // The work of a node is told once, at its first call.
            macs: if call == 0 {
                graph_node.op.macs(&tensors)
            } else {
                0
            },
            instructions: cost::instructions(&target.cost, &layer),
        }
    }

    /// Where a guard's condition lies.
    fn guard(&self, guard: Guard) -> StepGuard {
        let (buffer, offset) = self.locate(guard.condition, 0);
        StepGuard {
            access: Access {
                buffer,
                offset,
                bytes: 1,
            },
            when: guard.when,
        }
    }

    /// The part of the state region that a call keeps for itself.
    fn state(&mut self, kernel: &KernelCall, name: &str, state_end: &mut u32) -> Option<Access> {
        if kernel.state_bytes == 0 {
            return None;
        }
        let bytes = small(kernel.state_bytes as u64);
        let last = self.draft.tasks.len().saturating_sub(1);
        let buffer = self.buffers.push(Buffer {
            name: format!("{name} state"),
            bytes,
            live: LiveRange { first: 0, last },
            offset: *state_end,
            state: true,
        });
        *state_end += bytes;
        Some(Access {
            buffer,
            offset: 0,
            bytes,
        })
    }
}
