//! Sequences and optional values: lists of tensors whose lengths and positions are known, so that none of them
//! reaches the graph.

use super::attrs::Attrs;
use super::builder::Tensor;
use super::model::Import;
use super::node::{ItemImporter, Made, Node};
use super::ops::resolve_axis;
use super::scope::{Item, Sequence};
use super::tensors::dtype;
use crate::op::tensor::{Data, Values};
use crate::op::{Concat, Op, OpError, Reshape, Slice};

pub(super) const IMPORTERS: &[(&str, ItemImporter)] = &[
    ("ConcatFromSequence", concat),
    ("Optional", optional),
    ("OptionalGetElement", get_element),
    ("OptionalHasElement", has_element),
    ("SequenceAt", at),
    ("SequenceConstruct", construct),
    ("SequenceEmpty", empty),
    ("SequenceErase", erase),
    ("SequenceInsert", insert),
    ("SequenceLength", length),
    ("SplitToSequence", split),
];

/// One item.
fn one(item: Item) -> Made {
    Ok(Some(vec![Some(item)]))
}

/// One sequence, whose elements are of one type. Lists take room that the file does not justify.
fn sequence(import: &mut Import<'_>, sequence: Sequence) -> Made {
    let types = sequence.items.iter().map(|&tensor| import.graph.ty(tensor).dtype);
    let element = sequence.element.or_else(|| types.clone().next());
    if let (Some(wanted), Some(found)) = (element, types.clone().find(|&dtype| Some(dtype) != element)) {
        return Err(OpError::new(format!(
            "elements of {wanted} wanted, {found} found"
        )));
    }
    import
        .graph
        .take_bytes(size_of::<Tensor>() * sequence.items.len())?;
    one(Item::Sequence(Sequence { element, ..sequence }))
}

fn no_attributes(call: &Node<'_>) -> Result<(), OpError> {
    Attrs::new(&call.node.attribute).finish(call.version)
}

/// Input `index`, which must be a sequence.
fn list(call: &Node<'_>, index: usize) -> Result<Sequence, OpError> {
    match call.optional(index) {
        Some(Item::Sequence(sequence)) => Ok(sequence.clone()),
        Some(Item::Tensor(_)) => Err(OpError::new("a sequence wanted, a tensor found")),
        Some(Item::Absent) | None => Err(OpError::new("a sequence wanted, none found")),
    }
}

/// The position that input `index` tells, of `count`; negative ones count from the end. `None` where left out.
fn position(
    import: &Import<'_>,
    call: &Node<'_>,
    index: usize,
    count: usize,
) -> Result<Option<usize>, OpError> {
    let Some(tensor) = call.maybe_tensor(index)? else {
        return Ok(None);
    };
    let Some(at) = import.known_number(tensor, "a position")? else {
        return Err(OpError::new(
            "a position known at compile time wanted, one known only when running found",
        )
        .with_help("stack the sequence into a tensor and take the element with Gather"));
    };
    Ok(Some(at_of(at, count)?))
}

fn at_of(at: i64, count: usize) -> Result<usize, OpError> {
    resolve_axis(at, count).map_err(|_| OpError::new(format!("a position of {count} wanted, {at} found")))
}

fn empty(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    let attrs = Attrs::new(&call.node.attribute);
    // Float unless told otherwise.
    let element = attrs.int("dtype", 1)?;
    attrs.finish(call.version)?;
    let element = i32::try_from(element).map_err(|_| OpError::new("an element type wanted"))?;
    let element = Some(dtype(element)?);
    sequence(
        import,
        Sequence {
            items: Vec::new(),
            element,
        },
    )
}

fn construct(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    no_attributes(call)?;
    let items: Result<Vec<Tensor>, OpError> =
        (0..call.inputs.len()).map(|index| call.tensor(index)).collect();
    sequence(
        import,
        Sequence {
            items: items?,
            element: None,
        },
    )
}

/// At the end unless told otherwise.
fn insert(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    no_attributes(call)?;
    let (mut list, tensor) = (list(call, 0)?, call.tensor(1)?);
    let count = list.items.len();
    // −n is the front as 0 is, and n the end: one place more than there are elements.
    let at = match call.maybe_tensor(2)? {
        None => count,
        Some(at) => match import.known_number(at, "a position")? {
            Some(at) if at < 0 => at_of(at, count)?,
            _ => position(import, call, 2, count + 1)?.unwrap_or(count),
        },
    };
    list.items.insert(at, tensor);
    sequence(import, list)
}

/// The last one unless told otherwise.
fn erase(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    no_attributes(call)?;
    let mut list = list(call, 0)?;
    let count = list.items.len();
    let at = match position(import, call, 1, count)? {
        Some(at) => at,
        None => at_of(-1, count)?,
    };
    list.items.remove(at);
    sequence(import, list)
}

