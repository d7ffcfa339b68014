//! A float graph becomes integers as its [`Scheme`] says, or stays in reals here and there.

mod reals;

use std::collections::HashSet;
use std::sync::Arc;

use reals::Recurrence;

use super::params::{integer_params, params_of, passed_through, quantize_constant, quantize_wide_constant};
use super::reals::plain;
use super::scheme::Scheme;
use super::weight_form::WeightForm;
use super::{Precision, about_lstm, problem, weights};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node, Problem, QuantGraph};
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::tensor::{DType, Data, TensorType, Values};
use crate::op::{Binary, BinaryKind, Op};

/// Quantizes `graph`.
pub(super) fn quantize(graph: &FloatGraph, scheme: &Scheme) -> Result<QuantGraph, Vec<Problem>> {
    let mut quantizer = Quantizer {
        graph,
        scheme,
        out: QuantGraph::new(graph.name.clone()),
        precision: Precision::Int8,
        mapped: vec![None; graph.tensors.len()],
        wide: vec![None; graph.tensors.len()],
        reals: vec![None; graph.tensors.len()],
        names: graph
            .tensors
            .iter()
            .map(|(_, tensor)| tensor.name.clone())
            .collect(),
        recurrences: Vec::new(),
        problems: Vec::new(),
    };
    quantizer.out.notes = graph.notes.clone();
    for &input in &graph.inputs {
        let handle = if is_plain(graph, input) {
            quantizer.plain(input)
        } else if scheme.precisions.tensor(input) == Precision::F32 {
            quantizer.real(input)
        } else {
            quantizer.precision = scheme.precisions.tensor(input);
            quantizer.activation(input)
        };
        quantizer.out.inputs.push(handle);
    }
    for (position, node) in graph.nodes.iter().enumerate() {
        quantizer.node(position, node);
    }
    for &output in &graph.outputs {
        quantizer.precision = scheme.precisions.tensor(output);
        let made = match quantizer.precision {
            Precision::F32 => quantizer.reals[output.index()],
            Precision::Int16x8 => quantizer.wide[output.index()],
            Precision::Int8 => None,
        };
        let handle = made.or(quantizer.mapped[output.index()]);
        let handle = handle.unwrap_or_else(|| match &graph.tensors[output].data {
            Some(data) => quantizer.known_output(output, Arc::clone(data)),
            None => quantizer.activation(output),
        });
        quantizer.out.outputs.push(handle);
    }
    if quantizer.problems.is_empty() {
        Ok(quantizer.out)
    } else {
        Err(quantizer.problems)
    }
}

/// Whether a tensor holds numbers that stand for no reals: indices, counts, conditions.
fn is_plain(graph: &FloatGraph, tensor: Handle<FloatTensor>) -> bool {
    let dtype = graph.tensors[tensor].ty.dtype;
    !dtype.is_float() && integer_params(dtype).is_none()
}

/// Whether an operator's output is plain: it says where elements lie, or moves what is plain itself.
fn makes_plain(graph: &FloatGraph, node: &Node<FloatTensor>) -> bool {
    let finds = matches!(node.op, Op::TopK(_) | Op::NonZero(_));
    let moves = matches!(
        node.op,
        Op::Concat(_)
            | Op::Expand(_)
            | Op::Gather(_)
            | Op::GatherElements(_)
            | Op::GatherNd(_)
            | Op::Reshape(_)
            | Op::Slice(_)
            | Op::Transpose(_)
    );
    finds || moves && node.inputs.first().is_some_and(|&input| is_plain(graph, input))
}

struct Quantizer<'g> {
    graph: &'g FloatGraph,
    scheme: &'g Scheme,
    out: QuantGraph,
    /// What the node at hand computes in.
    precision: Precision,
    /// The int8 codes of a tensor, by tensor; what is plain, as it is.
    mapped: Vec<Option<Handle<QuantTensor>>>,
    /// The int16 codes of a tensor, by tensor.
    wide: Vec<Option<Handle<QuantTensor>>>,
    /// The reals of a tensor, by tensor.
    reals: Vec<Option<Handle<QuantTensor>>>,
    /// Those over reals so far.
    recurrences: Vec<Recurrence>,
    /// Names taken.
    names: HashSet<String>,
    problems: Vec<Problem>,
}

