//! Scan: <https://onnx.ai/onnx/operators/onnx__Scan.html>. Its trip count is an extent, which is known: a short one is
//! unrolled, a long one a step over its body.

use super::super::attrs::Attrs;
use super::super::builder::{Carried, Tensor};
use super::super::model::Import;
use super::super::node::{Made, Node};
use super::super::ops::resolve_axis;
use super::super::scope::{Item, Value};
use super::{Inner, tensors_of};
use crate::op::OpError;
use crate::op::tensor::{Data, Values};

/// How the sequences run: an axis and a direction of each; 1 is backward.
struct Plan {
    inputs: Vec<(i64, bool)>,
    outputs: Vec<(i64, bool)>,
}

pub(super) fn import(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    let attrs = Attrs::new(&call.node.attribute);
    let graph = attrs.graph("body")?;
    let sequences = attrs.required_int("num_scan_inputs")?;
    let (axes, directions): (&[&str], &[&str]) = if call.version < 9 {
        (&[], &["directions"])
    } else {
        (
            &["scan_input_axes", "scan_output_axes"],
            &["scan_input_directions", "scan_output_directions"],
        )
    };
    let read = |names: &[&str], at: usize| match names.get(at) {
        Some(name) => attrs.maybe_ints(name),
        None => Ok(None),
    };
    let given = [
        read(axes, 0)?,
        read(directions, 0)?,
        read(axes, 1)?,
        read(directions, 1)?,
    ];
    attrs.finish(call.version)?;
    // Opset 8 has an optional input of lengths in front, and a batch axis on everything.
    let batched = call.version < 9;
    let ends = tensors_of(call.inputs.get(usize::from(batched)..).unwrap_or_default())?;
    let states = usize::try_from(sequences).ok().filter(|&count| count >= 1);
    let states = states.and_then(|count| ends.len().checked_sub(count));
    let states = states
        .ok_or_else(|| OpError::new(format!("1 to {} sequences wanted, {sequences} found", ends.len())))?;
    let (initial, sequences) = ends.split_at(states);
    let outputs = graph.output.len().checked_sub(states);
    let outputs = outputs.ok_or_else(|| {
        OpError::new(format!(
            "a body with at least {states} outputs wanted, {} found",
            graph.output.len()
        ))
    })?;
    let plan = Plan {
        inputs: along("inputs", given[0], given[1], sequences.len())?,
        outputs: along("outputs", given[2], given[3], outputs)?,
    };
    let inner = import.open_graph(graph, call)?;
    let made = if batched {
        over_batch(import, call, &inner, initial, sequences, &plan)
    } else {
        over_sequences(import, call, &inner, initial, sequences, &plan)
    };
    import.close_graph();
    Ok(made?.map(|tensors| {
        let value = |tensor| -> Value { Some(Item::Tensor(tensor)) };
        tensors.into_iter().map(value).collect()
    }))
}

/// An axis and a direction for each of `count` ends.
fn along(
    what: &str,
    axes: Option<&[i64]>,
    directions: Option<&[i64]>,
    count: usize,
) -> Result<Vec<(i64, bool)>, OpError> {
    for given in [axes, directions].into_iter().flatten() {
        if given.len() != count {
            return Err(OpError::new(format!(
                "an axis and a direction for each of {count} scanned {what} wanted, {given:?} found"
            )));
        }
    }
    let direction = |at: usize| match directions.map_or(0, |given| given[at]) {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(OpError::new(format!(
            "a direction of 0 or 1 wanted, {other} found"
        ))),
    };
    (0..count)
        .map(|at| Ok((axes.map_or(0, |given| given[at]), direction(at)?)))
        .collect()
}

