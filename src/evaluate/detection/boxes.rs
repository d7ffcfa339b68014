//! Boxes: how much two have in common, and which of many that overlap are kept.

use std::collections::BTreeMap;

/// A box that a model found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Detection {
    /// Which kind of thing, as the place of its category among all.
    pub(super) category: usize,
    /// How sure the model is.
    pub(super) score: f64,
    /// Left, top, width and height in pixels of the image.
    pub(super) bbox: [f64; 4],
}

/// Intersection over union of two boxes. Of a crowd, which is as large as it likes, only what the box covers counts.
pub(super) fn overlap(found: &[f64; 4], labelled: &[f64; 4], is_crowd: bool) -> f64 {
    let shared = |axis: usize| {
        let end = (found[axis] + found[axis + 2]).min(labelled[axis] + labelled[axis + 2]);
        end - found[axis].max(labelled[axis])
    };
    let (width, height) = (shared(0), shared(1));
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let shared = width * height;
    let area = |bbox: &[f64; 4]| bbox[2] * bbox[3];
    let union = if is_crowd {
        area(found)
    } else {
        area(found) + area(labelled) - shared
    };
    shared / union
}

/// Of boxes by falling score, the first `enough` of each category that overlap no kept one of it by more than
/// `most_overlap`, where that is given.
pub(super) fn surest(
    mut detections: Vec<Detection>,
    most_overlap: Option<f64>,
    enough: usize,
) -> Vec<Detection> {
    let mut kept: BTreeMap<usize, Vec<[f64; 4]>> = BTreeMap::new();
    detections.retain(|detection| {
        let kept = kept.entry(detection.category).or_default();
        let doubles = |most: f64| {
            kept.iter()
                .any(|other| overlap(&detection.bbox, other, false) > most)
        };
        let is_kept = kept.len() < enough && !most_overlap.is_some_and(doubles);
        if is_kept {
            kept.push(detection.bbox);
        }
        is_kept
    });
    detections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_intersection_over_union() {
        let (a, b) = ([0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(overlap(&a, &b, false), 1.0 / 7.0);
        assert_eq!(overlap(&a, &b, true), 1.0 / 4.0);
        assert_eq!(overlap(&a, &[2.0, 0.0, 1.0, 1.0], false), 0.0);
        assert_eq!(overlap(&[0.0; 4], &[0.0; 4], false), 0.0);
    }

    #[test]
    fn the_surest_of_overlapping_boxes_is_kept() {
        let found = |category, score, left: f64| Detection {
            category,
            score,
            bbox: [left, 0.0, 10.0, 10.0],
        };
        let all = vec![
            found(0, 0.9, 0.0),
            found(0, 0.8, 1.0),
            found(1, 0.7, 1.0),
            found(0, 0.6, 8.0),
        ];
        assert_eq!(surest(all.clone(), Some(0.5), 9), [all[0], all[2], all[3]]);
        assert_eq!(surest(all.clone(), Some(0.5), 1), [all[0], all[2]]);
        assert_eq!(surest(all.clone(), None, 2), [all[0], all[1], all[2]]);
    }
}
