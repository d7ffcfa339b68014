//! Average precision as COCO defines it: over all areas, at most 100 boxes per image and category, 101 recalls.
//!
//! Boxes found are taken by falling score, over all images, those of equal score in the order of the images. Each takes
//! the labelled box of its image that it overlaps most, if that is enough and no other has taken it; crowds can be
//! taken often, and what takes one counts neither way. Precision at a recall is the best that is had at this recall or
//! a higher one, and 0 where the recall is never had; its mean over the recalls 0, 0.01, … 1 is the average precision.

use super::boxes::{Detection, overlap};
use crate::data::coco::TrueBox;

/// Boxes that count, per image and category.
pub(super) const MOST_BOXES: usize = 100;

/// The overlaps from which on a box is found: 0.5, 0.55, … 0.95, as `numpy.linspace` gives them.
pub(super) fn thresholds() -> [f64; 10] {
    const STEP: f64 = (0.95 - 0.5) / 9.0;
    let mut thresholds = std::array::from_fn(|i| i as f64 * STEP + 0.5);
    thresholds[9] = 0.95;
    thresholds
}

/// The boxes of a category, found and labelled, at some thresholds.
#[derive(Debug, Default)]
pub(super) struct Category {
    /// By falling score, and images in their order.
    found: Vec<Found>,
    /// Images with labelled boxes that are no crowds, and how many.
    labelled: Vec<(usize, u32)>,
}

/// A box found.
#[derive(Clone, Copy, Debug)]
struct Found {
    score: f64,
    /// The sample it is in.
    sample: usize,
    /// Bit `t`: it took a labelled box at threshold `t`.
    hit: u16,
    /// Bit `t`: it counts neither way at threshold `t`.
    ignored: u16,
}

impl Category {
    /// Adds an image: what was found in it, by falling score, and what is labelled in it, both of this category.
    pub(super) fn add(
        &mut self,
        sample: usize,
        found: &[Detection],
        labelled: &[&TrueBox],
        thresholds: &[f64],
    ) {
        let count = labelled.iter().filter(|label| !label.is_crowd).count();
        if count > 0 {
            self.labelled.push((sample, count as u32));
        }
        // Crowds last: they are taken by what has nothing better.
        let mut labelled = labelled.to_vec();
        labelled.sort_by_key(|label| label.is_crowd);
        let found = &found[..found.len().min(MOST_BOXES)];
        let overlaps: Vec<Vec<f64>> = found
            .iter()
            .map(|found| {
                let with = |label: &&TrueBox| overlap(&found.bbox, &label.bbox, label.is_crowd);
                labelled.iter().map(with).collect()
            })
            .collect();
        let start = self.found.len();
        self.found.extend(found.iter().map(|found| Found {
            score: found.score,
            sample,
            hit: 0,
            ignored: 0,
        }));
        for (t, &threshold) in thresholds.iter().enumerate() {
            let mut taken = vec![false; labelled.len()];
            for (found, overlaps) in self.found[start..].iter_mut().zip(&overlaps) {
                let mut most = threshold.min(1.0 - 1e-10);
                let mut best: Option<usize> = None;
                for (i, label) in labelled.iter().enumerate() {
                    if taken[i] && !label.is_crowd {
                        continue;
                    }
                    if label.is_crowd && best.is_some_and(|best| !labelled[best].is_crowd) {
                        break;
                    }
                    if overlaps[i] >= most {
                        most = overlaps[i];
                        best = Some(i);
                    }
                }
                if let Some(best) = best {
                    taken[best] = true;
                    let bit = 1 << t;
                    if labelled[best].is_crowd {
                        found.ignored |= bit;
                    } else {
                        found.hit |= bit;
                    }
                }
            }
        }
    }

    /// Sorts what was found, when all images were added in their order.
    pub(super) fn finish(&mut self) {
        self.found.sort_by(|a, b| b.score.total_cmp(&a.score));
    }

    /// The average precision at threshold `t`, each sample counted as often as told; `None` where nothing is labelled.
    ///
    /// A sample that counts several times has its boxes several times, one behind the other. Precision rises with every
    /// hit and falls with every miss, so the last of equal hits has the best precision of them: it alone is looked at.
    pub(super) fn average_precision(&self, t: usize, counts: &[u32]) -> Option<f64> {
        let labelled = self.labelled.iter();
        let labelled: u64 = labelled
            .map(|&(sample, boxes)| u64::from(counts[sample]) * u64::from(boxes))
            .sum();
        if labelled == 0 {
            return None;
        }
        let bit = 1 << t;
        let (mut hits, mut all) = (0_u64, 0_u64);
        // Recall and precision behind every hit.
        let mut points: Vec<(f64, f64)> = Vec::new();
        for found in &self.found {
            let count = u64::from(counts[found.sample]);
            if count == 0 || found.ignored & bit != 0 {
                continue;
            }
            all += count;
            if found.hit & bit != 0 {
                hits += count;
                points.push((hits as f64 / labelled as f64, hits as f64 / all as f64));
            }
        }
        let mut best = 0.0;
        for (_, precision) in points.iter_mut().rev() {
            best = f64::max(best, *precision);
            *precision = best;
        }
        let mut at = 0;
        let mut sum = 0.0;
        for i in 0..=100 {
            // As `numpy.linspace` has them: in steps of 0.01, and 1 at the end.
            let recall = if i == 100 { 1.0 } else { f64::from(i) * 0.01 };
            while points.get(at).is_some_and(|&(reached, _)| reached < recall) {
                at += 1;
            }
            sum += points.get(at).map_or(0.0, |&(_, precision)| precision);
        }
        Some(sum / 101.0)
    }
}