fn at(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    no_attributes(call)?;
    let list = list(call, 0)?;
    let at = position(import, call, 1, list.items.len())?;
    let at = at.ok_or_else(|| OpError::new("a position wanted, none found"))?;
    one(Item::Tensor(list.items[at]))
}

fn length(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    no_attributes(call)?;
    let length = list(call, 0)?.items.len() as i64;
    let length = import
        .graph
        .constant(Values::new([], Data::I64(vec![length])), "");
    one(Item::Tensor(length))
}

fn concat(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    let attrs = Attrs::new(&call.node.attribute);
    let (axis, stacks) = (attrs.required_int("axis")?, attrs.flag("new_axis", false)?);
    attrs.finish(call.version)?;
    let list = list(call, 0)?;
    let &[first, ..] = list.items.as_slice() else {
        return Err(OpError::new(
            "a sequence with elements wanted, an empty one found",
        ));
    };
    let axis = resolve_axis(axis, import.graph.shape(first).len() + usize::from(stacks))?;
    let joined = match list.items.as_slice() {
        items if stacks => import.stack(items, axis)?,
        &[only] => only,
        items => import.graph.emit(Op::Concat(Concat { axis }), items, "")?,
    };
    one(Item::Tensor(joined))
}

/// Parts of the given sizes, or of one size with a smaller one at the end; without either, single indices, whose axis
/// may be dropped.
fn split(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    let attrs = Attrs::new(&call.node.attribute);
    let (axis, keeps) = (attrs.int("axis", 0)?, attrs.flag("keepdims", true)?);
    attrs.finish(call.version)?;
    let x = call.tensor(0)?;
    let shape = import.graph.shape(x).to_vec();
    let axis = resolve_axis(axis, shape.len())?;
    let extent = shape[axis];
    let sizes = match call.maybe_tensor(1)? {
        None => vec![1; extent],
        Some(sizes) => {
            let is_one_size = import.graph.shape(sizes).is_empty();
            let known = import.graph.constant_of(sizes).and_then(|sizes| sizes.to_i64());
            let known = known.ok_or_else(|| {
                OpError::new("sizes known at compile time wanted, some known only when running found")
            })?;
            let parts: Option<Vec<usize>> = known.iter().map(|&size| usize::try_from(size).ok()).collect();
            let parts = match parts.as_deref() {
                Some(&[size]) if is_one_size && size > 0 => {
                    let left = (0..extent).step_by(size).map(|start| size.min(extent - start));
                    Some(left.collect())
                }
                _ if is_one_size => None,
                _ => parts,
            };
            let total =
                |parts: &Vec<usize>| parts.iter().try_fold(0_usize, |sum, &part| sum.checked_add(part));
            parts
                .filter(|parts| total(parts) == Some(extent))
                .ok_or_else(|| OpError::new(format!("sizes that make up {extent} wanted, {known:?} found")))?
        }
    };
    let drops = !keeps && call.optional(1).is_none();
    import.graph.take_bytes(size_of::<Tensor>() * sizes.len())?;
    let mut items = Vec::with_capacity(sizes.len());
    let mut start = 0;
    for size in sizes {
        let mut part = Slice {
            starts: vec![0; shape.len()],
            steps: vec![1; shape.len()],
            shape: shape.clone(),
        };
        (part.starts[axis], part.shape[axis]) = (start, size);
        start += size;
        let mut kept = part.shape.clone();
        let mut tensor = import.graph.emit(Op::Slice(part), &[x], "part")?;
        if drops {
            kept.remove(axis);
            tensor = import
                .graph
                .emit(Op::Reshape(Reshape { shape: kept }), &[tensor], "element")?;
        }
        items.push(tensor);
    }
    let element = Some(import.graph.ty(x).dtype);
    sequence(import, Sequence { items, element })
}

/// A value, or, with only its type given, none.
fn optional(_: &mut Import<'_>, call: &Node<'_>) -> Made {
    let attrs = Attrs::new(&call.node.attribute);
    attrs.ignore(&["type"]);
    attrs.finish(call.version)?;
    one(call.optional(0).cloned().unwrap_or(Item::Absent))
}

fn get_element(_: &mut Import<'_>, call: &Node<'_>) -> Made {
    no_attributes(call)?;
    let item = call.optional(0).cloned();
    one(item.ok_or_else(|| OpError::new("an optional value that is there wanted, none found"))?)
}

fn has_element(import: &mut Import<'_>, call: &Node<'_>) -> Made {
    no_attributes(call)?;
    let there = call.optional(0).is_some();
    let there = import
        .graph
        .constant(Values::new([], Data::Bool(vec![there])), "");
    one(Item::Tensor(there))
}
