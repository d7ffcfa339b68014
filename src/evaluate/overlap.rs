//! Mean intersection over union: how well maps of classes lie over the labelled ones.

use super::bootstrap;
use super::hits::largest;
use super::judge::{Both, Judge, Seen, Slots};
use super::{EvaluateError, Metric, MetricKind};
use crate::data::npy::Array;
use crate::op::tensor::{DType, TensorType, Values};

/// Positions with this label, and with a negative one, are not judged.
const IGNORED: i64 = 255;

/// The most classes that a map may name.
const MOST_CLASSES: usize = 1 << 16;

/// The mean over classes of intersection over union, both counted over all samples; classes that nowhere occur, in
/// label or output, do not count.
pub(super) struct MeanOverlap<'o> {
    labels: &'o Array,
    /// Positions of a map.
    positions: usize,
    reading: Reading,
    seen: Slots<Both<Vec<Overlap>>>,
}

/// How the first output is read as a map of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// It is one: whole numbers.
    Classes,
    /// One score per position: class 1 where it is at least 0.5, else class 0.
    Threshold,
    /// A score per class at each position: class `c` of position `p` at `c·class + p·position`.
    Largest {
        classes: usize,
        class: usize,
        position: usize,
    },
}

/// What a sample gives for a class, in positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Overlap {
    /// Both labelled and named so.
    intersection: u64,
    /// One or the other.
    union: u64,
}

impl<'o> MeanOverlap<'o> {
    /// For labels with a map per sample, and a first output of `output`.
    ///
    /// # Errors
    /// Where the output is no map of the labels' size.
    pub(super) fn new(labels: &'o Array, output: &TensorType, samples: usize) -> Result<Self, EvaluateError> {
        let reading = match labels.shape.split_first() {
            Some((&n, map)) if n == samples => reading(output, map),
            _ => None,
        };
        let Some(reading) = reading else {
            return Err(EvaluateError::MapShape {
                found: labels.shape.clone(),
                samples,
                output: output.clone(),
            });
        };
        Ok(Self {
            labels,
            positions: labels.len() / samples,
            reading,
            seen: Slots::new(samples),
        })
    }

    fn overlaps(
        &self,
        sample: usize,
        labels: &[i64],
        output: &Values,
    ) -> Result<Vec<Overlap>, EvaluateError> {
        let named = name_classes(self.reading, &output.to_f64(), self.positions);
        let classes = match self.reading {
            Reading::Classes => MOST_CLASSES,
            Reading::Threshold => 2,
            Reading::Largest { classes, .. } => classes,
        };
        let mut overlaps = Vec::new();
        let mut of = |class: i64| -> Result<usize, EvaluateError> {
            let index = usize::try_from(class).ok().filter(|&index| index < classes);
            let index = index.ok_or(EvaluateError::NoSuchClass {
                sample,
                class,
                classes,
            })?;
            if overlaps.len() <= index {
                overlaps.resize(index + 1, Overlap::default());
            }
            Ok(index)
        };
        let mut met = Vec::with_capacity(self.positions);
        for (&label, named) in labels.iter().zip(named) {
            if label >= 0 && label != IGNORED {
                met.push((of(label)?, of(named)?));
            }
        }
        for (label, named) in met {
            overlaps[label].union += 1;
            if label == named {
                overlaps[label].intersection += 1;
            } else {
                overlaps[named].union += 1;
            }
        }
        Ok(overlaps)
    }
}

/// How an output lies over maps of a shape; extents of 1 do not count.
fn reading(output: &TensorType, map: &[usize]) -> Option<Reading> {
    let thin =
        |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|&extent| extent != 1).collect() };
    let (output_shape, map) = (thin(&output.shape), thin(map));
    let positions = map.iter().product();
    if output_shape == map {
        let is_map = !output.dtype.is_float() && output.dtype != DType::Bool;
        return Some(if is_map {
            Reading::Classes
        } else {
            Reading::Threshold
        });
    }
    match output_shape.as_slice() {
        [classes, rest @ ..] if rest == map => Some(Reading::Largest {
            classes: *classes,
            class: positions,
            position: 1,
        }),
        [rest @ .., classes] if rest == map => Some(Reading::Largest {
            classes: *classes,
            class: 1,
            position: *classes,
        }),
        _ => None,
    }
}