/// Runs the body once per index of the sequences; gives the last states and what was scanned.
fn over_sequences(
    import: &mut Import<'_>,
    call: &Node<'_>,
    inner: &Inner<'_>,
    initial: &[Tensor],
    sequences: &[Tensor],
    plan: &Plan,
) -> Result<Option<Vec<Tensor>>, OpError> {
    let mut axes = Vec::with_capacity(sequences.len());
    let mut length = None;
    for (&sequence, &(axis, _)) in sequences.iter().zip(&plan.inputs) {
        let shape = import.graph.shape(sequence);
        let axis = resolve_axis(axis, shape.len())?;
        axes.push(axis);
        if *length.get_or_insert(shape[axis]) != shape[axis] {
            return Err(OpError::new(format!(
                "sequences of one length wanted, {} and {} found",
                length.unwrap_or_default(),
                shape[axis]
            )));
        }
    }
    let length = length.unwrap_or_default();
    if length > 0 && !import.unrolls(inner, length) {
        let may_unroll = import.expect_room(inner, length).is_ok();
        let ends = (initial, sequences, axes.as_slice());
        let step = import.step_or_unroll(may_unroll, |import| step(import, call, inner, ends, length, plan));
        if let Some(made) = step {
            return made;
        }
    }
    import.note_unrolled("Scan", &call.names.0, length);
    let Some((mut made, scans)) = steps(import, call, inner, initial, length, |import, at| {
        let ends = sequences.iter().zip(&axes).zip(&plan.inputs);
        ends.map(|((&sequence, &axis), &(_, backward))| {
            import.pick(sequence, axis, if backward { length - 1 - at } else { at })
        })
        .collect()
    })?
    else {
        return Ok(None);
    };
    import.name_after(call);
    for (index, (mut scan, &(axis, backward))) in scans.into_iter().zip(&plan.outputs).enumerate() {
        if backward {
            scan.reverse();
        }
        made.push(import.stack_scan(inner, initial.len() + index, &scan, axis)?);
    }
    Ok(Some(made))
}

/// The scan as a step over its body.
fn step(
    import: &mut Import<'_>,
    call: &Node<'_>,
    inner: &Inner<'_>,
    (initial, sequences, axes): (&[Tensor], &[Tensor], &[usize]),
    length: usize,
    plan: &Plan,
) -> Result<Option<Vec<Tensor>>, OpError> {
    import.name_after(call);
    let mut body = import.begin_body(inner, length)?;
    let mut given = Vec::with_capacity(initial.len() + sequences.len());
    for &start in initial {
        let ty = import.graph.ty(start).clone();
        given.push(import.graph.stand_in(ty, "now"));
    }
    for ((&sequence, &axis), &(_, backward)) in sequences.iter().zip(axes).zip(&plan.inputs) {
        given.push(import.element(&body, sequence, axis, backward)?);
    }
    let items = given.iter().map(|&tensor| Item::Tensor(tensor)).collect();
    let Some(outputs) = import.evaluate(inner, items)? else {
        return Ok(None);
    };
    let outputs = tensors_of(&outputs)?;
    import.name_after(call);
    for ((&start, &now), &next) in initial.iter().zip(&given).zip(&outputs) {
        body.carried.push(Carried { start, now, next });
    }
    let rows = outputs.get(initial.len()..).unwrap_or_default();
    let mut places = Vec::with_capacity(rows.len());
    for (&row, &(axis, backward)) in rows.iter().zip(&plan.outputs) {
        places.push(resolve_axis(axis, import.graph.shape(row).len() + 1)?);
        import.collect(&mut body, row, backward)?;
    }
    let mut made = import.end_body(body, false)?;
    for (stacked, axis) in made[initial.len()..].iter_mut().zip(places) {
        *stacked = import.first_axis_to(*stacked, axis)?;
    }
    import.note_step("Scan", &call.names.0, length, false);
    Ok(Some(made))
}

/// The last states, and what each iteration gave besides, by output.
type Steps = Option<(Vec<Tensor>, Vec<Vec<Tensor>>)>;

