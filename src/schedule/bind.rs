//! Makes a draft a program: buffers with offsets, constants pooled, every record bound.

use std::cmp::Reverse;

use tinsmith_runtime::format::IN_CONSTANTS;
use tinsmith_runtime::format::metadata::Layout;
use tinsmith_runtime::kernels::Layer;

use super::constants::Pool;
use super::draft::Draft;
use super::edges::Edges;
use super::guards::Guard;
use super::nest::Nest;
use super::tasks::Task;
use super::{ScheduleError, cost};
use crate::ir::{
    Access, Arena, Buffer, Handle, LiveRange, MemoryPlan, Port, Program, QuantGraph, Step, StepGuard,
};
use crate::op::quant::QuantTensor;
use crate::op::{KernelCall, Lowered, Op, Operand};
use crate::target::{ArenaTooSmall, FlashTooSmall, Target, largest};

/// What binding gathers.
struct Binder<'a> {
    target: &'a Target,
    buffers: Arena<Buffer>,
    pool: Pool,
    steps: Vec<Step>,
    /// Bytes of state given away so far.
    state_end: u32,
    /// Steps of the whole program.
    step_count: usize,
    /// Every node with the bytes of its constants.
    constants: Vec<(String, u64)>,
    arena_bytes: u32,
}

/// Where a storage lies: a buffer, and the first byte within it.
type Place = (Handle<Buffer>, u32);

/// A graph as binding sees it: the model's, or the body of a loop.
struct Scope<'a> {
    nest: &'a Nest,
    lowered: &'a [Lowered],
    /// Per tensor that owns a storage: where that lies.
    places: Vec<Option<Place>>,
    /// The step in front of the body, and how often its steps may run in all.
    within: Option<usize>,
    times: u64,
}

/// The program of a draft.
pub(super) fn program(
    target: &Target,
    nest: &Nest,
    edges: &Edges,
    lowered: &[Lowered],
) -> Result<Program, ScheduleError> {
    let (graph, draft) = (&nest.graph, &nest.draft);
    let state_bytes: u64 = draft
        .tasks
        .iter()
        .map(|task| lowered[task.node].calls[task.call].state_bytes as u64)
        .sum();
    // The state lies below all else, where the plan's changes from order to order do not move it.
    let base = state_bytes.next_multiple_of(base_align(target, graph));
    let plan = memory_plan(target, graph, lowered, draft, state_bytes, base)?;
    let spans = spans(nest);
    let mut binder = Binder {
        target,
        buffers: Arena::default(),
        pool: Pool::default(),
        steps: Vec::new(),
        state_end: 0,
        step_count: spans.last().map_or(0, |span| span.1 + 1),
        constants: all_constants(graph, lowered),
        arena_bytes: plan.arena_bytes,
    };
    let scope = Scope {
        nest,
        lowered,
        places: binder.make_buffers(nest, &spans, base),
        within: None,
        times: 1,
    };
    binder.bind(&scope)?;
    let inputs = edges
        .inputs
        .iter()
        .zip(&graph.inputs)
        .map(|(&stored, &model)| scope.port(stored, model))
        .collect();
    let outputs = edges
        .outputs
        .iter()
        .zip(&graph.outputs)
        .map(|(&stored, &model)| scope.port(stored, model))
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
        steps: binder.steps,
        inputs,
        outputs,
        constants,
        padding_bytes,
        plan,
        proofs: proofs.collect(),
    })
}

/// The first and the last step of every task, bodies included.
fn spans(nest: &Nest) -> Vec<(usize, usize)> {
    let mut first = 0;
    let span = |task: &Task| {
        let last = first + nest.body_of(task).map_or(0, steps);
        (std::mem::replace(&mut first, last + 1), last)
    };
    nest.draft.tasks.iter().map(span).collect()
}

