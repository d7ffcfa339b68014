//! How two int8 tensors meet element by element: constants, broadcasting, and the kernels of [`Binary`].

use std::collections::BTreeSet;

use tinsmith_runtime::Rounding;
use tinsmith_runtime::format::{Add, Div, MinMax, Mul, Pair};
use tinsmith_runtime::kernels::Layer;

use super::geometry::Geometry;
use super::lower::{InexactChannel, LowerError, Lowered, Operand, Proof};
use super::quant::{QuantParams, QuantTensor, Quantization};
use super::rescale::{self, Codes, Dyadic, Factor, Reach, Side};
use super::{Binary, BinaryKind, OpError, movement};

/// The exact value of a constant of one element: int8 with parameters, or a real.
pub(super) fn one_value(tensor: &QuantTensor) -> Option<Dyadic> {
    let values = tensor.data.as_deref().filter(|values| values.data.len() == 1)?;
    match &tensor.quantization {
        Quantization::PerTensor(params) => {
            let code = i32::from(*values.as_i8()?.first()?);
            Dyadic::steps(code - params.zero_point, params.scale)
        }
        Quantization::Plain => Dyadic::new(*values.as_f32()?.first()?),
        Quantization::PerChannel { .. } | Quantization::PerBlock { .. } => None,
    }
}

/// The two operands of int8.
pub(super) struct Sides<'a> {
    geometry: Geometry<2>,
    inputs: [&'a QuantTensor; 2],
    operands: [Term; 2],
}

/// One operand.
struct Term {
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
            inputs: [inputs[0], inputs[1]],
        })
    }

    /// What computes `y` from both operands by calls of a record.
    fn calls(&self, layer: Layer, y: &QuantTensor, proof: Proof) -> Lowered {
        Lowered {
            calls: self.geometry.calls(layer, &self.inputs, y),
            proof,
            ..Lowered::default()
        }
    }
}

impl Term {
    fn side(&self) -> Side<'_> {
        Side {
            scale: self.params.scale,
            zero_point: self.params.zero_point,
            codes: &self.codes,
        }
    }
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
        let (table, unsure) =
            rescale::binary_constant(self.kind, from, value, constant_first, to, self.clamp)?;
        let source = Operand::Input {
            index: constant_first.into(),
            byte_offset: 0,
        };
        let call = movement::table_call(source, table, y.ty.len())?;
        let proof = Proof {
            inexact: unsure
                .into_iter()
                .map(|code| InexactChannel {
                    channel: (i32::from(code) + 128) as usize,
                    factor: f64::from(from.scale) / f64::from(to.scale),
                })
                .collect(),
            ..Proof::default()
        };
        Ok(Lowered::one(call, proof))
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
            operands: sides.geometry.pair()?,
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
        };
        let mut proof = Proof::default();
        let factor = f64::from(a.params.scale) / f64::from(to.scale);
        proof.record(0, factor, found.fit, found.rounding);
        Ok(sides.calls(Layer::Add(record), y, proof))
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
            operands: sides.geometry.pair()?,
            multiplier,
            a_zero_point: movement::fitting(a.params.zero_point)?,
            b_zero_point: movement::fitting(b.params.zero_point)?,
            ofm_zero_point: movement::fitting(to.zero_point)?,
            min: codes.min,
            max: codes.max,
            shift,
            left_shift,
        };
        let mut proof = Proof::default();
        proof.record(0, factor.to_f64(), solved.fit, solved.scale.rounding);
        Ok(sides.calls(Layer::Mul(record), y, proof))
    }

    /// Quotients.
    pub(super) fn lower_quotient(&self, sides: &Sides<'_>, y: &QuantTensor) -> Result<Lowered, LowerError> {
        let to = rescale::activation(Some(y), "output")?;
        let codes = Codes::new(to, self.clamp);
        let [a, b] = &sides.operands;
        let found = rescale::quotient(a.side(), b.side(), to.scale, codes).ok_or_else(|| {
            OpError::new(format!(
                "steps of {:e} over steps of {:e} are beyond 2^30 steps of {:e}",
                a.params.scale, b.params.scale, to.scale
            ))
            .with_help("choose a larger output scale: all results saturate")
        })?;
        let record = Div {
            operands: sides.geometry.pair()?,
            multiplier: found.multiplier,
            right_shift: found.right_shift,
            a_zero_point: movement::fitting(a.params.zero_point)?,
            b_zero_point: movement::fitting(b.params.zero_point)?,
            ofm_zero_point: movement::fitting(to.zero_point)?,
            min: codes.min,
            max: codes.max,
        };
        let mut proof = Proof::default();
        let factor = f64::from(a.params.scale) / (f64::from(b.params.scale) * f64::from(to.scale));
        proof.record(0, factor, found.fit, Rounding::Even);
        Ok(sides.calls(Layer::Div(record), y, proof))
    }

    /// The lesser or the greater: both operands brought to the output's codes, which rounding keeps in order.
    pub(super) fn lower_min_max(&self, sides: &Sides<'_>, y: &QuantTensor) -> Result<Lowered, LowerError> {
        let to = rescale::activation(Some(y), "output")?;
        let Pair {
            dims,
            a_strides,
            b_strides,
            ..
        } = sides.geometry.pair()?;
        let record = MinMax {
            dims,
            a_strides,
            b_strides,
            greatest: (self.kind == BinaryKind::Max).into(),
            ..MinMax::default()
        };
        let tables = sides.operands.iter();
        let tables = tables.flat_map(|operand| rescale::requantize(operand.params, to, self.clamp));
        let tables: Vec<u8> = tables.collect();
        let mut lowered = sides.calls(Layer::MinMax(record), y, Proof::default());
        for call in &mut lowered.calls {
            call.constants.clone_from(&tables);
        }
        Ok(lowered)
    }
}
