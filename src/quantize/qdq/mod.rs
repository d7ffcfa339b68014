//! A quantized model, taken as it stands: `DequantizeLinear` before an operator and `QuantizeLinear` behind it become
//! the parameters of its int8 and int16 tensors.
//!
//! ```text
//! codes of x ── DequantizeLinear ── op ── QuantizeLinear ── codes of y      becomes      x ── op ── y
//! ```
//!
//! Every real tensor lies on a *grid*, the parameters of the int8 or int16 tensor that stands for it:
//!
//! - *exactly*, behind a `DequantizeLinear`, and behind whatever only moves such values;
//! - *rounded*, where its values are computed and a `QuantizeLinear` rounds them. Rounding commutes with moving values,
//!   with taking the largest and with clamping, so the grid of a `QuantizeLinear` reaches back through those to the
//!   operator that computes.
//!
//! Operators that compute take exact inputs only: a value that the model computes with before it is rounded has no
//! int8 tensor that stands for it, and its reader is refused by name.

mod constant;
mod grid;
mod int4;
mod operands;
mod reals;
mod uneven;

use std::collections::HashSet;
use std::sync::Arc;

use super::{Precision, fresh_name, problem};
use crate::ir::{FloatGraph, FloatTensor, Handle, Node, Problem, QuantGraph};
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::tensor::{DType, TensorType, Values};
use crate::op::{Op, Pad, PadMode, Reshape};
pub(super) use grid::Grid;
use grid::{carried, commutes, moves, signed};

/// What to do about a tensor that is not quantized.
pub(super) const WAY_OUT: &str =
    "put QuantizeLinear and DequantizeLinear around it, give calibration data, or take `--precision f32`";

/// Turns a model with `QuantizeLinear` and `DequantizeLinear` nodes into int8 and int16 tensors.
///
/// With [`Precision::F32`], tensors without such a form stay reals: those are found one round after the other, as what
/// a round could not do, until nothing is added.
pub(super) fn absorb(graph: &FloatGraph, precision: Precision) -> Result<QuantGraph, Refused> {
    let mut in_reals = vec![false; graph.tensors.len()];
    loop {
        let mut absorber = Absorber::new(graph, precision, in_reals.clone());
        absorber.spread_grids();
        for node in absorber.live_nodes() {
            absorber.node(node);
        }
        absorber.ports();
        if absorber.in_reals != in_reals {
            in_reals = absorber.in_reals;
        } else if absorber.problems.is_empty() {
            return Ok(absorber.out);
        } else {
            return Err(Refused {
                problems: absorber.problems,
                lacking: absorber.lacking,
            });
        }
    }
}

/// Why a model cannot be taken.
pub(super) struct Refused {
    /// All that stands in the way.
    pub(super) problems: Vec<Problem>,
    /// The first real tensor that lies on no grid, or not exactly on the one given, and should.
    pub(super) lacking: Option<(Handle<FloatTensor>, Option<Grid>)>,
}

pub(super) struct Absorber<'g> {
    pub(super) graph: &'g FloatGraph,
    producers: Vec<Option<usize>>,
    /// The grid of every tensor that has one, by tensor.
    grid: Vec<Option<Grid>>,
    /// Whether a real tensor lies on its grid exactly.
    exact: Vec<bool>,
    pub(super) out: QuantGraph,
    pub(super) mapped: Vec<Option<Handle<QuantTensor>>>,
    pub(super) names: HashSet<String>,
    pub(super) problems: Vec<Problem>,
    /// See [`Refused::lacking`].
    lacking: Option<(Handle<FloatTensor>, Option<Grid>)>,
    precision: Precision,
    /// Which tensors are computed, or given, in reals.
    in_reals: Vec<bool>,
    /// The f32 tensor that stands for a tensor, where one was made.
    reals: Vec<Option<Handle<QuantTensor>>>,
}

