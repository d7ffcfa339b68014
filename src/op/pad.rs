//! Pad: <https://onnx.ai/onnx/operators/onnx__Pad.html>.

use serde::{Deserialize, Serialize};

use super::Clamp;
use super::lower::{KernelCall, Operand};
use super::movement::{self, Move};
use super::quant::{QuantTensor, Quantization};
use super::rescale::{self, Codes};
use super::runs::Runs;
use super::tensor::{Data, TensorType, Values, picked_indices, row_major_strides};
use super::wide::WideCodes;
use super::{Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use crate::target::Target;
use tinsmith_runtime::format::{Fill, FillF32, StridedCopy};
use tinsmith_runtime::kernels::Layer;

/// What stands outside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum PadMode {
    /// One value.
    Constant(f32),
    /// The edge, repeated.
    Edge,
    /// The inside, mirrored without repeating the edge.
    Reflect,
    /// The inside, beginning anew.
    Wrap,
}

/// The input, surrounded. Negative pads were turned into slices at import.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pad {
    /// Elements before, per axis.
    pub before: Vec<usize>,
    /// Elements after, per axis.
    pub after: Vec<usize>,
    /// What stands there.
    pub mode: PadMode,
}

impl Operator for Pad {
    const ONNX: &'static [&'static str] = &["Pad"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        let x = inputs[0];
        expect::one_per_axis("`before`", self.before.len(), x)?;
        expect::one_per_axis("`after`", self.after.len(), x)?;
        let mut shape = x.shape.clone();
        for (axis, extent) in shape.iter_mut().enumerate() {
            let (before, after) = (self.before[axis], self.after[axis]);
            let most = match self.mode {
                PadMode::Constant(_) => usize::MAX,
                PadMode::Edge | PadMode::Wrap if *extent > 0 => usize::MAX,
                // An extent of 1 is its own mirror image.
                PadMode::Reflect if *extent > 0 => usize::MAX,
                PadMode::Edge | PadMode::Wrap | PadMode::Reflect => 0,
            };
            if before > most || after > most {
                return Err(OpError::new(format!(
                    "at most {most} elements of padding wanted along axis {axis} of {x}, {before} and {after} found"
                )));
            }
            *extent = extent.saturating_add(before).saturating_add(after);
        }
        Ok(vec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let x = inputs[0];
        if let PadMode::Constant(value) = self.mode {
            let one = Data::F32(vec![value]).cast(x.data.dtype());
            let mut data = one.gather(std::iter::repeat_n(0, ty.len()));
            let strides = row_major_strides(&ty.shape);
            let base = strides
                .iter()
                .zip(&self.before)
                .map(|(stride, before)| stride * before)
                .sum();
            data.scatter_runs(&Runs::new(&x.shape, [&strides]), base, &x.data);
            return Ok(vec![Values::new(ty.shape, data)]);
        }
        let picks: Vec<Vec<usize>> = (0..x.shape.len())
            .map(|axis| {
                let places = 0..ty.shape[axis];
                let from = |place| self.mode.source(x.shape[axis], self.before[axis], place);
                places.map(from).collect()
            })
            .collect();
        let data = x.data.gather(picked_indices(&x.shape, &picks).into_iter());
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn output_params(&self) -> OutputParams {
        match self.mode {
            // Zero is in every range.
            PadMode::Constant(value) if value != 0.0 => OutputParams::Observed,
            PadMode::Constant(_) | PadMode::Edge | PadMode::Reflect | PadMode::Wrap => {
                OutputParams::SameAsInput(0)
            }
        }
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        let (x, y) = (inputs[0], outputs[0]);
        let change = movement::change_between(x, y)?;
        let mut calls = Vec::new();
        if let PadMode::Constant(value) = self.mode {
            calls.push(fill(value, y)?);
        }
        for part in self.parts(&x.ty.shape, &y.ty.shape) {
            calls.extend(part.calls(Operand::of_input(0, x), change.clone(), y.ty.dtype.bytes())?);
        }
        Ok(Lowered {
            calls,
            ..Lowered::default()
        })
    }
}

/// The call that fills `y` with `value`.
pub(super) fn fill(value: f32, y: &QuantTensor) -> Result<KernelCall, OpError> {
    if y.is_wide() {
        return fill_wide(value, y);
    }
    Ok(KernelCall::new(filled(value, y)?, Vec::new(), Vec::new()))
}

/// Two bytes an element: one byte all over where they are alike, else a copy of one element.
fn fill_wide(value: f32, y: &QuantTensor) -> Result<KernelCall, OpError> {
    let only = Clamp {
        min: Some(value),
        max: None,
    };
    let code = WideCodes::new(y, only)?.min;
    let [low, high] = code.to_le_bytes();
    if low == high {
        let layer = Layer::Fill(Fill {
            count: movement::fitting(y.ty.bytes())?,
            value: low as i8,
            ..Fill::default()
        });
        return Ok(KernelCall::new(layer, Vec::new(), Vec::new()));
    }
    let layer = Layer::StridedCopy(StridedCopy {
        dims: [1, 1, 1, 1, movement::fitting(y.ty.len())?],
        ofm_strides: [1; 5],
        element_bytes: 2,
        ..StridedCopy::default()
    });
    let source = Operand::Constant(vec![low, high]);
    Ok(KernelCall::new(layer, vec![source], Vec::new()))
}

/// The record that fills `y` with `value`.
fn filled(value: f32, y: &QuantTensor) -> Result<Layer, OpError> {
    let count = movement::fitting(y.ty.len())?;
    if y.quantization == Quantization::Plain && !y.is_real() {
        // Zero is zero bytes in every type.
        if value.to_bits() != 0 {
            return Err(OpError::new(format!(
                "fills {} with {value}; elements that are not f32 or int8 can be filled with 0 only",
                y.ty
            )));
        }
        return Ok(Layer::Fill(Fill {
            count: movement::fitting(y.ty.bytes())?,
            ..Fill::default()
        }));
    }
    if y.is_real() {
        return Ok(Layer::FillF32(FillF32 {
            count,
            value,
            ..FillF32::default()
        }));
    }
    let params = rescale::activation(Some(y), "output")?;
    let steps = Clamp {
        min: Some(value),
        max: None,
    };
    Ok(Layer::Fill(Fill {
        count,
        value: Codes::new(params, steps).min,
        ..Fill::default()
    }))
}

impl Pad {
    /// The copies that make up the output: the inside, and where the padding repeats or mirrors it, one part per
    /// combination of before, inside and after along the padded axes.
    fn parts(&self, from: &[usize], to: &[usize]) -> Vec<Move> {
        let (from_strides, to_strides) = (row_major_strides(from), row_major_strides(to));
        let mut parts = vec![Move {
            from_offset: 0,
            to_offset: 0,
            dims: vec![],
            from_strides: vec![],
            to_strides,
        }];
        for (axis, &extent) in from.iter().enumerate() {
            let before = self.before[axis];
            // First index read, step of it, first index written, indices.
            let mut segments: Vec<(usize, i64, usize, usize)> = Vec::new();
            let places = match self.mode {
                PadMode::Constant(_) => before..before + extent,
                PadMode::Edge | PadMode::Reflect | PadMode::Wrap => 0..before + extent + self.after[axis],
            };
            for place in places {
                let read = self.mode.source(extent, before, place);
                let next = read as i64;
                match segments.last_mut() {
                    Some((first, step, _, len)) if *len == 1 && (next - *first as i64).abs() <= 1 => {
                        *step = next - *first as i64;
                        *len = 2;
                    }
                    Some((first, step, _, len)) if *first as i64 + *step * *len as i64 == next => *len += 1,
                    _ => segments.push((read, 1, place, 1)),
                }
            }
            parts = parts
                .iter()
                .flat_map(|part| segments.iter().map(move |segment| (part, segment)))
                .map(|(part, &(read, step, written, extent))| {
                    let mut part = part.clone();
                    part.dims.push(extent);
                    part.from_strides.push(from_strides[axis] as i64 * step);
                    part.from_offset += from_strides[axis] * read;
                    part.to_offset += part.to_strides[axis] * written;
                    part
                })
                .collect();
        }
        parts
    }
}

impl PadMode {
    /// Where a place along a padded axis takes its element from, of `extent` that begin after `before`.
    fn source(self, extent: usize, before: usize, place: usize) -> usize {
        let last = extent.saturating_sub(1);
        // Before the inside is negative; extents are far below i64's.
        let inside = place as i64 - before as i64;
        let round = |length: usize| inside.rem_euclid(length.max(1) as i64) as usize;
        match self {
            Self::Constant(_) | Self::Edge => inside.clamp(0, last as i64) as usize,
            Self::Wrap => round(extent),
            Self::Reflect => {
                let there = round(2 * last);
                there.min(2 * last - there)
            }
        }
    }
}
