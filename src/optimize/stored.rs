//! Constants as models store them: reals, or integers behind a `DequantizeLinear`.

use std::sync::Arc;

use super::draft::{Draft, Place};
use super::edit::{Tensor, add_constant, insert};
use super::limit;
use crate::ir::Node;
use crate::op::tensor::{Values, row_major_strides, strided_indices};
use crate::op::{DequantizeLinear, Op};

/// A constant operand. Rearranging it rearranges what is stored, so integers stay integers.
#[derive(Clone)]
pub(super) struct StoredConstant {
    /// The stored elements.
    pub values: Arc<Values>,
    /// How they become reals; `None` of reals.
    pub dequantize: Option<Dequantize>,
    name: String,
}

/// The `DequantizeLinear` before the operand.
#[derive(Clone)]
pub(super) struct Dequantize {
    /// The axis of per-axis parameters; `None` of one scale for all.
    pub axis: Option<usize>,
    scale: Tensor,
    zero_point: Tensor,
    node: String,
    output: String,
}

impl StoredConstant {
    /// The constant that `tensor` is or stands for; not a large one in a file.
    pub(super) fn find(graph: &Draft, tensor: Tensor) -> Option<Self> {
        if let Some(values) = &graph.tensors[tensor].data {
            if !limit::allows_copy(graph, tensor) {
                return None;
            }
            return Some(Self {
                values: values.clone(),
                dequantize: None,
                name: graph.tensors[tensor].name.clone(),
            });
        }
        let node = &graph.nodes[graph.producer(tensor)?];
        let Op::DequantizeLinear(op) = &node.op else {
            return None;
        };
        let [stored, scale, zero_point] = node.inputs[..] else {
            return None;
        };
        if !limit::allows_copy(graph, stored) {
            return None;
        }
        Some(Self {
            values: graph.tensors[stored].data.clone()?,
            dequantize: Some(Dequantize {
                axis: (graph.tensors[scale].ty.len() != 1).then_some(op.axis),
                scale,
                zero_point,
                node: node.name.clone(),
                output: graph.tensors[tensor].name.clone(),
            }),
            name: graph.tensors[stored].name.clone(),
        })
    }

    /// Extents of the operand.
    pub(super) fn shape(&self) -> &[usize] {
        &self.values.shape
    }

    fn axis(&self) -> Option<usize> {
        self.dequantize.as_ref()?.axis
    }

    fn with(mut self, values: Values, axis: Option<usize>) -> Self {
        self.values = Arc::new(values);
        if let Some(dequantize) = &mut self.dequantize {
            dequantize.axis = axis;
        }
        self
    }

    /// Its elements in another order of axes: `y.shape[i] = x.shape[perm[i]]`.
    pub(super) fn transposed(self, perm: &[usize]) -> Self {
        let strides = row_major_strides(self.shape());
        let shape: Vec<usize> = perm.iter().map(|&axis| self.shape()[axis]).collect();
        let strides: Vec<usize> = perm.iter().map(|&axis| strides[axis]).collect();
        let data = self
            .values
            .data
            .gather(strided_indices(&shape, &strides, 0).into_iter());
        let axis = self
            .axis()
            .and_then(|axis| perm.iter().position(|&from| from == axis));
        self.with(Values::new(shape, data), axis)
    }

    /// Its elements under another shape; `None` where per-axis parameters would no longer follow one axis.
    pub(super) fn reshaped(self, shape: &[usize]) -> Option<Self> {
        let axis = match self.axis() {
            None => None,
            Some(axis) => {
                let before: usize = self.shape()[..axis].iter().product();
                let extent = self.shape()[axis];
                let follows =
                    |&new: &usize| shape[new] == extent && shape[..new].iter().product::<usize>() == before;
                Some((0..shape.len()).find(follows)?)
            }
        };
        let values = self.values.reshaped(shape);
        Some(self.with(values, axis))
    }

    /// The operand with its columns (indices of the last axis) in the order that `from` gives; `None` where each
    /// column has its own scale.
    pub(super) fn with_columns_from(self, from: &[usize]) -> Option<Self> {
        let last = self.shape().len().checked_sub(1)?;
        if self.axis() == Some(last) {
            return None;
        }
        let columns = self.shape()[last];
        let rows = self.values.data.len() / columns.max(1);
        let order = (0..rows).flat_map(|row| from.iter().map(move |&column| row * columns + column));
        let values = Values::new(self.shape(), self.values.data.gather(order));
        let axis = self.axis();
        Some(self.with(values, axis))
    }

    /// One copy of a scalar per channel; `None` of anything else that has no such length.
    pub(super) fn spread_to(self, channels: usize) -> Option<Self> {
        let axis = self.axis();
        let len = self.values.data.len();
        if len == channels && self.shape().last().is_none_or(|&last| last == channels) {
            self.reshaped(&[channels])
        } else if len == 1 && axis.is_none() {
            let data = self.values.data.gather((0..channels).map(|_| 0));
            Some(self.with(Values::new([channels], data), None))
        } else {
            None
        }
    }

    /// The operand in the graph: a new constant and, of integers, a new `DequantizeLinear` before `position`.
    pub(super) fn add_to(self, graph: &mut Draft, position: Place) -> Tensor {
        let ty = self.values.ty();
        let stored = add_constant(graph, &self.name, Arc::unwrap_or_clone(self.values));
        let Some(dequantize) = self.dequantize else {
            return stored;
        };
        let node = Node {
            name: dequantize.node,
            op: Op::DequantizeLinear(DequantizeLinear {
                axis: dequantize.axis.unwrap_or(0),
            }),
            inputs: vec![stored, dequantize.scale, dequantize.zero_point],
            outputs: Vec::new(),
        };
        let real = crate::op::tensor::TensorType::new(graph.tensors[dequantize.scale].ty.dtype, ty.shape);
        insert(graph, position, node, &dequantize.output, real)
    }
}
