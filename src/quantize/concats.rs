//! Concatenations of parts whose ranges are far apart, such as boxes in pixels beside scores from 0 to 1. In codes all parts
//! share a scale, which leaves the smallest few steps, or none.
//!
//! Where nothing behind a concatenation computes, up to the outputs of the graph, it can join reals instead: each part has
//! its own codes, which are made reals as they are moved. What it costs is four bytes in the output for one.
//!
//! Concatenations that are taken apart again have no need for this: the optimizer lets slices read the parts.

use super::Precision;
use crate::ir::{FloatGraph, FloatTensor, Handle};
use crate::op::quant::{QuantParams, Range};
use crate::op::tensor::DType;
use crate::op::{Op, OutputParams};

/// How many times as large as a part's the shared range must be: two bits of eight are lost then.
const APART: f64 = 4.0;

/// Settles that concatenations on the way to outputs compute in reals where the ranges of their parts are far apart. Those
/// that the user has settled stay so, and all that lies behind them.
pub(super) fn split(graph: &mut FloatGraph, ranges: &[Option<Range>], settled: &mut [Option<Precision>]) {
    let ends = ends(graph, settled);
    let mut in_reals = vec![false; graph.tensors.len()];
    let mut notes = Vec::new();
    for (position, node) in graph.nodes.iter().enumerate() {
        let output = node.outputs[0];
        if !ends[output.index()] || settled[position].is_some() {
            continue;
        }
        let is_behind = node.inputs.iter().any(|input| in_reals[input.index()]);
        let times = if matches!(node.op, Op::Concat(_)) {
            apart(graph, ranges, &node.inputs)
        } else {
            1.0
        };
        if times >= APART {
            notes.push(format!(
                "Concat `{}` joins its parts in f32: its range is up to {times:.1} times theirs",
                node.name
            ));
        }
        if is_behind || times >= APART {
            in_reals[output.index()] = true;
            settled[position] = Some(Precision::F32);
        }
    }
    graph.notes.extend(notes);
}

/// Which tensors reach outputs of the graph and are moved at most on their way there, by tensor.
fn ends(graph: &FloatGraph, settled: &[Option<Precision>]) -> Vec<bool> {
    let mut is_read = vec![false; graph.tensors.len()];
    let mut ends = vec![true; graph.tensors.len()];
    for (node, settled) in graph.nodes.iter().zip(settled).rev() {
        let output = node.outputs[0];
        let reaches = ends[output.index()] && (is_read[output.index()] || graph.outputs.contains(&output));
        let moves = match node.op.output_params() {
            OutputParams::SameAsInput(input) => Some(input),
            OutputParams::Observed | OutputParams::Fixed(_) => None,
        };
        for (index, &input) in node.inputs.iter().enumerate() {
            let is_moved = moves == Some(index) || matches!(node.op, Op::Concat(_));
            ends[input.index()] &= reaches && is_moved && settled.is_none();
            is_read[input.index()] = true;
        }
        ends[output.index()] = reaches && graph.tensors[output].ty.dtype == DType::F32;
    }
    ends
}

/// How many times as large as that of a part the range of all of them is, at most.
fn apart(graph: &FloatGraph, ranges: &[Option<Range>], parts: &[Handle<FloatTensor>]) -> f64 {
    let ranges: Vec<[f64; 2]> = parts
        .iter()
        .filter_map(|&part| range_of(graph, ranges, part))
        .collect();
    let least = ranges.iter().fold(0.0, |least: f64, range| least.min(range[0]));
    let greatest = ranges
        .iter()
        .fold(0.0, |greatest: f64, range| greatest.max(range[1]));
    let own = ranges
        .iter()
        .map(|range| range[1] - range[0])
        .filter(|&own| own > 0.0);
    own.map(|own| (greatest - least) / own).fold(1.0, f64::max)
}

/// The range that the codes of a part would have: its operator's, or the one observed; none of constants.
fn range_of(graph: &FloatGraph, ranges: &[Option<Range>], part: Handle<FloatTensor>) -> Option<[f64; 2]> {
    if graph.tensors[part].data.is_some() {
        return None;
    }
    let mut tensor = part;
    while let Some(producer) = graph.producer(tensor) {
        match graph.nodes[producer].op.output_params() {
            OutputParams::Fixed(QuantParams { scale, zero_point }) => {
                let real = |code: i32| f64::from(code - zero_point) * f64::from(scale);
                return Some([real(-128), real(127)]);
            }
            OutputParams::SameAsInput(input) => tensor = graph.nodes[producer].inputs[input],
            OutputParams::Observed => break,
        }
    }
    let range = ranges[part.index()]?;
    Some([range.min.min(0.0).into(), range.max.max(0.0).into()])
}
