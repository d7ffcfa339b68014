//! The pass `recognize-functions`.

use std::collections::BTreeMap;

use super::draft::{Draft, Place};
use super::edit::{Tensor, shape};
use crate::ir::{FloatGraph, FloatTensor, Node};
use crate::op::tensor::{DType, Data, Values};
use crate::op::{Clamp, Op, Unary, UnaryKind};

/// The most nodes that one function is written in.
const MOST_NODES: usize = 16;

/// Makes one function of the several elementwise nodes that exporters write it in: `Swish`, `HardSwish`, `HardSigmoid`,
/// both forms of `Gelu`, `Mish`, `Softplus`, `Softsign`, `Elu`, `LeakyRelu`, a clamp, and so on.
///
/// Recognition is by value, not by form: nodes that together compute a function of one tensor, all else in them being
/// numbers, are evaluated in f64 over the reals' whole range and compared with the functions that have a name. So every
/// way to write one is known. Fires on two nodes or more. Approximate: the function is computed as one, so that each
/// element may move by what the roundings between the nodes were, and no longer overflows on the way.
pub(super) fn recognize_functions(graph: &mut FloatGraph) -> usize {
    let points = points();
    let mut probes = Probes::new();
    Draft::edit(graph, |graph| {
        let mut count = 0;
        // From the back: a function's last node comes before the parts that are functions themselves.
        for position in graph.places().into_iter().rev() {
            if !graph.holds(position) {
                continue;
            }
            let cones = cones(graph, position);
            let found = cones
                .iter()
                .rev()
                .find_map(|cone| Some((cone, name(graph, cone, &mut probes, &points)?)));
            probes.known.remove(&position);
            if let Some((cone, kind)) = found {
                graph.change(position, |node| {
                    node.op = Op::Unary(Unary { kind });
                    node.inputs = vec![cone.root];
                });
                // What only served the function is not looked at again.
                for &place in cone.nodes.iter().rev() {
                    if graph.is_dead(place) {
                        graph.remove(place);
                    }
                }
                count += 1;
            }
        }
        count
    })
}

/// Nodes that compute a function of one tensor.
struct Cone {
    root: Tensor,
    /// In their order.
    nodes: Vec<Place>,
}

/// The cones of two nodes or more that end in a node, from the smallest to the largest.
fn cones(graph: &Draft, position: Place) -> Vec<Cone> {
    let mut cones = Vec::new();
    let mut nodes = Vec::new();
    // What the nodes so far read, by the producer: the latest one is looked into next.
    let mut open: BTreeMap<Option<Place>, Tensor> = BTreeMap::new();
    let mut next = position;
    while nodes.len() < MOST_NODES {
        let Some(inputs) = variables(graph, &graph.nodes[next]) else {
            break;
        };
        nodes.push(next);
        for input in inputs {
            let producer = graph.producer(input);
            // Two different inputs of the graph leave no single root, ever.
            if open.insert(producer, input).is_some_and(|other| other != input) {
                return cones;
            }
        }
        if let [(_, &root)] = open.iter().collect::<Vec<_>>()[..]
            && nodes.len() > 1
        {
            let mut nodes = nodes.clone();
            nodes.sort_unstable();
            cones.push(Cone { root, nodes });
        }
        let Some((Some(latest), _)) = open.pop_last() else {
            break;
        };
        next = latest;
    }
    cones
}

/// The tensors that an elementwise node over reals reads, each of its output's shape, all others being numbers; `None`
/// of other nodes.
fn variables(graph: &Draft, node: &Node<FloatTensor>) -> Option<Vec<Tensor>> {
    if !matches!(node.op, Op::Unary(_) | Op::Binary(_))
        || graph.tensors[node.outputs[0]].ty.dtype != DType::F32
    {
        return None;
    }
    let output = shape(graph, node.outputs[0]);
    let mut variables = Vec::new();
    for &input in &node.inputs {
        let tensor = &graph.tensors[input];
        match &tensor.data {
            Some(_) if tensor.ty.len() == 1 && tensor.ty.dtype == DType::F32 => {}
            None if tensor.ty.shape == output => variables.push(input),
            Some(_) | None => return None,
        }
    }
    Some(variables)
}

/// Where functions are compared: densely where they bend, and far out.
fn points() -> Values {
    let near = (-240..=240).map(|step| f64::from(step) / 20.0);
    let far = [
        1e-30, 1e-6, 1e-3, 15.3, 20.0, 50.0, 88.0, 130.0, 1e3, 1e5, 1e7, 1e9,
    ]
    .into_iter()
    .flat_map(|x| [x, -x]);
    let points: Vec<f64> = near.chain(far).collect();
    Values::new([points.len()], Data::F64(points))
}

/// A few of the points, and what nodes give there: most cones are told from all functions by them, and what one cone
/// computed serves the next.
struct Probes {
    at: Values,
    /// By node: its value as a function of a root.
    known: BTreeMap<Place, Vec<(Tensor, Values)>>,
}

impl Probes {
    fn new() -> Self {
        Self {
            at: Values::new([3], Data::F64(vec![1.35, -2.6, 0.4])),
            known: BTreeMap::new(),
        }
    }

