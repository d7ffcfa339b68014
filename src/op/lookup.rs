//! LabelEncoder of numbers: <https://onnx.ai/onnx/operators/onnx_aionnxml_LabelEncoder.html>.

use serde::{Deserialize, Serialize};

use super::quant::QuantTensor;
use super::tensor::{DType, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// For every element, the value of the key that it equals, or the one behind all others. Inputs: `x`, `keys[n]` of its
/// element type, `values[n + 1]`. NaN is a key like others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookup {}

impl Operator for Lookup {
    const ONNX: &'static [&'static str] = &["ai.onnx.ml.LabelEncoder"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 3..=3)?;
        let (x, keys, values) = (inputs[0], inputs[1], inputs[2]);
        expect::dtype("keys", keys, x.dtype)?;
        if matches!(x.dtype, DType::Narrow(_)) {
            return Err(OpError::new(format!("numbers wanted, {x} found")));
        }
        expect::rank("keys", keys, 1)?;
        expect::shape("values", values, &[keys.shape[0].saturating_add(1)])?;
        Ok(vec![TensorType::new(values.dtype, x.shape.clone())])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let (x, keys, values) = (inputs[0], inputs[1], inputs[2]);
        let picks = match (x.to_i64(), keys.to_i64()) {
            (Some(x), Some(keys)) => picks(&x, &keys, |a, b| a == b),
            _ => picks(&x.to_f64(), &keys.to_f64(), |a, b| {
                a == b || a.is_nan() && b.is_nan()
            }),
        };
        Ok(vec![Values::new(ty.shape, values.data.gather(picks.into_iter()))])
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new("looking labels up has no kernel")
            .with_help("do it on the host")
            .into())
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        let lens = inputs.iter().take(2).map(|ty| ty.len() as u64);
        lens.fold(1, u64::saturating_mul)
    }
}

/// The first key that every element equals, or the number of keys.
fn picks<T: Copy>(x: &[T], keys: &[T], equal: impl Fn(T, T) -> bool) -> Vec<usize> {
    let pick = |x: T| keys.iter().position(|&key| equal(key, x));
    x.iter().map(|&x| pick(x).unwrap_or(keys.len())).collect()
}