/// The class at each position.
fn name_classes(reading: Reading, output: &[f64], positions: usize) -> Vec<i64> {
    match reading {
        Reading::Classes => output.iter().map(|&class| class as i64).collect(),
        Reading::Threshold => output.iter().map(|&score| i64::from(score >= 0.5)).collect(),
        Reading::Largest {
            classes,
            class,
            position,
        } => {
            let mut scores = vec![0.0; classes];
            let at = |p: usize| {
                for (c, score) in scores.iter_mut().enumerate() {
                    *score = output[c * class + p * position];
                }
                largest(&scores) as i64
            };
            (0..positions).map(at).collect()
        }
    }
}

impl Judge for MeanOverlap<'_> {
    fn see(&self, seen: &Seen<'_>) -> Result<(), EvaluateError> {
        let labels = self
            .labels
            .integers(seen.sample * self.positions, self.positions)?;
        let overlaps = seen
            .outputs
            .try_map(|outputs| self.overlaps(seen.sample, &labels, &outputs[0]))?;
        self.seen.put(seen.sample, overlaps);
        Ok(())
    }

    fn figures(&self) -> Result<Metric, EvaluateError> {
        let figure = |counts: &[u32]| {
            Some(Both {
                float: mean_overlap(self.seen.iter().map(|both| &both.float), counts)?,
                quantized: mean_overlap(self.seen.iter().map(|both| &both.quantized), counts)?,
            })
        };
        let found = bootstrap::paired(self.seen.len(), figure).ok_or(EvaluateError::NothingLabelled)?;
        Ok(Metric {
            kind: MetricKind::Miou,
            float: found.float,
            quantized: found.quantized,
            drop: found.drop,
            samples: self.seen.len(),
            change: None,
        })
    }
}

/// The mean over classes, each sample counted as often as told; `None` where no class occurs.
fn mean_overlap<'s>(samples: impl Iterator<Item = &'s Vec<Overlap>>, counts: &[u32]) -> Option<f64> {
    let mut sums: Vec<Overlap> = Vec::new();
    for (overlaps, &count) in samples.zip(counts) {
        if sums.len() < overlaps.len() {
            sums.resize(overlaps.len(), Overlap::default());
        }
        for (sum, overlap) in sums.iter_mut().zip(overlaps) {
            sum.intersection += u64::from(count) * overlap.intersection;
            sum.union += u64::from(count) * overlap.union;
        }
    }
    let met = sums.iter().filter(|sum| sum.union > 0);
    let shares = met.map(|sum| sum.intersection as f64 / sum.union as f64);
    let classes = shares.clone().count();
    (classes > 0).then(|| shares.sum::<f64>() / classes as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(shape: &[usize]) -> TensorType {
        TensorType::new(DType::F32, shape)
    }

    #[test]
    fn outputs_are_read_by_their_shape() {
        let largest = |classes, class, position| {
            Some(Reading::Largest {
                classes,
                class,
                position,
            })
        };
        assert_eq!(reading(&output(&[1, 3, 4, 5]), &[4, 5]), largest(3, 20, 1));
        assert_eq!(reading(&output(&[1, 4, 5, 3]), &[1, 4, 5]), largest(3, 1, 3));
        assert_eq!(reading(&output(&[1, 1, 4, 5]), &[4, 5]), Some(Reading::Threshold));
        assert_eq!(reading(&output(&[1, 3, 4, 5]), &[5, 4]), None);
        let map = TensorType::new(DType::I64, [1, 4, 5]);
        assert_eq!(reading(&map, &[4, 5]), Some(Reading::Classes));
    }

    #[test]
    fn both_layouts_name_the_same_classes() {
        let planar = Reading::Largest {
            classes: 2,
            class: 3,
            position: 1,
        };
        let interleaved = Reading::Largest {
            classes: 2,
            class: 1,
            position: 2,
        };
        assert_eq!(
            name_classes(planar, &[1.0, 2.0, 3.0, 2.0, 2.0, 2.0], 3),
            [1, 0, 0]
        );
        assert_eq!(
            name_classes(interleaved, &[1.0, 2.0, 2.0, 2.0, 3.0, 2.0], 3),
            [1, 0, 0]
        );
    }

    #[test]
    fn classes_count_alike_over_all_samples() {
        let overlap = |intersection, union| Overlap { intersection, union };
        let samples = [
            vec![overlap(2, 4), overlap(0, 0), overlap(1, 1)],
            vec![overlap(1, 2)],
        ];
        // Class 0: 3 of 6, class 2: 1 of 1; class 1 does not occur.
        assert_eq!(mean_overlap(samples.iter(), &[1, 1]), Some(0.75));
        assert_eq!(mean_overlap(samples.iter(), &[0, 2]), Some(0.5));
        assert_eq!(mean_overlap(samples.iter(), &[0, 0]), None);
    }
}
