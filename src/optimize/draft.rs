//! The graph while a pass edits it: every question about neighbours, and every edit, costs what it touches, however
//! long the graph is.

use std::collections::{HashMap, HashSet};
use std::ops::Index;

use super::edit::Tensor;
use crate::ir::{Arena, FloatGraph, FloatTensor, Node};

/// Where a node stands. It stays valid while other nodes come and go; nodes that were there when the draft was opened
/// have ascending places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u32);

/// A node's slot in the list of nodes; a removed one still knows what stood behind it.
struct Slot {
    node: Option<Node<FloatTensor>>,
    before: Option<Place>,
    behind: Option<Place>,
}

/// The nodes by place. They can be looked at here; [`Draft::change`] changes them.
pub(super) struct Nodes(Vec<Slot>);

impl Index<Place> for Nodes {
    type Output = Node<FloatTensor>;
    fn index(&self, place: Place) -> &Node<FloatTensor> {
        let node = self.0[place.0 as usize].node.as_ref();
        node.expect("passes do not keep places of nodes that they removed")
    }
}

/// A [`FloatGraph`] under edit, with an index from tensors to the nodes around them.
pub(super) struct Draft {
    /// The nodes, by place.
    pub(super) nodes: Nodes,
    /// All tensors. A pass may change their types; new ones come by [`Draft::add_tensor`].
    pub(super) tensors: Arena<FloatTensor>,
    first: Option<Place>,
    last: Option<Place>,
    around: Vec<Around>,
    names: Option<Names>,
}

/// What stands around a tensor.
#[derive(Clone, Default)]
struct Around {
    producer: Option<Place>,
    /// Node inputs that read it.
    reads: usize,
    /// Every node that reads it, and perhaps some that no longer do.
    readers: Vec<Place>,
    is_output: bool,
}

/// The tensors' names, and by stem the last number that told one apart.
struct Names {
    taken: HashSet<String>,
    numbers: HashMap<String, u64>,
}

impl Draft {
    /// Lets `edit` work on the graph.
    pub(super) fn edit<R>(graph: &mut FloatGraph, edit: impl FnOnce(&mut Self) -> R) -> R {
        let nodes = std::mem::take(&mut graph.nodes);
        let tensors = std::mem::take(&mut graph.tensors);
        let mut draft = Self {
            nodes: Nodes(Vec::with_capacity(nodes.len())),
            around: vec![Around::default(); tensors.len()],
            tensors,
            first: None,
            last: None,
            names: None,
        };
        for &output in &graph.outputs {
            draft.around[output.index()].is_output = true;
        }
        for node in nodes {
            draft.put(node, draft.last, None);
        }
        let result = edit(&mut draft);
        let mut next = draft.first;
        while let Some(place) = next {
            let slot = &mut draft.nodes.0[place.0 as usize];
            graph.nodes.extend(slot.node.take());
            next = slot.behind;
        }
        graph.tensors = draft.tensors;
        result
    }

    /// Goes through the nodes in order, those that `rewrite` puts behind its own included; tells how often it did
    /// something.
    pub(super) fn sweep(
        graph: &mut FloatGraph,
        mut rewrite: impl FnMut(&mut Self, Place) -> Option<()>,
    ) -> usize {
        Self::edit(graph, |draft| {
            let mut count = 0;
            let mut next = draft.first;
            while let Some(place) = next {
                if draft.holds(place) {
                    count += usize::from(rewrite(draft, place).is_some());
                }
                next = draft.nodes.0[place.0 as usize].behind;
            }
            count
        })
    }

