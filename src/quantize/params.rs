//! Which tensors have int8 parameters of their own, which take another's, and what follows from ranges.

use super::Precision;
use super::precisions::Precisions;
use crate::ir::{FloatGraph, FloatTensor, Handle, Node};
use crate::op::quant::{QuantParams, Range};
use crate::op::tensor::DType;
use crate::op::{Op, OutputParams};

/// What decides the parameters of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Source {
    /// The operator, or the model's own integers.
    Fixed(QuantParams),
    /// The range of this tensor: its own, or that of one it shares parameters with.
    RangeOf(Handle<FloatTensor>),
}

/// What decides the parameters of every tensor, by tensor.
pub(super) struct Sources(Vec<Source>);

impl Sources {
    /// Of a graph whose nodes compute in these precisions: those in reals decide nothing.
    pub(super) fn of(graph: &FloatGraph, precisions: &Precisions) -> Self {
        let shared = shared_with(graph, precisions);
        let mut sources: Vec<Source> = shared.iter().copied().map(Source::RangeOf).collect();
        for &input in &graph.inputs {
            if let Some(params) = integer_params(graph.tensors[input].ty.dtype) {
                sources[input.index()] = Source::Fixed(params);
            }
        }
        for (position, node) in graph.nodes.iter().enumerate() {
            let given = match node.op.output_params() {
                _ if precisions.node(position) == Precision::F32 => None,
                OutputParams::Observed => None,
                OutputParams::SameAsInput(input) => {
                    node.inputs.get(input).map(|input| sources[input.index()])
                }
                OutputParams::Fixed(fixed) => Some(Source::Fixed(fixed)),
            };
            let integers = passed_through(graph, node).map(|input| sources[input.index()]);
            for &output in &node.outputs {
                if let Some(source) = integers.or(given) {
                    sources[output.index()] = source;
                }
            }
        }
        Self(sources)
    }

    /// What decides the parameters of `tensor`.
    pub(super) fn source(&self, tensor: Handle<FloatTensor>) -> Source {
        self.0[tensor.index()]
    }

    /// The int8 parameters of every tensor over these ranges, by tensor.
    pub(super) fn params(&self, graph: &FloatGraph, ranges: &[Option<Range>]) -> Vec<Option<QuantParams>> {
        self.over(graph, ranges, params_of, |params| params)
    }

    /// The int16 parameters of every tensor over these ranges, by tensor.
    pub(super) fn wide_params(
        &self,
        graph: &FloatGraph,
        ranges: &[Option<Range>],
    ) -> Vec<Option<QuantParams>> {
        self.over(graph, ranges, wide_params_of, widened)
    }

    fn over(
        &self,
        graph: &FloatGraph,
        ranges: &[Option<Range>],
        of_range: fn(Option<Range>) -> QuantParams,
        of_fixed: fn(QuantParams) -> QuantParams,
    ) -> Vec<Option<QuantParams>> {
        let mut limited = ranges.to_vec();
        for node in &graph.nodes {
            for output in &node.outputs {
                if self.source(*output) == Source::RangeOf(*output) {
                    let range = &mut limited[output.index()];
                    *range = range.map(|range| node.op.output_range(range));
                }
            }
        }
        let of = |source: &Source| match *source {
            Source::Fixed(params) => Some(of_fixed(params)),
            Source::RangeOf(root) => Some(of_range(limited[root.index()])),
        };
        self.0.iter().map(of).collect()
    }
}

/// Whose range each tensor takes: its own, or that of the concatenation that alone reads it, so that nothing has to
/// be rescaled on the way into it.
fn shared_with(graph: &FloatGraph, precisions: &Precisions) -> Vec<Handle<FloatTensor>> {
    let mut shared: Vec<_> = graph.tensors.handles().collect();
    let neighbours = graph.neighbours();
    for (position, node) in graph.nodes.iter().enumerate().rev() {
        if !matches!(node.op, Op::Concat(_)) || precisions.node(position) == Precision::F32 {
            continue;
        }
        let root = shared[node.outputs[0].index()];
        for &input in &node.inputs {
            let around = neighbours[input.index()];
            let free = around.producer.is_some_and(|producer| {
                let decides = graph.nodes[producer].op.output_params() != OutputParams::Observed;
                !decides || precisions.node(producer) == Precision::F32
            });
            if free && around.has_one_reader() {
                shared[input.index()] = root;
            }
        }
    }
    shared
}

