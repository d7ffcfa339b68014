//! Loop: <https://onnx.ai/onnx/operators/onnx__Loop.html>, and SequenceMap, which is one over sequences.

use tinsmith_proto::GraphProto;

use super::super::attrs::Attrs;
use super::super::builder::Tensor;
use super::super::model::Import;
use super::super::node::{self, Made, Node};
use super::super::scope::{Item, Sequence, Value};
use super::Inner;
use crate::op::OpError;
use crate::op::tensor::{Data, Values};

/// A Loop whose trip count is known, or whose condition is in every iteration, is unrolled. Where the condition is known
/// only when running, every iteration up to the trip count is there, and those behind the end pass on what they are
/// given.
pub(super) fn import(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    let attrs = Attrs::new(&call.node.attribute);
    let graph = attrs.graph("body")?;
    attrs.finish(call.version)?;
    let most = match call.maybe_tensor(0)? {
        None => None,
        Some(count) => {
            let count = import.known_number(count, "the trip count")?.ok_or_else(|| {
                OpError::new("a trip count known at compile time wanted, one known only when running found")
                    .with_help("export the model with the most iterations as the trip count and a condition beside it")
            })?;
            Some(usize::try_from(count).unwrap_or(0))
        }
    };
    let condition = call.maybe_tensor(1)?;
    if most.is_none() && condition.is_none() {
        return Err(OpError::new(
            "a trip count or a condition wanted, an endless loop found",
        ));
    }
    let inner = import.open_graph(graph, call)?;
    let made = iterate(import, call, &inner, most, condition);
    import.close_graph();
    made
}

/// Whether a loop goes on.
#[derive(Clone, Copy)]
enum Goes {
    On,
    /// Where this Boolean holds.
    If(Tensor),
    No,
}

impl Goes {
    fn by(import: &Import<'_>, condition: Tensor) -> Result<Self, OpError> {
        Ok(match import.known_number(condition, "the condition")? {
            Some(0) => Self::No,
            Some(_) => Self::On,
            None => Self::If(condition),
        })
    }

    /// Whether it goes on here and by `next` too.
    fn and(self, import: &mut Import<'_>, next: Tensor) -> Result<Self, OpError> {
        Ok(match (self, Self::by(import, next)?) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (before, Self::On) => before,
            (Self::On, next) => next,
            (Self::If(before), Self::If(next)) => {
                let shape = import.graph.shape(next).to_vec();
                let end = import
                    .graph
                    .constant(Values::new(shape, Data::Bool(vec![false])), "end");
                Self::If(import.choose_tensor(before, next, end)?)
            }
        })
    }
}

