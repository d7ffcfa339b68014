//! How two int8 tensors meet element by element: constants, broadcasting, and the kernels of [`Binary`].

use std::collections::BTreeSet;

use tinsmith_runtime::Rounding;
use tinsmith_runtime::format::{Add, Mul};
use tinsmith_runtime::kernels::Layer;

use super::lower::{KernelCall, LowerError, Lowered, Operand, Proof};
use super::quant::{QuantParams, QuantTensor, Quantization};
use super::rescale::{self, Codes, Dyadic, Factor, Reach, Side};
use super::tensor::row_major_strides;
use super::{Binary, BinaryKind, OpError, movement};

/// Dimensions of the runtime's elementwise records.
const MAX_DIMS: usize = 4;

/// The exact value of a constant of one element: int8 with parameters, or a real.
pub(super) fn one_value(tensor: &QuantTensor) -> Option<Dyadic> {
    let values = tensor.data.as_deref().filter(|values| values.data.len() == 1)?;
    match &tensor.quantization {
        Quantization::PerTensor(params) => {
            let code = i32::from(*values.as_i8()?.first()?);
            Dyadic::steps(code - params.zero_point, params.scale)
        }
        Quantization::Plain => Dyadic::new(*values.as_f32()?.first()?),
        Quantization::PerChannel { .. } => None,
    }
}

/// Where the elements of two operands lie, over the dimensions of the output that do not run on.
pub(super) struct Geometry {
    dims: Vec<usize>,
    strides: [Vec<usize>; 2],
}

impl Geometry {
    /// Two shapes broadcast to that of the output: without extents of one, with neighbours joined that run on in both
    /// operands.
    pub(super) fn new(shapes: [&[usize]; 2], to: &[usize]) -> Result<Self, OpError> {
        let all = shapes.map(|shape| broadcast_strides(shape, to));
        let mut dims: Vec<usize> = Vec::new();
        let mut strides: [Vec<usize>; 2] = Default::default();
        for (i, &extent) in to.iter().enumerate() {
            if extent == 1 {
                continue;
            }
            let own = [0, 1].map(|side: usize| all[side][i]);
            let runs_on =
                !dims.is_empty() && (0..2).all(|side| strides[side].last() == Some(&(own[side] * extent)));
            if !runs_on {
                dims.push(1);
                strides.iter_mut().for_each(|strides| strides.push(0));
            }
            let last = dims.len() - 1;
            dims[last] *= extent;
            for side in 0..2 {
                strides[side][last] = own[side];
            }
        }
        if dims.len() > MAX_DIMS {
            return Err(OpError::new(format!(
                "broadcasting alternates between {} groups of axes; at most {MAX_DIMS} are possible",
                dims.len()
            )));
        }
        Ok(Self { dims, strides })
    }

    /// The output's extents as a record holds them.
    pub(super) fn dims(&self) -> Result<[u32; MAX_DIMS], OpError> {
        Self::field(&self.dims, 1)
    }

    /// The strides of one operand as a record holds them.
    pub(super) fn strides(&self, side: usize) -> Result<[u32; MAX_DIMS], OpError> {
        Self::field(&self.strides[side], 0)
    }

    /// Extents or strides as a record holds them, outermost first.
    fn field(numbers: &[usize], missing: u32) -> Result<[u32; MAX_DIMS], OpError> {
        let mut field = [missing; MAX_DIMS];
        let first = MAX_DIMS - numbers.len();
        for (slot, &number) in field[first..].iter_mut().zip(numbers) {
            *slot = movement::fitting(number)?;
        }
        Ok(field)
    }
}

/// The two operands of int8.
pub(super) struct Sides<'a> {
    geometry: Geometry,
    operands: [Term<'a>; 2],
}

/// One operand.
struct Term<'a> {
    tensor: &'a QuantTensor,
    params: QuantParams,
    /// The codes it can hold, ascending.
    codes: Vec<i8>,
}

impl<'a> Sides<'a> {
    /// Two int8 tensors broadcast to the shape of `y`.
    pub(super) fn new(inputs: &[&'a QuantTensor], y: &QuantTensor) -> Result<Self, OpError> {
        let operand = |tensor: &'a QuantTensor, name: &str| {
            let params = rescale::activation(Some(tensor), name).map_err(|error| {
                error.with_help("constants of more than one element must be quantized to int8")
            })?;
            let constant = tensor.data.as_deref().and_then(|values| values.as_i8());
            Ok(Term {
                tensor,
                params,
                codes: match constant {
                    Some(codes) => codes
                        .iter()
                        .copied()
                        .collect::<BTreeSet<i8>>()
                        .into_iter()
                        .collect(),
                    None => (i8::MIN..=i8::MAX).collect(),
                },
            })
        };
        Ok(Self {
            operands: [
                operand(inputs[0], "first operand")?,
                operand(inputs[1], "second operand")?,
            ],
            geometry: Geometry::new([&inputs[0].ty.shape, &inputs[1].ty.shape], &y.ty.shape)?,
        })
    }