impl<'g> Absorber<'g> {
    fn new(graph: &'g FloatGraph, precision: Precision, in_reals: Vec<bool>) -> Self {
        let mut producers = vec![None; graph.tensors.len()];
        for (position, node) in graph.nodes.iter().enumerate() {
            for output in &node.outputs {
                producers[output.index()] = Some(position);
            }
        }
        let mut out = QuantGraph::new(graph.name.clone());
        out.notes = graph.notes.clone();
        Self {
            graph,
            producers,
            grid: vec![None; graph.tensors.len()],
            exact: vec![false; graph.tensors.len()],
            out,
            mapped: vec![None; graph.tensors.len()],
            names: graph
                .tensors
                .iter()
                .map(|(_, tensor)| tensor.name.clone())
                .collect(),
            problems: Vec::new(),
            lacking: None,
            precision,
            in_reals,
            reals: vec![None; graph.tensors.len()],
        }
    }

    fn producer(&self, tensor: Handle<FloatTensor>) -> Option<&'g Node<FloatTensor>> {
        self.producers[tensor.index()].map(|position| &self.graph.nodes[position])
    }

    fn is_dequantized(&self, tensor: Handle<FloatTensor>) -> bool {
        matches!(self.producer(tensor), Some(node) if matches!(node.op, Op::DequantizeLinear(_)))
    }

    /// The nodes that an output depends on and that act on what is not constant, in order.
    fn live_nodes(&self) -> Vec<&'g Node<FloatTensor>> {
        let mut needed = vec![false; self.graph.tensors.len()];
        for output in &self.graph.outputs {
            needed[output.index()] = true;
        }
        let mut varies = vec![false; self.graph.tensors.len()];
        for input in &self.graph.inputs {
            varies[input.index()] = true;
        }
        for node in &self.graph.nodes {
            let varying = node.inputs.iter().any(|input| varies[input.index()]);
            node.outputs
                .iter()
                .for_each(|output| varies[output.index()] = varying);
        }
        let mut live = Vec::new();
        for node in self.graph.nodes.iter().rev() {
            if node
                .outputs
                .iter()
                .any(|output| needed[output.index()] && varies[output.index()])
            {
                node.inputs.iter().for_each(|input| needed[input.index()] = true);
                live.push(node);
            }
        }
        live.reverse();
        live
    }

    fn node(&mut self, node: &Node<FloatTensor>) {
        match &node.op {
            Op::QuantizeLinear(_) => self.quantize(node),
            Op::DequantizeLinear(_) => {
                let (codes, reals) = (node.inputs[0], node.outputs[0]);
                self.mapped[reals.index()] = self.codes(codes);
                self.exact[reals.index()] = true;
            }
            _ if self.is_in_reals(node) => self.real_node(node),
            op => {
                let known = self.problems.len();
                let commutes = commutes(op, self.graph.tensors[node.inputs[0]].ty.dtype);
                let inputs = self.inputs(node, commutes);
                let outputs: Vec<_> = node
                    .outputs
                    .iter()
                    .map(|&output| self.output(node, output))
                    .collect();
                let (Some(inputs), Some(outputs)) = (inputs, outputs.into_iter().collect::<Option<Vec<_>>>())
                else {
                    self.give_up(node);
                    if self.problems.len() == known {
                        self.problems.push(problem(
                            node,
                            "it stands among operators that are not quantized",
                            Some(WAY_OUT),
                        ));
                    }
                    return;
                };
                let op = self.over_reals(node);
                self.out.nodes.push(Node {
                    name: node.name.clone(),
                    op,
                    inputs,
                    outputs,
                });
            }
        }
    }

    /// The operator, with what it says about codes said about reals.
    fn over_reals(&self, node: &Node<FloatTensor>) -> Op {
        let input = node.inputs[0];
        match (&node.op, self.grid[input.index()]) {
            (
                Op::Pad(Pad {
                    before,
                    after,
                    mode: PadMode::Constant(code),
                }),
                Some(Grid { params, .. }),
            ) if !self.graph.tensors[input].ty.dtype.is_float() => {
                let shift = signed(self.graph.tensors[input].ty.dtype).map_or(0, |(_, shift)| shift);
                let steps = code - shift as f32 - params.zero_point as f32;
                Op::Pad(Pad {
                    before: before.clone(),
                    after: after.clone(),
                    mode: PadMode::Constant(steps * params.scale),
                })
            }
            (op, _) => op.clone(),
        }
    }

    /// `QuantizeLinear`: nothing to do behind an operator; a change of parameters behind `DequantizeLinear`.
    fn quantize(&mut self, node: &Node<FloatTensor>) {
        let (reals, codes) = (node.inputs[0], node.outputs[0]);
        let Some(wanted) = self.grid[codes.index()] else {
            return;
        };
        if self.in_reals[reals.index()] {
            self.cast_to_codes(node, wanted);
            return;
        }
        let Some(source) = self.codes(reals) else { return };
        if self.grid[reals.index()] == Some(wanted) {
            self.mapped[codes.index()] = Some(source);
            return;
        }
        let output = self.tensor(codes, wanted);
        self.out.nodes.push(Node {
            name: node.name.clone(),
            op: Op::Reshape(Reshape {
                shape: self.graph.tensors[codes].ty.shape.clone(),
            }),
            inputs: vec![source],
            outputs: vec![output],
        });
    }

    /// The codes that stand for a tensor; inputs of the graph are made here.
    fn codes(&mut self, tensor: Handle<FloatTensor>) -> Option<Handle<QuantTensor>> {
        if let Some(handle) = self.mapped[tensor.index()] {
            return Some(handle);
        }
        if !self.graph.inputs.contains(&tensor) {
            return None;
        }
        let grid = self.grid[tensor.index()]?;
        Some(self.tensor(tensor, grid))
    }

    /// A new tensor of codes for `tensor`.
    fn tensor(&mut self, tensor: Handle<FloatTensor>, grid: Grid) -> Handle<QuantTensor> {
        let float = &self.graph.tensors[tensor];
        let handle = self.out.tensors.push(QuantTensor {
            name: float.name.clone(),
            ty: TensorType::new(grid.dtype, float.ty.shape.clone()),
            quantization: Quantization::PerTensor(grid.params),
            model_dtype: float.ty.dtype,
            data: None,
        });
        self.mapped[tensor.index()] = Some(handle);
        handle
    }

    /// The output of a node that computes or moves.
    fn output(
        &mut self,
        node: &Node<FloatTensor>,
        tensor: Handle<FloatTensor>,
    ) -> Option<Handle<QuantTensor>> {
        let float = &self.graph.tensors[tensor];
        let Some(grid) = self.grid[tensor.index()] else {
            let reason = format!("its output `{}` is not quantized", float.name);
            self.lack(tensor);
            self.problems.push(problem(node, reason, Some(WAY_OUT)));
            return None;
        };
        let moved = carried(&node.op, &node.inputs);
        let exact_inputs = moved.iter().all(|input| {
            let on_grid = self.exact[input.index()] && self.grid[input.index()] == Some(grid);
            on_grid || self.graph.tensors[*input].ty.dtype != DType::F32
        });
        self.exact[tensor.index()] =
            exact_inputs && !moved.is_empty() && moves(&node.op, self.graph.tensors[moved[0]].ty.dtype);
        Some(self.tensor(tensor, grid))
    }

    /// Notes that a tensor should lie on a grid.
    fn lack(&mut self, tensor: Handle<FloatTensor>) {
        if self.graph.tensors[tensor].ty.dtype == DType::F32 {
            self.lacking.get_or_insert((tensor, self.grid[tensor.index()]));
        }
    }

    /// An input that has to lie on a grid, for a node that computes with it or, commuting, only moves it.
    pub(super) fn activation(
        &mut self,
        node: &Node<FloatTensor>,
        tensor: Handle<FloatTensor>,
        commutes: bool,
    ) -> Option<Handle<QuantTensor>> {
        let float = &self.graph.tensors[tensor];
        let output_grid = self.grid[node.outputs[0].index()];
        let grid = self.grid[tensor.index()];
        let sound = if float.ty.dtype.is_float() {
            self.exact[tensor.index()] || (commutes && grid.is_some() && grid == output_grid)
        } else {
            // Integers are codes only for what moves them.
            commutes
        };
        let codes = if sound { self.codes(tensor) } else { None };
        if codes.is_none() {
            let reason = match grid {
                Some(_) if sound => format!(
                    "its input `{}` comes from an operator that is not quantized",
                    float.name
                ),
                Some(_) if float.ty.dtype.is_float() => {
                    format!("it computes with `{}` before that is rounded", float.name)
                }
                Some(_) | None => format!("its input `{}` ({}) is not quantized", float.name, float.ty),
            };
            self.lack(tensor);
            self.problems.push(problem(node, reason, Some(WAY_OUT)));
        }
        codes
    }

    /// A tensor's grid.
    pub(super) fn grid(&self, tensor: Handle<FloatTensor>) -> Option<Grid> {
        self.grid[tensor.index()]
    }

    /// Adds a constant to the quantized graph under the name of a tensor, or one like it where that is taken.
    pub(super) fn constant(
        &mut self,
        tensor: Handle<FloatTensor>,
        values: Values,
        quantization: Quantization,
    ) -> Handle<QuantTensor> {
        let name = &self.graph.tensors[tensor].name;
        let taken = self.out.tensors.iter().any(|(_, tensor)| tensor.name == *name);
        let name = if taken {
            fresh_name(&mut self.names, name)
        } else {
            name.clone()
        };
        self.out.tensors.push(QuantTensor {
            name,
            ty: values.ty(),
            quantization,
            model_dtype: self.graph.tensors[tensor].ty.dtype,
            data: Some(Arc::new(values)),
        })
    }

    /// Inputs and outputs of the graph, under the model's names and element types.
    fn ports(&mut self) {
        for &input in &self.graph.inputs {
            let float = &self.graph.tensors[input];
            let port = if self.in_reals[input.index()] {
                Some(self.real(input))
            } else {
                self.codes(input)
            };
            match port {
                Some(handle) => self.out.inputs.push(handle),
                None => {
                    self.want_reals(input);
                    self.lack(input);
                    self.problems.push(Problem {
                        node: float.name.clone(),
                        operator: "input".into(),
                        reason: format!(
                            "the model's input ({}) is not quantized before it is used",
                            float.ty
                        ),
                        help: Some(WAY_OUT.into()),
                    });
                }
            }
        }
        for &output in &self.graph.outputs {
            let float = &self.graph.tensors[output];
            if let Some(values) = float.data.as_deref() {
                let port = self.constant(output, values.clone(), Quantization::Plain);
                self.out.outputs.push(port);
                continue;
            }
            if self.in_reals[output.index()] {
                let port = self.real(output);
                self.out.outputs.push(port);
                continue;
            }
            let sound = !float.ty.dtype.is_float() || self.exact[output.index()];
            let Some(handle) = self.mapped[output.index()].filter(|_| sound) else {
                self.want_reals(output);
                self.lack(output);
                self.problems.push(Problem {
                    node: float.name.clone(),
                    operator: "output".into(),
                    reason: format!("the model's output ({}) is not quantized", float.ty),
                    help: Some(WAY_OUT.into()),
                });
                continue;
            };
            let port = self.port(output, handle);
            self.out.outputs.push(port);
        }
    }

    /// The tensor of an output: the codes' own, unless they serve as another input or output already.
    fn port(&mut self, output: Handle<FloatTensor>, codes: Handle<QuantTensor>) -> Handle<QuantTensor> {
        let float = &self.graph.tensors[output];
        let is_taken = self.out.inputs.contains(&codes) || self.out.outputs.contains(&codes);
        let is_own = self.out.tensors[codes].name == float.name;
        if !is_taken && !is_own {
            let tensor = &mut self.out.tensors[codes];
            tensor.name = float.name.clone();
            tensor.model_dtype = float.ty.dtype;
        }
        if !is_taken || is_own {
            return codes;
        }
        let codes_of = &self.out.tensors[codes];
        let grid = Grid {
            params: codes_of.params().expect("codes have parameters"),
            dtype: codes_of.ty.dtype,
        };
        let copy = self.tensor(output, grid);
        self.out.nodes.push(Node {
            name: float.name.clone(),
            op: Op::Reshape(Reshape {
                shape: float.ty.shape.clone(),
            }),
            inputs: vec![codes],
            outputs: vec![copy],
        });
        copy
    }
}
