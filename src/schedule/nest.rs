//! A graph and the bodies of its loops, each with its draft. Bodies are drafted first: what one needs for itself is a
//! block of memory for the loop's step around it.

use super::draft::{self, Draft};
use super::edges::{self, Edges};
use super::tasks::Task;
use crate::ir::QuantGraph;
use crate::op::Lowered;
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::tensor::{DType, TensorType};
use crate::target::Target;

/// A graph with its draft.
pub(super) struct Nest {
    /// The graph; its loops have one more output, the memory that their bodies need for themselves.
    pub(super) graph: QuantGraph,
    /// How it runs.
    pub(super) draft: Draft,
    /// Per node, the body that it repeats.
    pub(super) bodies: Vec<Option<Self>>,
}

/// Drafts a graph whose bodies are ready, innermost bodies first.
pub(super) fn draft(target: &Target, graph: &QuantGraph, edges: &Edges, lowered: &[Lowered]) -> Nest {
    let mut graph = graph.clone();
    let mut bodies = Vec::with_capacity(graph.nodes.len());
    for (position, kernels) in lowered.iter().enumerate() {
        let node = &graph.nodes[position];
        let Some((repeat, body)) = graph.body(node) else {
            bodies.push(None);
            continue;
        };
        let nest = draft(target, body, &edges::of_body(body, repeat), &kernels.body);
        // Eight bytes each, so that whatever lies inside starts where it must.
        let words = nest.draft.placement.bytes.div_ceil(8);
        let scratch = QuantTensor {
            name: format!("{} body", node.name),
            ty: TensorType::new(DType::I64, [words as usize]),
            quantization: Quantization::Plain,
            model_dtype: DType::I64,
            data: None,
        };
        let scratch = graph.tensors.push(scratch);
        graph.nodes[position].outputs.push(scratch);
        bodies.push(Some(nest));
    }
    let draft = draft::smallest(target, &graph, edges, lowered);
    Nest { graph, draft, bodies }
}

impl Nest {
    /// The body that a task repeats, if it is the step in front of one.
    pub(super) fn body_of(&self, task: &Task) -> Option<&Self> {
        let node = &self.graph.nodes[task.node];
        let (repeat, _) = self.graph.body(node)?;
        self.bodies[task.node]
            .as_ref()
            .filter(|_| task.call == repeat.carried)
    }
}
