//! TfIdfVectorizer of integers: <https://onnx.ai/onnx/operators/onnx__TfIdfVectorizer.html>.

use serde::{Deserialize, Serialize};

use super::quant::QuantTensor;
use super::tensor::{DType, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// A sequence of integers to look for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gram {
    /// The integers.
    pub items: Vec<i64>,
    /// The place of its count in the output.
    pub output: usize,
    /// The factor of its count.
    pub weight: f32,
}

/// How often sequences occur in each row: `f32[…, outputs]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TfIdf {
    /// The sequences.
    pub grams: Vec<Gram>,
    /// Extent of the output.
    pub outputs: usize,
    /// The most items that are skipped from one item of a sequence to the next.
    pub most_skipped: usize,
    /// Whether a sequence that occurs counts once, however often it does.
    pub once: bool,
}

impl Operator for TfIdf {
    const ONNX: &'static [&'static str] = &["TfIdfVectorizer"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        let x = inputs[0];
        if !matches!(x.dtype, DType::I32 | DType::I64) || !(1..=2).contains(&x.shape.len()) {
            return Err(OpError::new(format!(
                "one or two axes of i32 or i64 wanted, {x} found"
            )));
        }
        let mut shape = x.shape.clone();
        shape.pop();
        shape.push(self.outputs);
        Ok(vec![TensorType::new(DType::F32, shape)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let items = inputs[0].to_i64().expect("the type check asked for integers");
        let length = inputs[0].shape.last().copied().unwrap_or(0);
        let mut counts = vec![0.0; ty.len()];
        for (row, counts) in counts.chunks_mut(self.outputs.max(1)).enumerate() {
            let row = &items[row * length..(row + 1) * length];
            for gram in &self.grams {
                let count = self.occurrences(gram, row);
                let count = if self.once { count.min(1) } else { count };
                if let Some(slot) = counts.get_mut(gram.output) {
                    *slot += count as f32 * gram.weight;
                }
            }
        }
        Ok(vec![Values::f32(ty.shape, counts)])
    }

    fn lower(
        &self,
        _target: &Target,
        _inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        Err(OpError::new("counting sequences of integers has no kernel")
            .with_help("count them on the host and give the model the counts")
            .into())
    }

    fn macs(&self, inputs: &[&TensorType]) -> u64 {
        let elements = inputs.first().map_or(0, |x| x.len() as u64);
        elements
            .saturating_mul(self.grams.len() as u64)
            .saturating_mul(self.most_skipped as u64 + 1)
    }
}

impl TfIdf {
    /// How often a sequence occurs in a row, at every distance between its items.
    fn occurrences(&self, gram: &Gram, row: &[i64]) -> usize {
        let steps = match gram.items.len() {
            0 => return 0,
            1 => 1..=1, // there is nothing between the items
            _ => 1..=self.most_skipped.min(row.len()) + 1,
        };
        let starts_at = |start: usize, step: usize| {
            let mut items = gram.items.iter().enumerate();
            items.all(|(i, item)| row.get(start + i * step) == Some(item))
        };
        let at_step = |step: usize| (0..row.len()).filter(|&start| starts_at(start, step)).count();
        steps.map(at_step).sum()
    }
}