    /// The value of a tensor within a cone over this root.
    fn value(&mut self, graph: &Draft, tensor: Tensor, root: Tensor) -> Option<Values> {
        if tensor == root {
            return Some(self.at.clone());
        }
        let place = graph.producer(tensor)?;
        let known = self.known.get(&place);
        if let Some((_, value)) = known.and_then(|known| known.iter().find(|(of, _)| *of == root)) {
            return Some(value.clone());
        }
        let value = applied(graph, place, |input| self.value(graph, input, root))?;
        self.known.entry(place).or_default().push((root, value.clone()));
        Some(value)
    }
}

/// A node's value in f64, where `value` is that of an input and all others are numbers.
fn applied(
    graph: &Draft,
    position: Place,
    mut value: impl FnMut(Tensor) -> Option<Values>,
) -> Option<Values> {
    let node = &graph.nodes[position];
    let inputs: Vec<Values> = node
        .inputs
        .iter()
        .map(|&input| match &graph.tensors[input].data {
            Some(number) => Some(Values::new([], number.data.cast(DType::F64))),
            None => value(input),
        })
        .collect::<Option<_>>()?;
    node.op.eval(&inputs.iter().collect::<Vec<_>>()).ok()?.pop()
}

/// The function that a cone computes, if it has a name.
fn name(graph: &Draft, cone: &Cone, probes: &mut Probes, points: &Values) -> Option<UnaryKind> {
    let last = graph.nodes[*cone.nodes.last()?].outputs[0];
    let probed = probes.value(graph, last, cone.root)?.to_f64();
    let at = probes.at.to_f64();
    let may_be = |kind: &UnaryKind| {
        let mut pairs = probed.iter().zip(&at);
        pairs.all(|(&wanted, &x)| close(wanted, kind.of(x)))
    };
    let mut numbers: Vec<f32> = Vec::new();
    for &position in &cone.nodes {
        let inputs = graph.nodes[position].inputs.iter();
        let constants = inputs.filter_map(|&input| graph.tensors[input].data.as_ref()?.as_f32());
        numbers.extend(constants.flatten());
        if let Op::Unary(Unary {
            kind: UnaryKind::Clamp(clamp),
        }) = graph.nodes[position].op
        {
            numbers.extend([clamp.min, clamp.max].into_iter().flatten());
        }
    }
    let mut likely = candidates(&numbers);
    likely.retain(may_be);
    if likely.is_empty() {
        return None;
    }
    let wanted = evaluate(graph, cone, points)?;
    likely.into_iter().find(|&kind| {
        let found: Vec<f64> = points.to_f64().into_iter().map(|x| kind.of(x)).collect();
        agree(&wanted, &found)
    })
}

/// The cone's values over the points, in f64.
fn evaluate(graph: &Draft, cone: &Cone, points: &Values) -> Option<Vec<f64>> {
    let mut known: BTreeMap<Tensor, Values> = BTreeMap::from([(cone.root, points.clone())]);
    for &position in &cone.nodes {
        let value = applied(graph, position, |input| known.get(&input).cloned())?;
        known.insert(graph.nodes[position].outputs[0], value);
    }
    let last = graph.nodes[*cone.nodes.last()?].outputs[0];
    Some(known.remove(&last)?.to_f64())
}

/// Functions with names; those with parameters for the numbers that stand in the graph.
fn candidates(numbers: &[f32]) -> Vec<UnaryKind> {
    let mut kinds = vec![
        UnaryKind::Clamp(Clamp::RELU),
        UnaryKind::Sigmoid,
        UnaryKind::Tanh,
        UnaryKind::HardSwish,
        UnaryKind::HardSigmoid {
            alpha: 1.0 / 6.0,
            beta: 0.5,
        },
        UnaryKind::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        UnaryKind::Swish { alpha: 1.0 },
        UnaryKind::Gelu,
        UnaryKind::GeluTanh,
        UnaryKind::Softplus,
        UnaryKind::Softsign,
        UnaryKind::Mish,
        UnaryKind::Erf,
        UnaryKind::Elu { alpha: 1.0 },
    ];
    let mut numbers = numbers.to_vec();
    numbers.sort_by(f32::total_cmp);
    numbers.dedup();
    for &number in &numbers {
        if number.is_finite() && number != 0.0 {
            kinds.extend([
                UnaryKind::LeakyRelu { alpha: number },
                UnaryKind::Elu { alpha: number },
                UnaryKind::Swish { alpha: number },
                UnaryKind::Swish { alpha: -number },
            ]);
        }
        let least = Clamp {
            min: Some(number),
            max: None,
        };
        let most = Clamp {
            min: None,
            max: Some(number),
        };
        kinds.extend([UnaryKind::Clamp(least), UnaryKind::Clamp(most)]);
        kinds.extend(numbers.iter().filter(|&&other| other > number).map(|&max| {
            UnaryKind::Clamp(Clamp {
                min: Some(number),
                max: Some(max),
            })
        }));
    }
    kinds
}

/// Whether two functions are the same but for the roundings of constants, wherever the one in the graph does not
/// overflow.
fn agree(wanted: &[f64], found: &[f64]) -> bool {
    let finite = wanted.iter().filter(|wanted| wanted.is_finite()).count();
    let mut pairs = wanted.iter().zip(found);
    finite > wanted.len() / 2 && pairs.all(|(&wanted, &found)| close(wanted, found))
}

/// Whether two values differ by roundings of constants at most, or the one in the graph overflows.
fn close(wanted: f64, found: f64) -> bool {
    !wanted.is_finite() || (wanted - found).abs() <= 2e-6 * (1.0 + wanted.abs())
}
