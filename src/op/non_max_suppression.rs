//! NonMaxSuppression: <https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html>.

use serde::{Deserialize, Serialize};
use tinsmith_runtime::format::NonMaxSuppressionF32;
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::kernels::float::non_max_suppression::overlap;

use super::lower::{KernelCall, Operand};
use super::movement::fitting;
use super::quant::QuantTensor;
use super::tensor::{DType, Data, TensorType, Values};
use super::{Constraint, LowerError, Lowered, OpError, Operator, expect};
use crate::target::Target;

/// The boxes of the greatest scores that overlap none chosen before, class by class.
///
/// Inputs: boxes `f32[batches, boxes, 4]`, scores `f32[batches, classes, boxes]`. The output is packed:
/// `i64[1 + 3 · batches · classes · most]`, how many were chosen, then a batch, a class and a box for each, filled up
/// with 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NonMaxSuppression {
    /// The most boxes of one class of one batch.
    pub most: usize,
    /// Intersection over union above which a box is left out.
    pub iou_threshold: f32,
    /// Only scores above this count, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_threshold: Option<f32>,
    /// Whether boxes are centers and extents `[x, y, width, height]`, not corners `[y, x, y, x]`.
    pub centers: bool,
}

impl Operator for NonMaxSuppression {
    const ONNX: &'static [&'static str] = &["NonMaxSuppression"];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=2)?;
        let (boxes, scores) = (inputs[0], inputs[1]);
        let (&[batches, count, 4], &[score_batches, classes, score_count]) =
            (boxes.shape.as_slice(), scores.shape.as_slice())
        else {
            return Err(OpError::new(format!(
                "boxes [batches, boxes, 4] and scores [batches, classes, boxes] wanted, {boxes} and {scores} found"
            )));
        };
        expect::dtype("boxes", boxes, DType::F32)?;
        expect::dtype("scores", scores, DType::F32)?;
        if [batches, count] != [score_batches, score_count] {
            return Err(OpError::new(format!(
                "a score per class of every box wanted, {boxes} and {scores} found"
            )));
        }
        let extent = [batches, classes, self.most, 3]
            .into_iter()
            .try_fold(1_usize, usize::checked_mul)
            .and_then(|slots| slots.checked_add(1))
            .ok_or_else(|| OpError::new(format!("fewer boxes wanted, {} of each class found", self.most)))?;
        Ok(vec![TensorType::new(DType::I64, [extent])])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let chosen = self.chosen(inputs[0], inputs[1]);
        let mut packed = vec![chosen.len() as i64];
        packed.extend(chosen.into_iter().flatten());
        packed.resize(ty.len(), 0);
        Ok(vec![Values::new(ty.shape, Data::I64(packed))])
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        _outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if !inputs.iter().all(|input| input.is_real()) {
            return Err(OpError::new("boxes are chosen among reals only")
                .with_help("compile with --precision f32")
                .into());
        }
        let scores = &inputs[1].ty.shape;
        let record = NonMaxSuppressionF32 {
            batches: fitting(scores[0])?,
            classes: fitting(scores[1])?,
            count: fitting(scores[2])?,
            most: fitting(self.most)?,
            iou_threshold: self.iou_threshold,
            score_threshold: self.score_threshold.unwrap_or(f32::NEG_INFINITY),
            any_score: self.score_threshold.is_none().into(),
            centers: self.centers.into(),
            ..NonMaxSuppressionF32::default()
        };
        let sources = vec![Operand::of_input(0, inputs[0]), Operand::of_input(1, inputs[1])];
        Ok(Lowered::from(KernelCall::new(
            Layer::NonMaxSuppressionF32(record),
            sources,
            Vec::new(),
        )))
    }
}

impl NonMaxSuppression {
    /// Batch, class and box of each chosen box: by batch, class and falling score, of equal scores the first box first.
    pub(crate) fn chosen(&self, boxes: &Values, scores: &Values) -> Vec<[i64; 3]> {
        let (Some(corners), Some(score)) = (boxes.as_f32(), scores.as_f32()) else {
            return Vec::new(); // the type check asked for f32
        };
        let &[batches, classes, count] = scores.shape.as_slice() else {
            return Vec::new();
        };
        let (all, _) = corners.as_chunks::<4>();
        let mut chosen = Vec::new();
        for row in 0..batches * classes {
            let (batch, class) = (row / classes, row % classes);
            let score = &score[row * count..(row + 1) * count];
            let mut order: Vec<usize> = (0..count)
                .filter(|&i| !score[i].is_nan() && self.score_threshold.is_none_or(|least| score[i] > least))
                .collect();
            order.sort_by(|&a, &b| score[b].partial_cmp(&score[a]).expect("NaN was left out"));
            let mut kept: Vec<usize> = Vec::new();
            for i in order {
                if kept.len() == self.most {
                    break;
                }
                let of = |i: usize| &all[batch * count + i];
                let is_free = |&other: &usize| overlap(of(i), of(other), self.centers) <= self.iou_threshold;
                if kept.iter().all(is_free) {
                    kept.push(i);
                    chosen.push([batch as i64, class as i64, i as i64]);
                }
            }
        }
        chosen
    }
}
