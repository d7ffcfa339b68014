//! Grids: which parameters every tensor of a quantized model takes.

use super::Absorber;
use super::constant::constant;
use crate::ir::{FloatTensor, Handle, Node};
use crate::op::quant::QuantParams;
use crate::op::tensor::DType;
use crate::op::{Op, PadMode, UnaryKind};
use crate::quantize::{Precision, problem};

/// The parameters of a tensor's codes, and their element type: int8 or int16.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::quantize) struct Grid {
    pub(in crate::quantize) params: QuantParams,
    pub(in crate::quantize) dtype: DType,
}

impl Absorber<'_> {
    /// Finds every tensor's grid: from `QuantizeLinear` and `DequantizeLinear` backwards, then forwards.
    pub(super) fn spread_grids(&mut self) {
        let live = self.live_nodes();
        for node in live.iter().rev() {
            match &node.op {
                Op::QuantizeLinear(_) => {
                    let Some(params) = self.parameters(node) else {
                        continue;
                    };
                    self.grid[node.outputs[0].index()] = Some(params);
                    self.want(node, node.inputs[0], params);
                }
                Op::DequantizeLinear(_) => {
                    let Some(params) = self.parameters(node) else {
                        continue;
                    };
                    self.grid[node.outputs[0].index()] = Some(params);
                    self.want(node, node.inputs[0], params);
                }
                op => {
                    if let Some(params) = self.grid[node.outputs[0].index()] {
                        for &input in carried(op, &node.inputs) {
                            let dtype = self.graph.tensors[input].ty.dtype;
                            if commutes(op, dtype) && self.grid[input.index()].is_none() {
                                self.want(node, input, params);
                            }
                        }
                    }
                }
            }
        }
        for node in live {
            if node
                .outputs
                .iter()
                .any(|output| self.grid[output.index()].is_some())
            {
                continue;
            }
            let first = carried(&node.op, &node.inputs).first();
            if let Some(&input) = first
                && moves(&node.op, self.graph.tensors[input].ty.dtype)
            {
                self.grid[node.outputs[0].index()] = self.grid[input.index()];
            }
        }
    }

    /// Gives a tensor a grid that `reader` asks for. What a `DequantizeLinear` gave has its own already.
    fn want(&mut self, reader: &Node<FloatTensor>, tensor: Handle<FloatTensor>, grid: Grid) {
        if self.in_reals[tensor.index()]
            || self.is_dequantized(tensor)
            || self.graph.tensors[tensor].data.is_some()
        {
            return;
        }
        match self.grid[tensor.index()] {
            None => self.grid[tensor.index()] = Some(grid),
            Some(other) if other == grid => {}
            Some(_) if self.precision == Precision::F32 => self.want_reals(tensor),
            Some(other) => self.problems.push(problem(
                reader,
                format!(
                    "`{}` is read with scale {} and zero point {} of {}, and elsewhere with {} and {} of {}",
                    self.graph.tensors[tensor].name,
                    grid.params.scale,
                    grid.params.zero_point,
                    grid.dtype,
                    other.params.scale,
                    other.params.zero_point,
                    other.dtype
                ),
                Some("give all its QuantizeLinear and DequantizeLinear nodes the same parameters"),
            )),
        }
    }

    /// The parameters of a `QuantizeLinear` or `DequantizeLinear`, as those of signed codes.
    fn parameters(&mut self, node: &Node<FloatTensor>) -> Option<Grid> {
        let number = |position: usize| {
            node.inputs
                .get(position)
                .and_then(|&input| constant(self.graph, input))
        };
        let (scale, zero_point) = (number(1), number(2));
        let found = match (&scale, &zero_point) {
            (Some(scale), Some(zero_point)) => match (scale.as_f32(), zero_point.to_i64().as_deref()) {
                (Some(&[scale]), Some(&[zero])) if scale.is_normal() && scale > 0.0 => {
                    signed(zero_point.data.dtype()).map(|(dtype, shift)| Grid {
                        params: QuantParams {
                            scale,
                            zero_point: (zero - shift) as i32, // of at most 16 bits
                        },
                        dtype,
                    })
                }
                _ => None,
            },
            _ => None,
        };
        if found.is_none() {
            let kind = zero_point.map_or("computed".into(), |values| values.ty().to_string());
            let reason = format!(
                "activations need one constant scale and a zero point of 8 or 16 bits; this one is {kind}"
            );
            self.problems
                .push(problem(node, reason, Some("quantize activations per tensor")));
        }
        found
    }
}

/// The signed element type that codes of a type become, and what is taken off each.
pub(super) fn signed(dtype: DType) -> Option<(DType, i64)> {
    match dtype {
        DType::I8 => Some((DType::I8, 0)),
        DType::U8 => Some((DType::I8, 128)),
        DType::I16 => Some((DType::I16, 0)),
        DType::U16 => Some((DType::I16, 32768)),
        _ => None,
    }
}

