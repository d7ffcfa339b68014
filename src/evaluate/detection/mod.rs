//! Mean average precision of boxes, against labelled ones.

mod boxes;
mod decode;
mod precision;
mod settings;

use std::collections::BTreeMap;

use super::bootstrap;
use super::judge::{Both, Judge, Seen, Slots};
use super::{EvaluateError, Metric, MetricKind};
use crate::data::coco::{Coco, TrueBox};
use crate::ir::FloatGraph;
use boxes::Detection;
use decode::Decoder;
use precision::Category;
pub use settings::{BoxesError, Settings};

/// The mean over categories, and over overlaps from which on a box counts as found, of the average precision.
pub(super) struct MeanPrecision<'o> {
    kind: MetricKind,
    truth: &'o Coco,
    decoder: Decoder,
    thresholds: Vec<f64>,
    /// Per sample, its image's place in the truth.
    images: Vec<usize>,
    seen: Slots<Both<Vec<Detection>>>,
}

impl<'o> MeanPrecision<'o> {
    /// At an overlap of 0.5 for [`MetricKind::Map50`], else over 0.5 to 0.95.
    ///
    /// # Errors
    /// Where samples and images do not match, or the model's outputs are not read as boxes by the settings.
    pub(super) fn new(
        kind: MetricKind,
        truth: &'o Coco,
        settings: Option<&Settings>,
        float: &FloatGraph,
        samples: usize,
    ) -> Result<Self, EvaluateError> {
        let thresholds = precision::thresholds();
        let count = if kind == MetricKind::Map50 {
            1
        } else {
            thresholds.len()
        };
        Ok(Self {
            kind,
            truth,
            decoder: Decoder::new(settings, truth, float)?,
            thresholds: thresholds[..count].to_vec(),
            images: settings::images(settings, truth, samples)?,
            seen: Slots::new(samples),
        })
    }

    /// All categories with what one of the models found.
    fn categories(&self, of: fn(&Both<Vec<Detection>>) -> &Vec<Detection>) -> Vec<Category> {
        let places: BTreeMap<u64, usize> = self
            .truth
            .categories
            .iter()
            .enumerate()
            .map(|(place, category)| (category.id, place))
            .collect();
        let mut labelled: BTreeMap<(u64, usize), Vec<&TrueBox>> = BTreeMap::new();
        for label in &self.truth.boxes {
            let category = places[&label.category_id];
            labelled
                .entry((label.image_id, category))
                .or_default()
                .push(label);
        }
        let mut categories: Vec<Category> = places.values().map(|_| Category::default()).collect();
        // Images by their ids, which decides between boxes of equal score.
        let mut samples: Vec<(u64, usize, &Vec<Detection>)> = self
            .seen
            .iter()
            .enumerate()
            .map(|(sample, both)| (self.truth.images[self.images[sample]].id, sample, of(both)))
            .collect();
        samples.sort_by_key(|&(image, ..)| image);
        for (image, sample, found) in samples {
            for (place, category) in categories.iter_mut().enumerate() {
                let found: Vec<Detection> = found
                    .iter()
                    .filter(|found| found.category == place)
                    .copied()
                    .collect();
                let labelled = labelled.get(&(image, place)).map_or(&[][..], Vec::as_slice);
                if !(found.is_empty() && labelled.is_empty()) {
                    category.add(sample, &found, labelled, &self.thresholds);
                }
            }
        }
        categories.iter_mut().for_each(Category::finish);
        categories
    }

    /// The mean over all categories of which something is labelled, each sample counted as often as told.
    fn mean(&self, categories: &[Category], counts: &[u32]) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0_usize);
        for category in categories {
            for t in 0..self.thresholds.len() {
                if let Some(precision) = category.average_precision(t, counts) {
                    sum += precision;
                    count += 1;
                }
            }
        }
        (count > 0).then(|| sum / count as f64)
    }
}

impl Judge for MeanPrecision<'_> {
    fn see(&self, seen: &Seen<'_>) -> Result<(), EvaluateError> {
        let image = &self.truth.images[self.images[seen.sample]];
        let found = seen.outputs.map(|outputs| self.decoder.decode(outputs, image));
        self.seen.put(seen.sample, found);
        Ok(())
    }

    fn figures(&self) -> Result<Metric, EvaluateError> {
        let found = Both {
            float: self.categories(|both| &both.float),
            quantized: self.categories(|both| &both.quantized),
        };
        let figure = |counts: &[u32]| {
            Some(Both {
                float: self.mean(&found.float, counts)?,
                quantized: self.mean(&found.quantized, counts)?,
            })
        };
        let found = bootstrap::paired(self.seen.len(), figure).ok_or(EvaluateError::NoBoxes)?;
        Ok(Metric {
            kind: self.kind,
            float: found.float,
            quantized: found.quantized,
            drop: found.drop,
            samples: self.seen.len(),
            change: None,
        })
    }
}