    /// The places of all nodes, in order.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        let mut next = self.first;
        while let Some(place) = next {
            places.push(place);
            next = self.nodes.0[place.0 as usize].behind;
        }
        places
    }

    /// The node that produces `tensor`; `None` for inputs and constants.
    pub(super) fn producer(&self, tensor: Tensor) -> Option<Place> {
        self.around[tensor.index()].producer
    }

    /// The nodes that read `tensor`, each once.
    pub(super) fn readers(&self, tensor: Tensor) -> Vec<Place> {
        let mut readers = self.around[tensor.index()].readers.clone();
        readers.sort_unstable();
        readers.dedup();
        readers.retain(|&place| self.holds(place) && self.nodes[place].inputs.contains(&tensor));
        readers
    }

    /// Whether `tensor` is an output of the graph.
    pub(super) fn is_output(&self, tensor: Tensor) -> bool {
        self.around[tensor.index()].is_output
    }

    /// Whether `tensor` is read by exactly one node input and is no output of the graph.
    pub(super) fn has_one_reader(&self, tensor: Tensor) -> bool {
        let around = &self.around[tensor.index()];
        around.reads == 1 && !around.is_output
    }

    /// Whether a node is still there.
    pub(super) fn holds(&self, place: Place) -> bool {
        self.nodes.0[place.0 as usize].node.is_some()
    }

    /// Whether nothing needs a node's outputs.
    pub(super) fn is_dead(&self, place: Place) -> bool {
        let mut outputs = self.nodes[place].outputs.iter();
        outputs.all(|output| {
            let around = &self.around[output.index()];
            around.reads == 0 && !around.is_output
        })
    }

    /// Lets every node that reads `old` read `new` instead; tells how many inputs changed. Outputs of the graph stay.
    pub(super) fn replace_reads(&mut self, old: Tensor, new: Tensor) -> usize {
        if old == new {
            return 0;
        }
        let readers = std::mem::take(&mut self.around[old.index()].readers);
        let mut count = 0;
        for place in readers {
            let Some(node) = &mut self.nodes.0[place.0 as usize].node else {
                continue;
            };
            let mut here = 0;
            for input in node.inputs.iter_mut().filter(|input| **input == old) {
                *input = new;
                here += 1;
            }
            if here > 0 {
                self.around[new.index()].readers.push(place);
            }
            count += here;
        }
        self.around[old.index()].reads -= count;
        self.around[new.index()].reads += count;
        count
    }

    /// Changes a node in its place.
    pub(super) fn change(&mut self, place: Place, change: impl FnOnce(&mut Node<FloatTensor>)) {
        let mut node = self.detach(place);
        change(&mut node);
        self.attach(place, node);
    }

    /// Removes a node.
    pub(super) fn remove(&mut self, place: Place) {
        self.detach(place);
        let Slot { before, behind, .. } = self.nodes.0[place.0 as usize];
        self.link(before, behind);
    }

    /// Puts a node before another one.
    pub(super) fn insert_before(&mut self, place: Place, node: Node<FloatTensor>) -> Place {
        self.put(node, self.nodes.0[place.0 as usize].before, Some(place))
    }

    /// Puts a node behind another one.
    pub(super) fn insert_behind(&mut self, place: Place, node: Node<FloatTensor>) -> Place {
        self.put(node, Some(place), self.nodes.0[place.0 as usize].behind)
    }

    /// Adds a tensor that no node names yet.
    pub(super) fn add_tensor(&mut self, tensor: FloatTensor) -> Tensor {
        self.around.push(Around::default());
        self.tensors.push(tensor)
    }

    /// A name that no tensor has, taken from now on: `base`, or `base` with a number.
    pub(super) fn fresh_name(&mut self, base: &str) -> String {
        let names = self.names.get_or_insert_with(|| Names {
            taken: self
                .tensors
                .iter()
                .map(|(_, tensor)| tensor.name.clone())
                .collect(),
            numbers: HashMap::new(),
        });
        if names.taken.insert(base.to_owned()) {
            return base.to_owned();
        }
        // What was numbered before gets another number, not a second one.
        let stem = base
            .rsplit_once('.')
            .filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()))
            .map_or(base, |(stem, _)| stem);
        let number = names.numbers.entry(stem.to_owned()).or_default();
        loop {
            *number += 1;
            let name = format!("{stem}.{number}");
            if names.taken.insert(name.clone()) {
                return name;
            }
        }
    }

    /// A node in a new slot between two that are neighbours.
    fn put(&mut self, node: Node<FloatTensor>, before: Option<Place>, behind: Option<Place>) -> Place {
        let index = u32::try_from(self.nodes.0.len()).expect("fewer than 2^32 nodes");
        let place = Place(index);
        self.nodes.0.push(Slot {
            node: None,
            before,
            behind,
        });
        self.attach(place, node);
        self.link(before, Some(place));
        self.link(Some(place), behind);
        place
    }

    /// Makes two places neighbours; a missing one is the end of the list.
    fn link(&mut self, before: Option<Place>, behind: Option<Place>) {
        match before {
            Some(before) => self.nodes.0[before.0 as usize].behind = behind,
            None => self.first = behind,
        }
        match behind {
            Some(behind) => self.nodes.0[behind.0 as usize].before = before,
            None => self.last = before,
        }
    }

    fn attach(&mut self, place: Place, node: Node<FloatTensor>) {
        for &input in &node.inputs {
            let around = &mut self.around[input.index()];
            around.reads += 1;
            if around.readers.last() != Some(&place) {
                around.readers.push(place);
            }
        }
        for &output in &node.outputs {
            self.around[output.index()].producer = Some(place);
        }
        self.nodes.0[place.0 as usize].node = Some(node);
    }

    fn detach(&mut self, place: Place) -> Node<FloatTensor> {
        let node = self.nodes.0[place.0 as usize].node.take();
        let node = node.expect("passes do not keep places of nodes that they removed");
        for &input in &node.inputs {
            self.around[input.index()].reads -= 1;
        }
        for &output in &node.outputs {
            let producer = &mut self.around[output.index()].producer;
            if *producer == Some(place) {
                *producer = None;
            }
        }
        node
    }
}