/// Without a condition, the one that the body computes counts for nothing.
fn iterate(
    import: &mut Import<'_>,
    call: &Node<'_>,
    inner: &Inner<'_>,
    most: Option<usize>,
    condition: Option<Tensor>,
) -> Made {
    let carried = inner.inputs.len().checked_sub(2);
    let fits = |carried: &usize| call.inputs.len() <= carried + 2 && inner.outputs() > *carried;
    let carried = carried.filter(fits).ok_or_else(|| {
        OpError::new(format!(
            "a body that takes and gives the loop's carried values wanted, {} inputs and {} outputs found",
            inner.inputs.len(),
            inner.outputs()
        ))
    })?;
    let mut goes = condition.map_or(Ok(Goes::On), |condition| Goes::by(import, condition))?;
    if let (Some(most), None) = (most, condition) {
        import.expect_room(inner, most)?;
    }
    let wants = |index: usize| {
        call.node
            .output
            .get(carried + index)
            .is_some_and(|name| !name.is_empty())
    };
    let mut state: Vec<Item> = call.inputs.iter().skip(2).cloned().collect();
    state.resize(carried, Item::Absent);
    let mut scans: Vec<Vec<Tensor>> = vec![Vec::new(); inner.outputs() - 1 - carried];
    let mut trips = 0;
    while !matches!(goes, Goes::No) && most.is_none_or(|most| trips < most) {
        if let Goes::If(_) = goes {
            if most.is_none() {
                return Err(OpError::new(
                    "a trip count beside a condition that is known only when running wanted, none found",
                )
                .with_help("export the model with the most iterations as the trip count"));
            }
            if (0..scans.len()).any(wants) {
                return Err(OpError::new(
                    "a length known at compile time wanted, a scan output whose length the condition decides found",
                )
                .with_help("carry a tensor of the full length instead"));
            }
        }
        import.expect_room(inner, 1)?;
        import.take_room(1 + inner.inputs.len() + inner.outputs());
        import.name_after(call);
        let count = Values::new([], Data::I64(vec![trips as i64]));
        let count = import.graph.constant(count, "iteration");
        let condition_in = import
            .graph
            .constant(Values::new([], Data::Bool(vec![true])), "condition");
        let mut given = vec![Item::Tensor(count), Item::Tensor(condition_in)];
        given.extend(state.iter().cloned());
        let Some(mut outputs) = import.evaluate(inner, given)? else {
            return Ok(None);
        };
        for (scan, item) in scans.iter_mut().zip(outputs.drain(1 + carried..)) {
            scan.push(node::tensor(&item)?);
        }
        let next = outputs.split_off(1);
        import.name_after(call);
        state = match goes {
            Goes::If(condition) => {
                let pairs = next.iter().zip(&state);
                let chosen = pairs.map(|(next, old)| import.choose(condition, next, old));
                chosen.collect::<Result<_, _>>()?
            }
            Goes::On | Goes::No => next,
        };
        if condition.is_some() {
            goes = goes.and(import, node::tensor(&outputs[0])?)?;
        }
        trips += 1;
    }
    import.name_after(call);
    let mut made: Vec<Value> = state.into_iter().map(Some).collect();
    for (index, scan) in scans.iter().enumerate() {
        // A scan output that nobody names needs no shape.
        made.push(if wants(index) {
            Some(Item::Tensor(import.stack_scan(
                inner,
                1 + carried + index,
                scan,
                0,
            )?))
        } else {
            None
        });
    }
    Ok(Some(made))
}

/// The body for every element of the first sequence, with that of the other sequences, and all of the tensors.
pub(super) fn map(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    let attrs = Attrs::new(&call.node.attribute);
    let graph = attrs.graph("body")?;
    attrs.finish(call.version)?;
    let inner = import.open_graph(graph, call)?;
    let made = for_each(import, call, &inner, graph);
    import.close_graph();
    made
}

fn for_each(import: &mut Import<'_>, call: &Node<'_>, inner: &Inner<'_>, graph: &GraphProto) -> Made {
    let Some(Item::Sequence(first)) = call.optional(0) else {
        return Err(OpError::new("a sequence wanted as the first input, none found"));
    };
    let length = first.items.len();
    for item in &call.inputs {
        if let Item::Sequence(other) = item
            && other.items.len() != length
        {
            return Err(OpError::new(format!(
                "sequences of one length wanted, {length} and {} found",
                other.items.len()
            )));
        }
    }
    import.expect_room(inner, length)?;
    let mut made: Vec<Sequence> = vec![Sequence::default(); graph.output.len()];
    for at in 0..length {
        import.take_room(1 + inner.inputs.len() + inner.outputs());
        let given = call.inputs.iter().map(|item| match item {
            Item::Sequence(sequence) => Item::Tensor(sequence.items[at]),
            other => other.clone(),
        });
        let Some(outputs) = import.evaluate(inner, given.collect())? else {
            return Ok(None);
        };
        for (sequence, item) in made.iter_mut().zip(&outputs) {
            let tensor = node::tensor(item)?;
            sequence.element = Some(import.graph.ty(tensor).dtype);
            sequence.items.push(tensor);
        }
    }
    Ok(Some(
        made.into_iter()
            .map(|sequence| Some(Item::Sequence(sequence)))
            .collect(),
    ))
}