/// Runs the body `length` times, each with what `elements` picks of the sequences.
fn steps(
    import: &mut Import<'_>,
    call: &Node<'_>,
    inner: &Inner<'_>,
    initial: &[Tensor],
    length: usize,
    elements: impl Fn(&mut Import<'_>, usize) -> Result<Vec<Tensor>, OpError>,
) -> Result<Steps, OpError> {
    import.expect_room(inner, length)?;
    let mut states = initial.to_vec();
    let mut scans: Vec<Vec<Tensor>> = vec![Vec::new(); inner.outputs() - states.len()];
    for at in 0..length {
        import.take_room(1 + inner.inputs.len() + inner.outputs());
        import.name_after(call);
        let elements = elements(import, at)?;
        let given = states.iter().chain(&elements).map(|&tensor| Item::Tensor(tensor));
        let Some(outputs) = import.evaluate(inner, given.collect())? else {
            return Ok(None);
        };
        let mut outputs = tensors_of(&outputs)?;
        for (scan, tensor) in scans.iter_mut().zip(outputs.drain(states.len()..)) {
            scan.push(tensor);
        }
        for (state, next) in states.iter().zip(&outputs) {
            if import.graph.ty(*state) != import.graph.ty(*next) {
                return Err(OpError::new(format!(
                    "states of one type wanted, {} and then {} found",
                    import.graph.ty(*state),
                    import.graph.ty(*next)
                )));
            }
        }
        states = outputs;
    }
    Ok(Some((states, scans)))
}

/// Opset 8: the body for every index of the sequences of every sample, each as long as it is; zeros behind.
fn over_batch(
    import: &mut Import<'_>,
    call: &Node<'_>,
    inner: &Inner<'_>,
    initial: &[Tensor],
    sequences: &[Tensor],
    plan: &Plan,
) -> Result<Option<Vec<Tensor>>, OpError> {
    let mut extents = None;
    for &sequence in sequences {
        let shape = import.graph.shape(sequence);
        let &[batch, length, ..] = shape else {
            return Err(OpError::new("sequences with a batch axis and a time axis wanted"));
        };
        if *extents.get_or_insert((batch, length)) != (batch, length) {
            return Err(OpError::new("sequences of one length wanted, several found"));
        }
    }
    let (batch, longest) = extents.unwrap_or_default();
    let fits = |&state: &Tensor| import.graph.shape(state).first() == Some(&batch);
    if batch == 0 || longest == 0 || !initial.iter().all(fits) {
        return Err(OpError::new(
            "states and sequences of one batch, none of them empty, wanted",
        ));
    }
    let lengths = match call.maybe_tensor(0)? {
        None => vec![longest; batch],
        Some(lengths) => {
            let known = import
                .graph
                .constant_of(lengths)
                .and_then(|lengths| lengths.to_i64());
            let known = known.ok_or_else(|| OpError::new("lengths known at compile time wanted"))?;
            let known = known.into_iter().map(|length| usize::try_from(length).ok());
            let known: Option<Vec<usize>> = known.collect();
            let fits =
                |known: &Vec<usize>| known.len() == batch && known.iter().all(|n| (1..=longest).contains(n));
            known.filter(fits).ok_or_else(|| {
                OpError::new(format!(
                    "{batch} lengths from 1 to {longest} wanted, others found"
                ))
            })?
        }
    };
    import.expect_room(inner, lengths.iter().sum())?;
    let mut samples: Vec<Vec<Tensor>> = vec![Vec::new(); inner.outputs()];
    for (sample, &length) in lengths.iter().enumerate() {
        import.name_after(call);
        let of_sample = |import: &mut Import<'_>, tensors: &[Tensor]| -> Result<Vec<Tensor>, OpError> {
            tensors
                .iter()
                .map(|&tensor| import.pick(tensor, 0, sample))
                .collect()
        };
        let (initial, sequences) = (of_sample(import, initial)?, of_sample(import, sequences)?);
        let Some((states, scans)) = steps(import, call, inner, &initial, length, |import, at| {
            let ends = sequences.iter().zip(&plan.inputs);
            ends.map(|(&sequence, &(_, backward))| {
                import.pick(sequence, 0, if backward { length - 1 - at } else { at })
            })
            .collect()
        })?
        else {
            return Ok(None);
        };
        import.name_after(call);
        let count = states.len();
        for (made, state) in samples.iter_mut().zip(states) {
            made.push(state);
        }
        for (made, mut scan) in samples.iter_mut().skip(count).zip(scans) {
            if let Some(&first) = scan.first()
                && length < longest
            {
                let ty = import.graph.ty(first).clone();
                import.graph.take_bytes(ty.bytes())?;
                let zeros = Data::I8(vec![0; ty.len()]).cast(ty.dtype);
                let zeros = import.graph.constant(Values::new(ty.shape, zeros), "zeros");
                scan.resize(longest, zeros);
            }
            made.push(import.stack(&scan, 0)?);
        }
    }
    let made: Result<Vec<Tensor>, OpError> = samples.iter().map(|tensors| import.stack(tensors, 0)).collect();
    made.map(Some)
}
