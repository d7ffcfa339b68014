//! ScatterElements, ScatterND and their old form Scatter:
//! <https://onnx.ai/onnx/operators/onnx__ScatterElements.html>, <https://onnx.ai/onnx/operators/onnx__ScatterND.html>.

use serde::{Deserialize, Serialize};
use tinsmith_runtime::format::Scatter as Record;
use tinsmith_runtime::kernels::Layer;

use super::data::with_numbers;
use super::element::Element;
use super::lower::{KernelCall, Operand};
use super::movement::fitting;
use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect, places};
use crate::target::Target;

/// What becomes of an element that an update meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reduction {
    /// The update takes its place; of several, the last.
    Replace,
    /// Their sum.
    Add,
    /// Their product.
    Mul,
    /// The greater one.
    Max,
    /// The lesser one.
    Min,
}

/// Which places the updates meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScatterKind {
    /// An element each: `y[…, indices[…, i, …], …] ∘= updates[…, i, …]` along an axis.
    Elements {
        /// The axis, counted from the front.
        axis: usize,
    },
    /// A slice each: `y[indices[j…, 0], indices[j…, 1], …] ∘= updates[j…]`.
    Slices,
}

/// `x`, with updates in some places. Inputs: `x`, `indices` (negative ones count from the end), `updates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scatter {
    /// Which places the updates meet.
    pub kind: ScatterKind,
    /// What becomes of the elements there.
    pub reduction: Reduction,
}

impl Operator for Scatter {
    const ONNX: &'static [&'static str] = &["Scatter", "ScatterElements", "ScatterND", "TensorScatter"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 3..=3)?;
        let (x, indices, updates) = (inputs[0], inputs[1], inputs[2]);
        places::expect_indices(indices)?;
        expect::dtype("updates", updates, x.dtype)?;
        match self.kind {
            ScatterKind::Elements { axis } => {
                expect::axis(axis, x)?;
                places::expect_within(axis, x, indices)?;
                expect::shape("updates", updates, &indices.shape)?;
            }
            ScatterKind::Slices => {
                let split = indices.shape.split_last();
                let inner = split.and_then(|(&depth, _)| x.shape.get(depth..));
                let (Some((_, tuples)), Some(inner)) = (split, inner) else {
                    return Err(OpError::new(format!(
                        "tuples of indices into {x} wanted, {indices} found"
                    )));
                };
                expect::shape("updates", updates, &[tuples, inner].concat())?;
            }
        }
        let computes = !matches!(x.dtype, DType::Bool | DType::Narrow(_));
        if self.reduction != Reduction::Replace && !computes {
            return Err(OpError::new(format!("numbers to reduce wanted, {x} found")));
        }
        Ok(vec![x.clone()])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        expect::output(self, inputs)?;
        let (x, updates) = (inputs[0], inputs[2]);
        let (firsts, inner) = self.places(&x.shape, inputs[1])?;
        let targets = firsts.into_iter().flat_map(|first| first..first + inner);
        if self.reduction == Reduction::Replace {
            let mut data = x.data.clone();
            data.scatter(targets, &updates.data);
            return Ok(vec![Values::new(x.shape.clone(), data)]);
        }
        let data = with_numbers!(
            x.data, v => reduced(self.reduction, v, targets, &updates.data),
            else return Err(OpError::new("numbers wanted"))
        );
        Ok(vec![Values::new(x.shape.clone(), data)])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let (x, indices, updates, y) = (inputs[0], inputs[1], inputs[2], outputs[0]);
        let alike = x.quantization == y.quantization && updates.quantization == y.quantization;
        if !alike || self.reduction != Reduction::Replace && !y.is_real() {
            return Err(
                OpError::new("scatters int8 codes of different parameters, or reduces them")
                    .with_help("compile with --precision f32")
                    .into(),
            );
        }
        let constant = indices.data.as_deref();
        let mut record = Record {
            count: fitting(x.ty.len())?,
            extents: [1; 5],
            depth: 1,
            element_bytes: fitting(x.ty.dtype.bytes())?,
            reduction: match self.reduction {
                Reduction::Replace => 0,
                Reduction::Add => 1,
                Reduction::Mul => 2,
                Reduction::Max => 3,
                Reduction::Min => 4,
            },
            ..Record::default()
        };
        let operand = if let Some(constant) = constant {
            let (firsts, inner) = self.places(&x.ty.shape, constant)?;
            record.rows = fitting(firsts.len())?;
            record.row_elements = fitting(inner)?;
            record.extents[0] = fitting(x.ty.len() + 1 - inner.min(x.ty.len()))?;
            record.strides[0] = 1;
            record.index_bytes = 4;
            Operand::Constant(places::table(&firsts)?)
        } else {
            let ScatterKind::Slices = self.kind else {
                return Err(OpError::new("the indices are not constant")
                    .with_help("make them part of the model, or use ScatterND")
                    .into());
            };
            let depth = indices.ty.shape.last().copied().unwrap_or(1);
            let strides = super::tensor::row_major_strides(&x.ty.shape);
            if depth == 0 || depth > record.extents.len() {
                return Err(OpError::new(format!(
                    "tuples of {depth} computed indices; from 1 to {} are possible",
                    record.extents.len()
                ))
                .into());
            }
            let axes = x.ty.shape.iter().zip(&strides).take(depth);
            for (axis, (&extent, &stride)) in axes.enumerate() {
                record.extents[axis] = fitting(extent)?;
                record.strides[axis] = fitting(stride)?;
            }
            record.depth = fitting(depth)?;
            record.rows = fitting(indices.ty.len() / depth)?;
            record.row_elements = fitting(x.ty.shape[depth..].iter().product::<usize>())?;
            record.index_bytes = places::index_bytes(indices)?;
            Operand::of_input(1, indices)
        };
        let sources = vec![Operand::of_input(0, x), Operand::of_input(2, updates), operand];
        Ok(Lowered::from(KernelCall {
            in_place: if x.data.is_none() { vec![0] } else { Vec::new() },
            ..KernelCall::new(Layer::Scatter(record), sources, Vec::new())
        }))
    }
}

impl Scatter {
    /// The first elements that the updates meet, and how many each of them has.
    fn places(&self, shape: &[usize], indices: &Values) -> Result<(Vec<usize>, usize), OpError> {
        match self.kind {
            ScatterKind::Elements { axis } => Ok((places::along(axis, shape, indices)?, 1)),
            ScatterKind::Slices => places::slices(0, shape, indices),
        }
    }
}

/// The elements with the updates reduced into them, one after the other.
fn reduced<T: Element>(
    reduction: Reduction,
    x: &[T],
    targets: impl Iterator<Item = usize>,
    updates: &Data,
) -> Data {
    let mut y = x.to_vec();
    let updates = T::of(updates).expect("the type check asked for one type");
    for (target, &update) in targets.zip(updates) {
        let own = y[target];
        y[target] = match reduction {
            Reduction::Replace => update,
            Reduction::Add => own.add(update),
            Reduction::Mul => own.multiply(update),
            Reduction::Max if update > own => update,
            Reduction::Min if update < own => update,
            Reduction::Max | Reduction::Min => own,
        };
    }
    T::data(y)
}