/// int8 parameters over a range: zero is always in it and exact, and 255 steps span it.
pub(super) fn params_of(range: Option<Range>) -> QuantParams {
    let (min, max) = range.map_or((0.0, 0.0), |range| {
        (f64::from(range.min.min(0.0)), f64::from(range.max.max(0.0)))
    });
    let scale = ((max - min) / 255.0) as f32;
    if !scale.is_normal() {
        // Nothing but zero was seen: any step will do.
        return QuantParams {
            scale: 1.0 / 256.0,
            zero_point: -128,
        };
    }
    let zero_point = libm::rint(-128.0 - min / f64::from(scale));
    QuantParams {
        scale,
        zero_point: zero_point.clamp(-128.0, 127.0) as i32,
    }
}

/// int16 parameters over a range: zero is the code 0, and the scale is the least power of two whose codes hold it all.
/// Powers of two make rescales shifts.
pub(super) fn wide_params_of(range: Option<Range>) -> QuantParams {
    let most = range.map_or(0.0, |range| f64::from(range.min.abs().max(range.max.abs())));
    power_of_two(most, 32767.0)
}

/// int16 parameters for what an operator or the model settles in int8.
fn widened(params: QuantParams) -> QuantParams {
    let steps = (-128 - params.zero_point).abs().max(127 - params.zero_point);
    power_of_two(f64::from(steps) * f64::from(params.scale), 32768.0)
}

/// The least power of two of which `codes` make up `most`.
fn power_of_two(most: f64, codes: f64) -> QuantParams {
    // Beyond these ends no f32 has the reciprocal that converts, or nothing but zero was seen.
    const ENDS: (i32, i32) = (-100, 100);
    let exponent = if most > 0.0 && most.is_finite() {
        let near = libm::ilogb(most / codes);
        let reaches = |exponent: i32| codes * libm::ldexp(1.0, exponent) >= most;
        (near..).find(|&exponent| reaches(exponent)).unwrap_or(near)
    } else {
        -15
    };
    QuantParams {
        scale: libm::ldexp(1.0, exponent.clamp(ENDS.0, ENDS.1)) as f32,
        zero_point: 0,
    }
}

/// A constant in int16 over its own range.
pub(super) fn quantize_wide_constant(values: &[f32]) -> (QuantParams, Vec<i16>) {
    let most = values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let params = wide_params_of(Some(Range {
        min: -most,
        max: most,
    }));
    // A float saturates as it becomes an integer.
    let code = |&value: &f32| libm::rint(f64::from(value) / f64::from(params.scale)) as i16;
    (params, values.iter().map(code).collect())
}

/// The parameters under which an integer input counts as itself.
pub(super) fn integer_params(dtype: DType) -> Option<QuantParams> {
    let zero_point = if dtype == DType::U8 { -128 } else { 0 };
    matches!(dtype, DType::I8 | DType::U8).then_some(QuantParams {
        scale: 1.0,
        zero_point,
    })
}

/// The input of a cast from 8-bit integers to reals: the same codes, in steps of one.
pub(super) fn passed_through(graph: &FloatGraph, node: &Node<FloatTensor>) -> Option<Handle<FloatTensor>> {
    let input = *node.inputs.first()?;
    let is_cast = matches!(&node.op, Op::Cast(cast) if cast.to == DType::F32);
    let tensor = &graph.tensors[input];
    (is_cast && tensor.data.is_none() && integer_params(tensor.ty.dtype).is_some()).then_some(input)
}

/// A constant over its own range.
pub(super) fn quantize_constant(values: &[f32]) -> (QuantParams, Vec<i8>) {
    let range = values
        .iter()
        .fold(Range { min: 0.0, max: 0.0 }, |range, &value| Range {
            min: range.min.min(value),
            max: range.max.max(value),
        });
    let params = params_of(Some(range));
    let code = |&value: &f32| {
        let steps = libm::rint(f64::from(value) / f64::from(params.scale));
        (steps + f64::from(params.zero_point)).clamp(-128.0, 127.0) as i8
    };
    (params, values.iter().map(code).collect())
}

/// What is left of reals behind `QuantizeLinear` and `DequantizeLinear`.
pub(super) fn on_grid(values: &[f32], params: QuantParams) -> Vec<f32> {
    let zero_point = params.zero_point as f32;
    let real = |&value: &f32| {
        let code = (libm::rintf(value / params.scale) + zero_point).clamp(-128.0, 127.0);
        (code - zero_point) * params.scale
    };
    values.iter().map(real).collect()
}