impl Quantizer<'_> {
    fn node(&mut self, position: usize, node: &Node<FloatTensor>) {
        if let Some(input) = passed_through(self.graph, node) {
            self.mapped[node.outputs[0].index()] = self.mapped[input.index()];
            return;
        }
        self.precision = self.scheme.precisions.node(position);
        if self.precision == Precision::F32 {
            self.real_node(node);
            return;
        }
        let inputs = match &node.op {
            Op::Conv2d(_) | Op::ConvNd(_) | Op::Dense(_) => self.weighted(position, node),
            Op::Gather(_) | Op::GatherElements(_) | Op::GatherNd(_) | Op::Scatter(_) => {
                self.operands(node, |position| position == 1)
            }
            Op::Binary(Binary {
                kind: BinaryKind::PRelu,
                ..
            }) => self.operands(node, |position| position == 1),
            Op::Binary(_) | Op::Concat(_) => self.operands(node, |_| false),
            Op::Lstm(_) => self.lstm(node),
            Op::BatchNormalization(_) | Op::LayerNorm(_) => self.operands(node, |position| position > 0),
            Op::AveragePool(_)
            | Op::BitCast(_)
            | Op::Cast(_)
            | Op::Compare(_)
            | Op::Cumulate(_)
            | Op::Expand(_)
            | Op::Lookup(_)
            | Op::NonMaxSuppression(_)
            | Op::NonZero(_)
            | Op::TfIdf(_)
            | Op::TopK(_)
            | Op::TreeEnsemble(_)
            | Op::Trilu(_)
            | Op::Unique(_)
            | Op::Delay(_)
            | Op::DequantizeLinear(_)
            | Op::DequantizeTo(_)
            | Op::GridSample(_)
            | Op::Attention(_)
            | Op::MatMul(_)
            | Op::MaxPoolIndices(_)
            | Op::Resample(_)
            | Op::RoiAlign(_)
            | Op::MaxPool(_)
            | Op::NarrowCast(_)
            | Op::Pad(_)
            | Op::QuantizeLinear(_)
            | Op::Recurrent(_)
            | Op::Repeat(_)
            | Op::Reduce(_)
            | Op::QuantizeTo(_)
            | Op::Reshape(_)
            | Op::Select(_)
            | Op::Slice(_)
            | Op::Softmax(_)
            | Op::Transpose(_)
            | Op::Unary(_) => self.operands(node, |_| false),
        };
        for &output in &node.outputs {
            let ty = &self.graph.tensors[output].ty;
            if ty.dtype != DType::F32 && !makes_plain(self.graph, node) {
                let reason = format!("its output is {ty}; only reals of f32 become int8");
                self.problems.push(problem(node, reason, None));
            }
        }
        let Some(inputs) = inputs else { return };
        let outputs = node
            .outputs
            .iter()
            .map(|&output| {
                if makes_plain(self.graph, node) {
                    self.plain(output)
                } else {
                    self.activation(output)
                }
            })
            .collect();
        self.out.nodes.push(Node {
            name: node.name.clone(),
            op: node.op.clone(),
            inputs,
            outputs,
        });
    }

    /// The tensor as the model has it.
    fn plain(&mut self, tensor: Handle<FloatTensor>) -> Handle<QuantTensor> {
        let handle = self.out.tensors.push(plain(&self.graph.tensors[tensor]));
        self.mapped[tensor.index()] = Some(handle);
        handle
    }

    /// The codes of tensors in the precision at hand.
    fn codes(&mut self) -> &mut Vec<Option<Handle<QuantTensor>>> {
        match self.precision {
            Precision::Int16x8 => &mut self.wide,
            Precision::Int8 | Precision::F32 => &mut self.mapped,
        }
    }

    /// The codes of an activation in the precision at hand, made where there are none yet: of its reals, or of its other
    /// codes, where it has those.
    fn activation(&mut self, tensor: Handle<FloatTensor>) -> Handle<QuantTensor> {
        if let Some(handle) = self.codes()[tensor.index()] {
            return handle;
        }
        let float = &self.graph.tensors[tensor];
        let params = self.scheme.params_in(self.precision, tensor);
        let (dtype, others) = match self.precision {
            Precision::Int16x8 => (DType::I16, &self.mapped),
            Precision::Int8 | Precision::F32 => (DType::I8, &self.wide),
        };
        let made = self.reals[tensor.index()].or(others[tensor.index()]);
        let params = params.unwrap_or_else(|| params_of(None));
        let mut codes = QuantTensor {
            name: float.name.clone(),
            ty: TensorType::new(dtype, float.ty.shape.clone()),
            quantization: Quantization::PerTensor(params),
            model_dtype: float.ty.dtype,
            data: None,
        };
        let handle = if let Some(made) = made {
            codes.name = super::fresh_name(&mut self.names, &float.name);
            self.convert(made, codes)
        } else {
            self.out.tensors.push(codes)
        };
        self.codes()[tensor.index()] = Some(handle);
        handle
    }

    /// An output that is known beforehand, as it is.
    fn known_output(&mut self, tensor: Handle<FloatTensor>, data: Arc<Values>) -> Handle<QuantTensor> {
        let float = &self.graph.tensors[tensor];
        self.out.tensors.push(QuantTensor {
            name: float.name.clone(),
            ty: float.ty.clone(),
            quantization: Quantization::Plain,
            model_dtype: float.ty.dtype,
            data: Some(data),
        })
    }

    /// Inputs of an operator without weights. Constants at `plain` positions stay as they are; others become int8
    /// over their own range, but for single numbers, which are computed with exactly.
    fn operands(
        &mut self,
        node: &Node<FloatTensor>,
        plain: impl Fn(usize) -> bool,
    ) -> Option<Vec<Handle<QuantTensor>>> {
        let operand = |(position, &input): (usize, &Handle<FloatTensor>)| {
            let tensor = &self.graph.tensors[input];
            let Some(data) = &tensor.data else {
                if is_plain(self.graph, input)
                    && let Some(handle) = self.mapped[input.index()]
                {
                    return Some(handle);
                }
                if integer_params(tensor.ty.dtype).is_none() && tensor.ty.dtype != DType::F32 {
                    let reason = format!(
                        "its input `{}` is {}; int8 needs reals of f32",
                        tensor.name, tensor.ty
                    );
                    self.problems.push(problem(node, reason, None));
                    return None;
                }
                return Some(self.activation(input));
            };
            if let Some(handle) = self.codes()[input.index()] {
                return Some(handle);
            }
            let one_number = matches!(node.op, Op::Binary(_)) && data.data.len() == 1;
            let (quantization, data) = match data.as_f32() {
                Some(values) if !plain(position) => {
                    if values.iter().any(|value| !value.is_finite()) {
                        let reason =
                            format!("the constant `{}` holds values that are not finite", tensor.name);
                        self.problems.push(problem(node, reason, None));
                        return None;
                    }
                    if one_number {
                        (Quantization::Plain, Arc::clone(data))
                    } else {
                        let (params, codes) = if self.precision == Precision::Int16x8 {
                            let (params, codes) = quantize_wide_constant(values);
                            (params, Data::I16(codes))
                        } else {
                            let (params, codes) = quantize_constant(values);
                            (params, Data::I8(codes))
                        };
                        let values = Values::new(data.shape.clone(), codes);
                        (Quantization::PerTensor(params), Arc::new(values))
                    }
                }
                Some(_) | None => (Quantization::Plain, Arc::clone(data)),
            };
            let name = self.unused(&tensor.name);
            let handle = self.out.tensors.push(QuantTensor {
                name,
                ty: data.ty(),
                quantization,
                model_dtype: tensor.ty.dtype,
                data: Some(data),
            });
            self.codes()[input.index()] = Some(handle);
            Some(handle)
        };
        // All of them, so that every problem is seen.
        let inputs: Vec<_> = node.inputs.iter().enumerate().map(operand).collect();
        inputs.into_iter().collect()
    }

    /// Inputs of a convolution or dense layer.
    fn weighted(&mut self, position: usize, node: &Node<FloatTensor>) -> Option<Vec<Handle<QuantTensor>>> {
        let x = *node.inputs.first()?;
        let constant = |position: usize| {
            let tensor = &self.graph.tensors[*node.inputs.get(position)?];
            let values = tensor.data.as_deref().and_then(Values::as_f32);
            Some((
                tensor,
                values.filter(|values| values.iter().all(|value| value.is_finite())),
            ))
        };
        let weights = constant(1)?;
        let bias = constant(2);
        let mut sound = true;
        for (tensor, values) in [Some(weights), bias].into_iter().flatten() {
            if values.is_none() {
                let reason = format!("`{}` is not a constant of finite f32 values", tensor.name);
                let help = "layers whose weights are computed have no integer kernel";
                self.problems.push(problem(node, reason, Some(help)));
                sound = false;
            }
        }
        if !sound {
            return None;
        }
        let params = self.scheme.params_in(self.precision, x)?;
        let quantized = self.scheme.layers[position].as_ref()?;
        let tensor = weights.0;
        let shape = tensor.ty.shape.clone();
        let channels = *shape.first()?;
        if !quantized.coarser.is_empty() {
            self.out.notes.push(format!(
                "{} `{}`: the bias of {} of its {channels} channels is too large for weights in {} steps; \
                 theirs are coarser",
                node.op.name(),
                node.name,
                quantized.coarser.len(),
                quantized.grid.form.codes().1
            ));
        }
        let bias_scales = quantized
            .grid
            .scales
            .iter()
            .map(|scale| scale * params.scale)
            .collect();
        let (values, quantization) = quantized.stored(&shape);
        let weights = self.constant(&tensor.name, values, quantization);
        let mut inputs = vec![self.activation(x), weights];
        if bias.is_some() || quantized.bias.iter().any(|&bias| bias != 0) {
            let values = Values::new([channels], Data::I32(quantized.bias.clone()));
            let name = match bias {
                Some((tensor, _)) => tensor.name.clone(),
                None => format!("{}/bias", node.name),
            };
            let quantization = Quantization::PerChannel {
                axis: 0,
                scales: bias_scales,
            };
            inputs.push(self.constant(&name, values, quantization));
        }
        Some(inputs)
    }

    /// Inputs of an LSTM: weights and recurrence with a scale for each row, the bias as it is.
    fn lstm(&mut self, node: &Node<FloatTensor>) -> Option<Vec<Handle<QuantTensor>>> {
        let mut inputs = self.operands(node, |position| (1..=3).contains(&position))?;
        for position in [1, 3] {
            let tensor = &self.graph.tensors[node.inputs[position]];
            let Some(values) = tensor.data.as_deref().and_then(Values::as_f32) else {
                let reason = format!("`{}` is not a constant of f32 values", tensor.name);
                self.problems.push(problem(node, reason, None));
                return None;
            };
            let shape = tensor.ty.shape.clone();
            let quantized = weights::quantize(values, shape[0], &[], 1.0, WeightForm::Int8);
            let (values, quantization) = quantized.stored(&shape);
            inputs[position] = self.constant(&tensor.name, values, quantization);
        }
        self.out.notes.push(about_lstm(node));
        Some(inputs)
    }

    /// A constant with its scales. Two layers may share weights and quantize them apart.
    fn constant(&mut self, name: &str, values: Values, quantization: Quantization) -> Handle<QuantTensor> {
        let name = self.unused(name);
        self.out.tensors.push(QuantTensor {
            name,
            ty: values.ty(),
            quantization,
            model_dtype: DType::F32,
            data: Some(Arc::new(values)),
        })
    }

    /// The name of a constant, or one after it: others may be made of the same one.
    fn unused(&mut self, name: &str) -> String {
        if self.out.tensors.iter().any(|(_, tensor)| tensor.name == name) {
            super::fresh_name(&mut self.names, name)
        } else {
            name.into()
        }
    }
}
