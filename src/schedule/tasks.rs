//! Tasks: the kernel calls that remain, with what each needs, reads and writes in terms of storages.

use std::collections::BTreeMap;

use tinsmith_runtime::kernels::MAX_SOURCES;

use super::edges::Edges;
use super::guards::{self, Guard};
use super::views::{Storage, Views};
use crate::ir::{Handle, Node, QuantGraph};
use crate::op::quant::QuantTensor;
use crate::op::{KernelCall, Lowered, Operand, View};

type Tensor = Handle<QuantTensor>;

/// One kernel call.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// The node.
    pub(super) node: usize,
    /// Which of its calls.
    pub(super) call: usize,
    /// Tasks that come before it.
    pub(super) needs: Vec<usize>,
    /// Storage written.
    pub(super) writes: usize,
    /// Conditions without which it rests.
    pub(super) guards: Vec<Guard>,
    /// Storages whose place the output may take where this is their last reader, in the kernel's order.
    pub(super) may_take_over: Vec<usize>,
}

/// A storage as the order of tasks sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Its bytes.
    pub(super) bytes: u64,
    /// Written by the caller, before the first task.
    pub(super) input: bool,
    /// Read by the caller, after the last task.
    pub(super) output: bool,
    /// Tasks that write it.
    pub(super) writers: Vec<usize>,
    /// Tasks that read it.
    pub(super) readers: Vec<usize>,
}

impl Held {
    /// Whether anything ever lies in it.
    pub(super) fn is_used(&self) -> bool {
        self.input || !self.writers.is_empty()
    }
}

/// All tasks, in the graph's order, and all storages by the index of the tensor that owns them.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    /// The tasks.
    pub(super) tasks: Vec<Task>,
    /// The storages; those of tensors that lie in others are unused.
    pub(super) held: Vec<Held>,
}

/// Lists the tasks. Calls of one node keep their order, and a tensor can be read once every call that writes a part
/// of it is done.
pub(super) fn list(graph: &QuantGraph, edges: &Edges, lowered: &[Lowered], views: &Views) -> Tasks {
    let storage = &views.storage;
    let mut held: Vec<Held> = (0..graph.tensors.len())
        .map(|tensor| Held {
            bytes: storage.bytes(tensor),
            ..Held::default()
        })
        .collect();
    for &input in &edges.inputs {
        held[storage.place(input.index()).root].input = true;
    }
    for &output in &edges.outputs {
        held[storage.place(output.index()).root].output = true;
    }
    // The tasks after which a tensor is complete.
    let mut complete: Vec<Vec<usize>> = vec![Vec::new(); graph.tensors.len()];
    let mut tasks: Vec<Task> = Vec::new();
    let guards = guards::of_nodes(graph, lowered, views);
    let mut carried = Carried::of(graph, edges);
    for (i, (node, calls)) in graph.nodes.iter().zip(&views.calls).enumerate() {
        carried.view(node, &lowered[i]);
        let mut needs: Vec<usize> = node
            .inputs
            .iter()
            .flat_map(|t| complete[t.index()].clone())
            .chain(carried.readers_before(node.outputs[0]))
            .collect();
        for &call in calls {
            let kernel = &lowered[i].calls[call];
            let output = node.outputs[lowered[i].output_of(call)].index();
            let mut reads: Vec<usize> = arena_inputs(graph, i, kernel)
                .map(|t| storage.place(t).root)
                .collect();
            for guard in &guards[i] {
                reads.push(storage.place(guard.condition.index()).root);
                needs.extend(&complete[guard.origin.index()]);
            }
            if kernel.sources.contains(&Operand::Output) && lowered[i].body.is_empty() {
                reads.push(storage.place(output).root);
            }
            let repeated = repeated(graph, node).filter(|_| call + 1 == calls.len());
            let mut also_writes = Vec::new();
            if let Some((carried, given)) = repeated {
                also_writes.extend(carried.iter().map(|t| storage.place(t.index()).root));
                reads.extend(given.iter().map(|t| storage.place(t.index()).root));
                reads.extend(&also_writes);
            }
            let may_take_over = may_take_over(graph, storage, i, output, kernel);
            reads.sort_unstable();
            reads.dedup();
            needs.sort_unstable();
            needs.dedup();
            let task = tasks.len();
            let writes = storage.place(output).root;
            reads.iter().for_each(|&root| held[root].readers.push(task));
            held[writes].writers.push(task);
            also_writes.sort_unstable();
            also_writes.dedup();
            also_writes.iter().for_each(|&root| held[root].writers.push(task));
            let conditions = guards[i].iter().map(|guard| guard.origin);
            carried.read(node.inputs.iter().copied().chain(conditions), task);
            tasks.push(Task {
                node: i,
                call,
                needs: needs.clone(),
                writes,
                guards: guards[i].clone(),
                may_take_over: if calls.first() == Some(&call) && lowered[i].body.is_empty() {
                    may_take_over
                } else {
                    Vec::new()
                },
            });
            needs.push(task);
        }
        // A node that is a view is complete with its inputs; one with calls of its own, with the last of them too.
        for output in &node.outputs {
            complete[output.index()].clone_from(&needs);
        }
    }
    for task in &mut tasks {
        // A storage that several nodes fill, or that is given, was alive before: nothing can be taken over for it.
        let written = &held[task.writes];
        if written.input || written.writers.len() != views.calls[task.node].len() {
            task.may_take_over.clear();
        }
        task.may_take_over.retain(|&root| !held[root].output);
    }
    Tasks { tasks, held }
}

