//! A product with constant weights: what `Gemm` and `MatMul` become.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::element::Element;
use super::lower::{KernelCall, Operand};
use super::quant::{QuantTensor, Range};
use super::tensor::{DType, Data, TensorType, Values};
use super::{Clamp, Constraint, LowerError, Lowered, OpError, Operator, expect, gemm};
use super::{int4, movement, real, rescale, wide};
use crate::target::Target;
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::lanes::Packing;

/// `y[…, o] = clamp(b[o] + Σ x[…, i]·weights[o, i])`.
///
/// Inputs: `x […, in]`, `weights [out, in]`, optionally `bias [out]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dense {
    /// The activation fused behind it.
    pub clamp: Clamp,
}

impl Operator for Dense {
    const ONNX: &'static [&'static str] = &["Gemm", "MatMul"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=3)?;
        let (x, weights) = (inputs[0], inputs[1]);
        expect::float("x", x)?;
        expect::rank("weights", weights, 2)?;
        expect::dtype("weights", weights, x.dtype)?;
        let Some((&features, leading)) = x.shape.split_last() else {
            return Err(OpError::new(format!("`x` of rank 1 or more wanted, {x} found")));
        };
        let out_features = weights.shape[0];
        expect::shape("weights", weights, &[out_features, features])?;
        if let Some(bias) = inputs.get(2) {
            expect::dtype("bias", bias, x.dtype)?;
            expect::shape("bias", bias, &[out_features])?;
        }
        let shape = [leading, &[out_features]].concat();
        Ok(vec![TensorType::new(x.dtype, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let data = match inputs[0].data.dtype() {
            DType::F64 => Data::F64(self.multiply(inputs, &Self::pack::<f64>(inputs[1]))),
            DType::F16 => Data::F16(self.multiply(inputs, &Self::pack::<f16>(inputs[1]))),
            DType::BF16 => Data::BF16(self.multiply(inputs, &Self::pack::<bf16>(inputs[1]))),
            _ => Data::F32(self.multiply(inputs, &Self::pack::<f32>(inputs[1]))),
        };
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn output_range(&self, observed: Range) -> Range {
        observed.clamped(self.clamp)
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if real::computes(inputs, outputs)? {
            return real::dense(self.clamp, inputs, outputs[0]);
        }
        if wide::computes(inputs, outputs)? {
            return wide::dense(self.clamp, inputs, outputs[0]);
        }
        if int4::is_int4(inputs) {
            return int4::dense(self.clamp, inputs, outputs[0]);
        }
        let layer = rescale::weighted(inputs, outputs[0], self.clamp)?;
        let (in_features, out_features) = (layer.rows[0].len(), layer.rows.len());
        let record = tinsmith_runtime::format::Dense {
            rows: movement::fitting(outputs[0].ty.len() / out_features)?,
            in_features: movement::fitting(in_features)?,
            out_features: movement::fitting(out_features)?,
            ofm_zero_point: movement::fitting(layer.codes.zero_point)?,
            min: layer.codes.min,
            max: layer.codes.max,
            left_shift: layer.left_shift,
            packing: Packing::Plain as u8,
            ..Default::default()
        };
        let mut constants = layer.head;
        constants.extend(
            layer
                .rows
                .iter()
                .flat_map(|row| row.iter().map(|&weight| weight as u8)),
        );
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let call = KernelCall {
            padding_bytes: layer.padding_bytes,
            ..KernelCall::new(Layer::Dense(record), vec![source], constants)
        };
        Ok(Lowered::one(call, layer.proof))
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        let rows: usize = inputs[0].shape.iter().rev().skip(1).product();
        (rows as u64).saturating_mul(inputs[1].len() as u64)
    }
}

impl Dense {
    /// Weights `[out, in]`, packed.
    pub(crate) fn pack<T: Element>(weights: &Values) -> gemm::Packed<T> {
        let elements = T::of(&weights.data).expect("the type check found one float type");
        gemm::Packed::from_columns(elements, weights.shape[0], weights.shape[1])
    }

    /// The layer with its weights packed, which serves many samples: `inputs` are those of [`Operator::eval`] and
    /// were checked.
    pub(crate) fn multiply<T: Element>(&self, inputs: &[&Values], weights: &gemm::Packed<T>) -> Vec<T> {
        let input = |i: usize| T::of(&inputs[i].data).expect("the type check found one float type");
        let (x, columns) = (input(0), weights.columns());
        let rows = inputs[0].shape.iter().rev().skip(1).product();
        let mut y = vec![T::default(); rows * columns];
        let finish = gemm::Finish {
            bias: (inputs.len() > 2).then(|| input(2)),
            clamp: self.clamp,
        };
        gemm::product(x, rows, weights, finish, &mut y, columns);
        y
    }
}
