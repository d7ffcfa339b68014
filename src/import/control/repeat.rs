//! Loop: <https://onnx.ai/onnx/operators/onnx__Loop.html>, and SequenceMap, which is one over sequences.

use tinsmith_proto::GraphProto;

use super::super::attrs::Attrs;
use super::super::builder::{Carried, Tensor};
use super::super::model::Import;
use super::super::node::{self, Made, Node};
use super::super::scope::{Item, Sequence, Value};
use super::step::Body;
use super::{Inner, tensors_of};
use crate::op::OpError;
use crate::op::tensor::{Data, Values};

/// A Loop that is short, or has no trip count but ends by what is known, is unrolled. Where the condition is known only
/// when running, every iteration up to the trip count is there, and those behind the end pass on what they are given.
/// Any other is a step over one body.
pub(super) fn import(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    let attrs = Attrs::new(&call.node.attribute);
    let graph = attrs.graph("body")?;
    attrs.finish(call.version)?;
    let bound = import.graph.bound();
    let (mut known, mut computed) = (None, None);
    if let Some(count) = call.maybe_tensor(0)? {
        match import.known_number(count, "the trip count")? {
            Some(count) => known = Some(usize::try_from(count).unwrap_or(0)),
            None => computed = Some(count),
        }
    }
    if computed.is_some() && bound.is_none() {
        return Err(OpError::new(
            "a trip count known at compile time wanted, one known only when running found",
        )
        .with_help(format!(
            "say how many iterations there are at most: --bound {}=N",
            call.names.0
        )));
    }
    let condition = call.maybe_tensor(1)?;
    if known.is_none() && computed.is_none() && condition.is_none() {
        return Err(OpError::new(
            "a trip count or a condition wanted, an endless loop found",
        ));
    }
    let most = match (known, bound) {
        (Some(known), Some(bound)) => Some(known.min(bound)),
        (known, bound) => known.or(bound),
    };
    let inner = import.open_graph(graph, call)?;
    let made = match most {
        Some(most) if most > 0 && (bound.is_some() || !import.unrolls(&inner, most)) => {
            let may_unroll = bound.is_none() && import.expect_room(&inner, most).is_ok();
            let ends = Ends {
                most,
                bounded: bound.is_some(),
                computed,
                condition,
            };
            let step = import.step_or_unroll(may_unroll, |import| step(import, call, &inner, &ends));
            step.unwrap_or_else(|| iterate(import, call, &inner, known, condition))
        }
        _ => iterate(import, call, &inner, most, condition),
    };
    import.close_graph();
    made
}

/// What ends a step.
struct Ends {
    most: usize,
    /// Whether the user says that it is the most.
    bounded: bool,
    /// A count known only when running.
    computed: Option<Tensor>,
    condition: Option<Tensor>,
}

/// How many values a body carries, beside its condition.
fn carried_by(call: &Node<'_>, inner: &Inner<'_>) -> Result<usize, OpError> {
    let carried = inner.inputs.len().checked_sub(2);
    let fits = |carried: &usize| call.inputs.len() <= carried + 2 && inner.outputs() > *carried;
    carried.filter(fits).ok_or_else(|| {
        OpError::new(format!(
            "a body that takes and gives the loop's carried values wanted, {} inputs and {} outputs found",
            inner.inputs.len(),
            inner.outputs()
        ))
    })
}

/// The loop as a step over its body. Rows of scan outputs that no iteration gives hold zeros.
fn step(import: &mut Import<'_>, call: &Node<'_>, inner: &Inner<'_>, ends: &Ends) -> Made {
    let count = carried_by(call, inner)?;
    let start = tensors_of(call.inputs.get(2..).unwrap_or_default())?;
    if start.len() != count {
        return Err(OpError::new(format!(
            "{count} carried values wanted, {} found",
            start.len()
        )));
    }
    import.name_after(call);
    let mut body = import.begin_body(inner, ends.most)?;
    let goes = Values::new([], Data::Bool(vec![true]));
    let goes = import.graph.constant(goes, "condition");
    let mut given = vec![Item::Tensor(body.counter), Item::Tensor(goes)];
    let mut now = Vec::with_capacity(count);
    for &start in &start {
        let ty = import.graph.ty(start).clone();
        now.push(import.graph.stand_in(ty, "now"));
    }
    given.extend(now.iter().map(|&now| Item::Tensor(now)));
    let Some(outputs) = import.evaluate(inner, given)? else {
        return Ok(None);
    };
    let outputs = tensors_of(&outputs)?;
    import.name_after(call);
    let condition = condition(import, &body, ends, outputs[0])?;
    if let Some([start, next]) = condition {
        let ty = import.graph.ty(start).clone();
        let now = import.graph.stand_in(ty, "goes_on");
        body.carried.push(Carried { start, now, next });
    }
    let ends_of = start.iter().zip(&now).zip(&outputs[1..]);
    let values = ends_of.map(|((&start, &now), &next)| Carried { start, now, next });
    body.carried.extend(values);
    let mut wanted = Vec::new();
    for (index, &row) in outputs[1 + count..].iter().enumerate() {
        let name = call.node.output.get(count + index);
        wanted.push(name.is_some_and(|name| !name.is_empty()));
        if wanted[index] && condition.is_some() && !ends.bounded {
            return Err(length_unknown(call));
        }
        if wanted[index] {
            import.collect(&mut body, row, false)?;
        }
    }
    if body.carried.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let made = import.end_body(body, condition.is_some())?;
    import.note_step("Loop", &call.names.0, ends.most, condition.is_some());
    let mut made = made.into_iter().skip(usize::from(condition.is_some()));
    let mut values: Vec<Value> = made.by_ref().take(count).map(|t| Some(Item::Tensor(t))).collect();
    for wanted in wanted {
        values.push(if wanted {
            made.next().map(Item::Tensor)
        } else {
            None
        });
    }
    Ok(Some(values))
}

/// The condition before the first iteration and behind each one; `None` where it always holds.
fn condition(
    import: &mut Import<'_>,
    body: &Body,
    ends: &Ends,
    next: Tensor,
) -> Result<Option<[Tensor; 2]>, OpError> {
    let mut known = true;
    let mut pair = None;
    if let Some(start) = ends.condition {
        for condition in [start, next] {
            known &= matches!(import.known_number(condition, "the condition")?, Some(flag) if flag != 0);
        }
        pair = (!known).then_some([start, next]);
    }
    let Some(count) = ends.computed else {
        return pair
            .map(|[start, next]| Ok([import.scalar(start)?, import.scalar(next)?]))
            .transpose();
    };
    let more = [
        import.count_left(body, count, false)?,
        import.count_left(body, count, true)?,
    ];
    Ok(Some(match pair {
        None => more,
        Some([start, next]) => [import.both(start, more[0])?, import.both(next, more[1])?],
    }))
}

/// A scan output has as many rows as there are iterations, which the condition decides.
fn length_unknown(call: &Node<'_>) -> OpError {
    OpError::new("a length known at compile time wanted, a scan output whose length the condition decides found").with_help(
        format!(
            "carry a tensor of the full length instead, or say how many rows there are at most, with zeros behind those that \
             iterations give: --bound {}=N",
            call.names.0
        ),
    )
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
    let carried = carried_by(call, inner)?;
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
                .with_help(format!(
                    "say how many iterations there are at most: --bound {}=N",
                    call.names.0
                )));
            }
            if (0..scans.len()).any(wants) {
                return Err(length_unknown(call));
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
    import.note_unrolled("Loop", &call.names.0, trips);
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