/// Steps of a body, those of bodies inside included.
fn steps(body: &Nest) -> usize {
    spans(body).last().map_or(0, |span| span.1 + 1)
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

/// Every node with the bytes of its constants, those of its body too.
fn all_constants(graph: &QuantGraph, lowered: &[Lowered]) -> Vec<(String, u64)> {
    fn bytes(kernels: &Lowered) -> u64 {
        let calls = kernels.calls.iter().map(|call| call.constants.len() as u64);
        calls.sum::<u64>() + kernels.body.iter().map(bytes).sum::<u64>()
    }
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

impl Scope<'_> {
    /// Where a tensor's byte lies.
    fn locate(&self, tensor: Handle<QuantTensor>, byte: usize) -> Place {
        let place = self.nest.draft.storage.place(tensor.index());
        let (buffer, first) =
            self.places[place.root].expect("a tensor that is written or read has a storage that is alive");
        (buffer, first + small(place.offset + byte as u64))
    }

    /// All bytes of a tensor.
    fn whole(&self, tensor: Handle<QuantTensor>) -> Access {
        let (buffer, offset) = self.locate(tensor, 0);
        Access {
            buffer,
            offset,
            bytes: small(self.nest.graph.tensors[tensor].ty.bytes() as u64),
        }
    }

    /// Where a guard's condition lies.
    fn guard(&self, guard: Guard) -> StepGuard {
        StepGuard {
            access: Access {
                bytes: 1,
                ..self.whole(guard.condition)
            },
            when: guard.when,
        }
    }

    /// The port of a tensor at the edge, and the model's own tensor there.
    fn port(&self, stored: Handle<QuantTensor>, model: Handle<QuantTensor>) -> Port {
        let tensors = &self.nest.graph.tensors;
        let (stored_tensor, model) = (&tensors[stored], &tensors[model]);
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
            access: self.whole(stored),
        }
    }
}