    /// The call of a record that computes `y` from both operands.
    fn call(&self, layer: Layer, y: &QuantTensor) -> KernelCall {
        let sources = [0, 1].map(|index| Operand::of_input(index, self.operands[index].tensor));
        // An element may take the place of the one operand that is read in step with the output.
        let in_place = (0..2).filter(|&side| {
            let operand = &self.operands[side];
            operand.tensor.data.is_none() && operand.tensor.ty.len() == y.ty.len()
        });
        KernelCall {
            in_place: in_place.collect(),
            ..KernelCall::new(layer, sources.into(), Vec::new())
        }
    }
}

impl Term<'_> {
    fn side(&self) -> Side<'_> {
        Side {
            scale: self.params.scale,
            zero_point: self.params.zero_point,
            codes: &self.codes,
        }
    }
}

/// Elements from one index of `to` to the next in a row-major tensor of `shape`; 0 where it is broadcast.
fn broadcast_strides(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let strides = row_major_strides(shape);
    let lead = to.len() - shape.len();
    let own = shape
        .iter()
        .zip(strides)
        .map(|(&extent, stride)| if extent == 1 { 0 } else { stride });
    std::iter::repeat_n(0, lead).chain(own).collect()
}

impl Binary {
    /// One operand is a number: a table.
    pub(super) fn lower_constant(
        &self,
        value: Dyadic,
        constant_first: bool,
        x: &QuantTensor,
        y: &QuantTensor,
    ) -> Result<Lowered, LowerError> {
        let from = rescale::activation(Some(x), "input")?;
        let to = rescale::activation(Some(y), "output")?;
        if self.kind == BinaryKind::Div && !constant_first && value.is_zero() {
            return Err(OpError::new("a division by the constant zero").into());
        }
        let table = rescale::binary_constant(self.kind, from, value, constant_first, to, self.clamp)?;
        let source = Operand::Input {
            index: constant_first.into(),
            byte_offset: 0,
        };
        let call = movement::table_call(source, table, y.ty.len())?;
        Ok(Lowered::one(call, Proof::default()))
    }

    /// Sums and differences.
    pub(super) fn lower_sum(&self, sides: &Sides<'_>, y: &QuantTensor) -> Result<Lowered, LowerError> {
        let to = rescale::activation(Some(y), "output")?;
        let codes = Codes::new(to, self.clamp);
        let [a, b] = &sides.operands;
        let subtract = self.kind == BinaryKind::Sub;
        let found = rescale::pair(a.side(), b.side(), subtract, to.scale, codes).ok_or_else(|| {
            OpError::new(format!(
                "steps of {:e} and {:e} cannot be added in steps of {:e}",
                a.params.scale, b.params.scale, to.scale
            ))
            .with_help("choose a larger output scale: most of the results saturate")
        })?;
        let record = Add {
            dims: sides.geometry.dims()?,
            a_strides: sides.geometry.strides(0)?,
            b_strides: sides.geometry.strides(1)?,
            a_multiplier: found.a_multiplier,
            b_multiplier: found.b_multiplier,
            a_zero_point: movement::fitting(a.params.zero_point)?,
            b_zero_point: movement::fitting(b.params.zero_point)?,
            ofm_zero_point: movement::fitting(to.zero_point)?,
            min: codes.min,
            max: codes.max,
            right_shift: found.right_shift,
            rounding: (found.rounding == Rounding::Even).into(),
            wide: found.wide.into(),
            ..Add::default()
        };
        let mut proof = Proof::default();
        let factor = f64::from(a.params.scale) / f64::from(to.scale);
        proof.record(0, factor, found.fit, found.rounding);
        Ok(Lowered::one(sides.call(Layer::Add(record), y), proof))
    }

    /// Products.
    pub(super) fn lower_product(&self, sides: &Sides<'_>, y: &QuantTensor) -> Result<Lowered, LowerError> {
        let to = rescale::activation(Some(y), "output")?;
        let codes = Codes::new(to, self.clamp);
        let [a, b] = &sides.operands;
        let factor = Factor::new(&[a.params.scale, b.params.scale], &[to.scale], 1)
            .ok_or_else(|| OpError::new("a scale is not positive and finite"))?;
        let mut products = BTreeSet::new();
        for &x in &a.codes {
            let x = i64::from(x) - i64::from(a.params.zero_point);
            products.extend(
                b.codes
                    .iter()
                    .map(|&y| x * (i64::from(y) - i64::from(b.params.zero_point))),
            );
        }
        let products: Vec<i64> = products.into_iter().collect();
        let left_shift = rescale::shift_that_fits(
            &[factor],
            products.iter().map(|product| product.abs()).max().unwrap_or(0),
        )?;
        let solved = rescale::solve(factor, Reach::Set(&products), left_shift, codes);
        let (multiplier, shift) = solved.scale.to_stored();
        let record = Mul {
            dims: sides.geometry.dims()?,
            a_strides: sides.geometry.strides(0)?,
            b_strides: sides.geometry.strides(1)?,
            multiplier,
            a_zero_point: movement::fitting(a.params.zero_point)?,
            b_zero_point: movement::fitting(b.params.zero_point)?,
            ofm_zero_point: movement::fitting(to.zero_point)?,
            min: codes.min,
            max: codes.max,
            shift,
            left_shift,
            ..Mul::default()
        };
        let mut proof = Proof::default();
        proof.record(0, factor.to_f64(), solved.fit, solved.scale.rounding);
        Ok(Lowered::one(sides.call(Layer::Mul(record), y), proof))
    }
}
