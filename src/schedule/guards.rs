//! Guards: which nodes need run only where a condition turns out one way, because nothing else reads what they give.
//!
//! A node is guarded by a condition where every way from it to an output of the graph goes through the same side of a
//! [`Select`](crate::op::Select) of that condition, and where the graph makes the condition before it. To run it all the
//! same changes nothing, so that any guard may be left out.

use super::views::Views;
use crate::ir::{Handle, QuantGraph};
use crate::op::quant::QuantTensor;
use crate::op::{Lowered, Op, View};

/// A condition, and the way it has to turn out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    pub(super) condition: Handle<QuantTensor>,
    pub(super) when: bool,
    /// The tensor that the condition is a view of, or the condition itself: what has to be there first.
    pub(super) origin: Handle<QuantTensor>,
}

/// Conditions of one node, at most: one per If within another.
pub(super) const MOST: usize = tinsmith_runtime::format::MOST_GUARDS;

/// The guards of every node.
///
/// A condition that stands behind a node is left out: it could depend on other conditions that stand there as well. What
/// a condition is itself guarded by stands before it, so that it is never left out of a node that keeps the condition.
pub(super) fn of_nodes(graph: &QuantGraph, lowered: &[Lowered], views: &Views) -> Vec<Vec<Guard>> {
    let mut producers = vec![None; graph.tensors.len()];
    for (position, node) in graph.nodes.iter().enumerate() {
        node.outputs
            .iter()
            .for_each(|output| producers[output.index()] = Some(position));
    }
    let origin = |condition: Handle<QuantTensor>| {
        let mut origin = condition;
        while let Some(position) = producers[origin.index()]
            && views.calls[position].is_empty()
            && matches!(lowered[position].view, Some(View::OfInput { .. }))
        {
            origin = graph.nodes[position].inputs[0];
        }
        origin
    };
    // By tensor: what all of its uses so far have in common; `None` before the first.
    let mut of_tensor: Vec<Option<Vec<Guard>>> = vec![None; graph.tensors.len()];
    for output in &graph.outputs {
        of_tensor[output.index()] = Some(Vec::new());
    }
    let mut guards = vec![Vec::new(); graph.nodes.len()];
    for (position, node) in graph.nodes.iter().enumerate().rev() {
        // What is never read counts for nothing, unless nothing else is made.
        let mut read = node
            .outputs
            .iter()
            .filter_map(|output| of_tensor[output.index()].clone());
        let mut own = read.next().unwrap_or_default();
        read.for_each(|other| own.retain(|guard| other.contains(guard)));
        // What keeps a state runs every time.
        if matches!(node.op, Op::Delay(_)) {
            own.clear();
        }
        for (index, &input) in node.inputs.iter().enumerate() {
            let mut use_guards = own.clone();
            // A condition of several elements takes both sides.
            let condition = &graph.tensors[node.inputs[0]];
            let decides = condition.data.is_none() && condition.ty.len() == 1;
            if matches!(node.op, Op::Select(_)) && index > 0 && decides {
                let guard = Guard {
                    condition: node.inputs[0],
                    when: index == 1,
                    origin: origin(node.inputs[0]),
                };
                if !use_guards.contains(&guard) {
                    use_guards.push(guard);
                }
            }
            let known = &mut of_tensor[input.index()];
            match known {
                None => *known = Some(use_guards),
                Some(known) => known.retain(|guard| use_guards.contains(guard)),
            }
        }
        own.truncate(MOST);
        own.retain(|guard| producers[guard.origin.index()].is_none_or(|producer| producer < position));
        guards[position] = own;
    }
    guards
}