/// The inputs whose values an operator moves or compares: those that share its grid.
pub(super) fn carried<'n>(op: &Op, inputs: &'n [Handle<FloatTensor>]) -> &'n [Handle<FloatTensor>] {
    match op {
        Op::Concat(_) => inputs,
        _ if !inputs.is_empty() => &inputs[..1],
        _ => &[],
    }
}

/// Whether rounding may come before the operator as well as behind it, on elements of this type.
pub(super) fn commutes(op: &Op, dtype: DType) -> bool {
    match op {
        Op::Unary(unary) => matches!(unary.kind, UnaryKind::Clamp(_)) && dtype.is_float(),
        Op::MaxPool(pool) => dtype.is_float() || pool.clamp.is_none(),
        Op::Pad(pad) => match pad.mode {
            // Zero lies on every grid; codes pad with a code.
            PadMode::Constant(value) => value == 0.0 || !dtype.is_float(),
            PadMode::Edge | PadMode::Reflect | PadMode::Wrap => true,
        },
        Op::Reduce(reduce) => reduce.kind.picks(),
        Op::Concat(_)
        | Op::Expand(_)
        | Op::Gather(_)
        | Op::GatherElements(_)
        | Op::GatherNd(_)
        | Op::Reshape(_)
        | Op::Slice(_)
        | Op::Transpose(_)
        | Op::Trilu(_) => true,
        Op::AveragePool(_)
        | Op::BatchNormalization(_)
        | Op::Binary(_)
        | Op::BitCast(_)
        | Op::Cast(_)
        | Op::Compare(_)
        | Op::Conv2d(_)
        | Op::Cumulate(_)
        | Op::Lookup(_)
        | Op::Lstm(_)
        | Op::NonMaxSuppression(_)
        | Op::NonZero(_)
        | Op::Scatter(_)
        | Op::TfIdf(_)
        | Op::TopK(_)
        | Op::TreeEnsemble(_)
        | Op::Unique(_)
        | Op::Delay(_)
        | Op::Dense(_)
        | Op::DequantizeLinear(_)
        | Op::DequantizeTo(_)
        | Op::Attention(_)
        | Op::LayerNorm(_)
        | Op::MatMul(_)
        | Op::NarrowCast(_)
        | Op::ConvNd(_)
        | Op::GridSample(_)
        | Op::MaxPoolIndices(_)
        | Op::Resample(_)
        | Op::RoiAlign(_)
        | Op::QuantizeLinear(_)
        | Op::Recurrent(_)
        | Op::Repeat(_)
        | Op::Select(_)
        | Op::QuantizeTo(_)
        | Op::Softmax(_) => false,
    }
}

/// Whether every value of the output is one of the input's, or zero: it then lies on the input's grid. Codes of an
/// integer type lie there whatever they are.
pub(super) fn moves(op: &Op, dtype: DType) -> bool {
    match op {
        Op::MaxPool(pool) => pool.clamp.is_none(),
        Op::Reduce(reduce) => reduce.kind.picks(),
        Op::Pad(pad) => !matches!(pad.mode, PadMode::Constant(value) if value != 0.0 && dtype.is_float()),
        Op::Concat(_)
        | Op::Delay(_)
        | Op::Expand(_)
        | Op::Gather(_)
        | Op::GatherElements(_)
        | Op::GatherNd(_)
        | Op::Reshape(_)
        | Op::Slice(_)
        | Op::Transpose(_)
        | Op::Trilu(_) => true,
        Op::AveragePool(_)
        | Op::BatchNormalization(_)
        | Op::Binary(_)
        | Op::BitCast(_)
        | Op::Cast(_)
        | Op::Compare(_)
        | Op::Conv2d(_)
        | Op::Cumulate(_)
        | Op::Lookup(_)
        | Op::Lstm(_)
        | Op::NonMaxSuppression(_)
        | Op::NonZero(_)
        | Op::Scatter(_)
        | Op::TfIdf(_)
        | Op::TopK(_)
        | Op::TreeEnsemble(_)
        | Op::Unique(_)
        | Op::Dense(_)
        | Op::DequantizeLinear(_)
        | Op::DequantizeTo(_)
        | Op::Attention(_)
        | Op::LayerNorm(_)
        | Op::MatMul(_)
        | Op::NarrowCast(_)
        | Op::ConvNd(_)
        | Op::GridSample(_)
        | Op::MaxPoolIndices(_)
        | Op::Resample(_)
        | Op::RoiAlign(_)
        | Op::QuantizeLinear(_)
        | Op::Recurrent(_)
        | Op::Repeat(_)
        | Op::Select(_)
        | Op::QuantizeTo(_)
        | Op::Softmax(_)
        | Op::Unary(_) => false,
    }
}
