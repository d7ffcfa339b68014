//! The area under the ROC curve, exact with ties, and its interval by DeLong's structural components.

use super::interval::{Estimate, variance};

/// The AUC of two scorings of the same things, and how much the second lost.
pub(super) struct Pair {
    /// Of the first scoring.
    pub(super) before: Estimate,
    /// Of the second.
    pub(super) after: Estimate,
    /// First less second.
    pub(super) drop: Estimate,
}

/// Compares two scorings; both classes must be there.
pub(super) fn compare(before: &[f64], after: &[f64], positive: &[bool]) -> Pair {
    let before = Components::new(before, positive);
    let after = Components::new(after, positive);
    let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x - y).collect();
    let drop = Components {
        area: before.area - after.area,
        positives: difference(&before.positives, &after.positives),
        negatives: difference(&before.negatives, &after.negatives),
    };
    Pair {
        before: before.estimate().within(0.0, 1.0),
        after: after.estimate().within(0.0, 1.0),
        drop: drop.estimate().within(-1.0, 1.0),
    }
}

/// An area and what each thing contributes to it: for a positive, the share of negatives that score lower (a tie
/// counts half); for a negative, the share of positives that score higher.
struct Components {
    area: f64,
    positives: Vec<f64>,
    negatives: Vec<f64>,
}

impl Components {
    fn new(scores: &[f64], positive: &[bool]) -> Self {
        let of = |class: bool| -> Vec<f64> {
            let wanted = scores.iter().zip(positive).filter(|&(_, &is)| is == class);
            wanted.map(|(&score, _)| score).collect()
        };
        let (high, low) = (of(true), of(false));
        let (mut high_sorted, mut low_sorted) = (high.clone(), low.clone());
        high_sorted.sort_by(f64::total_cmp);
        low_sorted.sort_by(f64::total_cmp);
        // Counted in halves, so that the area is one exact division.
        let halves_below = |sorted: &[f64], score: f64| {
            let less = sorted.partition_point(|&other| other < score);
            let not_more = sorted.partition_point(|&other| other <= score);
            (less + not_more) as u64
        };
        let wins: Vec<u64> = high
            .iter()
            .map(|&score| halves_below(&low_sorted, score))
            .collect();
        let losses = low
            .iter()
            .map(|&score| 2 * high.len() as u64 - halves_below(&high_sorted, score));
        Self {
            area: wins.iter().sum::<u64>() as f64 / (2.0 * high.len() as f64 * low.len() as f64),
            positives: wins
                .iter()
                .map(|&halves| halves as f64 / (2.0 * low.len() as f64))
                .collect(),
            negatives: losses
                .map(|halves| halves as f64 / (2.0 * high.len() as f64))
                .collect(),
        }
    }

    fn estimate(&self) -> Estimate {
        let share = |values: &[f64]| {
            let n = values.len() as f64;
            variance(values.iter().copied(), values.iter().sum::<f64>() / n) / n
        };
        Estimate::normal(self.area, share(&self.positives) + share(&self.negatives))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_count_half() {
        let scores = [1.0, 2.0, 2.0, 3.0];
        let pair = compare(&scores, &scores, &[false, false, true, true]);
        // Of four pairs, three are won and one is tied.
        assert_eq!(pair.before.value, 3.5 / 4.0);
        assert_eq!(pair.drop, Estimate::exact(0.0));
    }

    #[test]
    fn delong_meets_the_definition() {
        let scores = [0.1, 0.4, 0.35, 0.8, 0.7];
        let positive = [false, false, true, true, true];
        let pair = compare(&scores, &scores, &positive);
        let v10 = [0.5, 1.0, 1.0];
        let v01 = [1.0, 2.0 / 3.0];
        let wanted = variance(v10.into_iter(), 2.5 / 3.0) / 3.0 + variance(v01.into_iter(), 2.5 / 3.0) / 2.0;
        assert!((pair.after.value - 2.5 / 3.0).abs() < 1e-12);
        let margin = pair.after.value - pair.after.low;
        assert!((margin - 1.959_963_984_540_054 * wanted.sqrt()).abs() < 1e-12);
    }
}