/// What the body of a loop writes beside its own memory, and what it reads that stays the same; both as tensors.
fn repeated<'g>(graph: &'g QuantGraph, node: &'g Node<QuantTensor>) -> Option<(&'g [Tensor], &'g [Tensor])> {
    let (repeat, _) = graph.body(node)?;
    Some((&node.outputs[..repeat.carried], &node.inputs[repeat.carried..]))
}

/// Who reads what a body carries: the next value goes where the old one lies, once nobody reads that.
struct Carried<'e> {
    edges: &'e Edges,
    /// Per tensor, the one whose value it is a part of.
    origin: Vec<Tensor>,
    /// Tasks that read what begins in a tensor, by that tensor.
    readers: BTreeMap<Tensor, Vec<usize>>,
}

impl<'e> Carried<'e> {
    fn of(graph: &QuantGraph, edges: &'e Edges) -> Self {
        Self {
            edges,
            origin: graph.tensors.handles().collect(),
            readers: BTreeMap::new(),
        }
    }

    /// Notes a view.
    fn view(&mut self, node: &Node<QuantTensor>, lowered: &Lowered) {
        if let Some(View::OfInput { .. }) = lowered.view {
            self.origin[node.outputs[0].index()] = self.origin[node.inputs[0].index()];
        }
    }

    /// Notes what a task reads.
    fn read(&mut self, tensors: impl Iterator<Item = Tensor>, task: usize) {
        if self.edges.carried.is_empty() {
            return;
        }
        for tensor in tensors {
            let origin = self.origin[tensor.index()];
            self.readers.entry(origin).or_default().push(task);
        }
    }

    /// The tasks so far that read what this tensor takes the place of.
    fn readers_before(&self, output: Tensor) -> Vec<usize> {
        let pair = self.edges.carried.iter().find(|pair| pair[0] == output);
        let readers = pair.and_then(|pair| self.readers.get(&pair[1]));
        readers.cloned().unwrap_or_default()
    }
}

/// The activations that a call reads, as tensor indices.
fn arena_inputs(graph: &QuantGraph, node: usize, kernel: &KernelCall) -> impl Iterator<Item = usize> {
    kernel.sources.iter().filter_map(move |source| match source {
        Operand::Input { index, .. } => {
            let tensor = graph.nodes[node].inputs[*index];
            graph.tensors[tensor].data.is_none().then(|| tensor.index())
        }
        Operand::Output | Operand::Constant(_) => None,
    })
}

/// The storages whose place the call's output may take: filled by a source that the kernel can overwrite, of the
/// output's size, and read by no other source of the call.
fn may_take_over(
    graph: &QuantGraph,
    storage: &Storage,
    node: usize,
    output: usize,
    kernel: &KernelCall,
) -> Vec<usize> {
    if kernel.ofm_byte_offset != 0 || !storage.fills(output) {
        return Vec::new();
    }
    // Both the operator and the runtime's own account of the record must allow it.
    let allowed = kernel
        .layer
        .extents()
        .map_or([false; MAX_SOURCES], |extents| extents.in_place);
    let mut roots = Vec::new();
    for &source in kernel
        .in_place
        .iter()
        .filter(|&&source| allowed.get(source) == Some(&true))
    {
        let Some(Operand::Input {
            index,
            byte_offset: 0,
        }) = kernel.sources.get(source)
        else {
            continue;
        };
        let tensor = graph.nodes[node].inputs[*index];
        let place = storage.place(tensor.index());
        let reads = arena_inputs(graph, node, kernel).filter(|&t| storage.place(t).root == place.root);
        if graph.tensors[tensor].data.is_none()
            && storage.fills(tensor.index())
            && storage.bytes(place.root) == storage.bytes(output)
            && reads.count() == 1
        {
            roots.push(place.root);
        }
    }
    roots
}