impl Binder<'_> {
    /// A buffer per storage of the model's graph; gives where they lie.
    fn make_buffers(&mut self, nest: &Nest, spans: &[(usize, usize)], base: u64) -> Vec<Option<Place>> {
        let draft = &nest.draft;
        let mut places = vec![None; nest.graph.tensors.len()];
        for (&(owner, live), &offset) in draft.owners.iter().zip(&draft.placement.offsets) {
            let step = |task: usize, of: fn(&(usize, usize)) -> usize| spans.get(task).map_or(0, of);
            let buffer = self.buffers.push(Buffer {
                name: tensor_name(&nest.graph, owner),
                bytes: small(draft.storage.bytes(owner)),
                live: LiveRange {
                    first: step(live.first, |span| span.0),
                    last: step(live.last, |span| span.1),
                },
                offset: small(base + offset),
                state: false,
            });
            places[owner] = Some((buffer, 0));
        }
        places
    }

    fn absolute(&self, (buffer, offset): Place) -> u32 {
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

    /// Appends the steps of a scope.
    fn bind(&mut self, scope: &Scope<'_>) -> Result<(), ScheduleError> {
        for task in &scope.nest.draft.tasks {
            let position = self.steps.len();
            let step = self.step(scope, task);
            self.steps.push(step);
            if let Some(body) = scope.nest.body_of(task) {
                self.body(scope, task, body)?;
                let count = self.steps.len() - position - 1;
                if let Layer::Repeat(repeat) = &mut self.steps[position].layer {
                    repeat.steps = small(count as u64);
                }
            }
            // An offset in the constants section has 31 bits.
            let flash = self.target.flash();
            if self.pool.len() as u64 > flash.bytes.min(IN_CONSTANTS.into()) {
                let rest = self.constants.clone();
                let needed = rest.iter().map(|(_, bytes)| bytes).sum();
                return Err(FlashTooSmall::new(flash, needed, self.arena_bytes.into(), rest).into());
            }
        }
        Ok(())
    }

    /// Appends the steps of the body behind the step of a loop, and tells that step where the body's inputs lie.
    fn body(&mut self, scope: &Scope<'_>, task: &Task, body: &Nest) -> Result<(), ScheduleError> {
        let node = &scope.nest.graph.nodes[task.node];
        let Op::Repeat(repeat) = &node.op else {
            return Ok(());
        };
        let position = self.steps.len() - 1;
        let (memory, first) = scope.locate(node.outputs[repeat.carried], 0);
        let mut places = vec![None; body.graph.tensors.len()];
        for (&(owner, _), &offset) in body.draft.owners.iter().zip(&body.draft.placement.offsets) {
            places[owner] = Some((memory, first + small(offset)));
        }
        let given = node.outputs[..repeat.carried]
            .iter()
            .chain(&node.inputs[repeat.carried..]);
        for (&inner, &outer) in body.graph.inputs[1..].iter().zip(given) {
            places[inner.index()] = Some(scope.locate(outer, 0));
        }
        let inner = Scope {
            nest: body,
            lowered: &scope.lowered[task.node].body,
            places,
            within: Some(position),
            times: scope.times.saturating_mul(repeat.trips as u64),
        };
        let ends = body.graph.inputs.iter().map(|&input| inner.whole(input));
        self.steps[position].body = ends.collect();
        self.bind(&inner)
    }

    fn step(&mut self, scope: &Scope<'_>, task: &Task) -> Step {
        let graph = &scope.nest.graph;
        let graph_node = &graph.nodes[task.node];
        let kernels = &scope.lowered[task.node];
        let kernel = &kernels.calls[task.call];
        let output = graph_node.outputs[kernels.output_of(task.call)];
        let mut sources = Vec::with_capacity(kernel.sources.len());
        let mut source_buffers = Vec::with_capacity(kernel.sources.len());
        for source in &kernel.sources {
            let place = match source {
                Operand::Constant(bytes) => Err(self.pool.add(bytes, 0)),
                Operand::Output => Ok(scope.locate(graph_node.outputs[0], 0)),
                Operand::Input { index, byte_offset } => {
                    let tensor = graph_node.inputs[*index];
                    match &graph.tensors[tensor].data {
                        Some(values) => Err(self.pool.add(&values.data.to_le_bytes(), 0) + byte_offset),
                        None => Ok(scope.locate(tensor, *byte_offset)),
                    }
                }
            };
            sources.push(match place {
                Ok(place) => self.absolute(place),
                Err(constant) => small(constant as u64) | IN_CONSTANTS,
            });
            source_buffers.push(place.ok().map(|(buffer, _)| buffer));
        }
        // A loop's counter lies in the memory of its body.
        let written = match scope.nest.body_of(task) {
            Some(body) => {
                let (memory, first) = scope.locate(output, 0);
                let counter = body.graph.inputs[0].index();
                let mut owners = body.draft.owners.iter().zip(&body.draft.placement.offsets);
                let counter = owners.find(|((owner, _), _)| *owner == counter);
                (memory, first + counter.map_or(0, |(_, &offset)| small(offset)))
            }
            None => scope.locate(output, kernel.ofm_byte_offset),
        };
        let constants = if kernel.constants.is_empty() {
            0
        } else {
            small(self.pool.add(&kernel.constants, kernel.padding_bytes) as u64)
        };
        let mut layer = kernel.layer;
        layer.bind(&sources, self.absolute(written), constants, self.state_end);
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
            .map(|&input| &graph.tensors[input].ty)
            .collect();
        // The work of a node is told once, at its first call.
        let macs = if task.call == 0 {
            graph_node.op.macs(&tensors)
        } else {
            0
        };
        Step {
            name: graph_node.name.clone(),
            node: task.node,
            call: task.call,
            layer,
            reads,
            write,
            state: self.state(kernel, &graph_node.name),
            within: scope.within,
            body: Vec::new(),
            guards: task.guards.iter().map(|&guard| scope.guard(guard)).collect(),
            macs: macs.saturating_mul(scope.times),
            instructions: cost::instructions(&self.target.cost, &layer).saturating_mul(scope.times),
        }
    }

    /// The part of the state region that a call keeps for itself.
    fn state(&mut self, kernel: &KernelCall, name: &str) -> Option<Access> {
        if kernel.state_bytes == 0 {
            return None;
        }
        let bytes = small(kernel.state_bytes as u64);
        let buffer = self.buffers.push(Buffer {
            name: format!("{name} state"),
            bytes,
            live: LiveRange {
                first: 0,
                last: self.step_count.saturating_sub(1),
            },
            offset: self.state_end,
            state: true,
        });
        self.state_end += bytes;
        Some(Access {
            buffer,
            offset: 0,
            bytes,
        })
    }
}
