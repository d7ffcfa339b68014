//! How far a next sample may be expected to reach, from how far those before it did.

/// Standard deviations beyond the mean: of a normal distribution, one in 740 lies further on one side.
const REACH: f64 = 3.0;

/// One end of the samples' ranges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    least: f32,
    greatest: f32,
    count: f64,
    sum: f64,
    squares: f64,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            least: f32::INFINITY,
            greatest: f32::NEG_INFINITY,
            count: 0.0,
            sum: 0.0,
            squares: 0.0,
        }
    }
}

impl Spread {
    /// Adds the end of a sample.
    pub(super) fn add(&mut self, end: f32) {
        self.merge(&Self {
            least: end,
            greatest: end,
            count: 1.0,
            sum: end.into(),
            squares: f64::from(end) * f64::from(end),
        });
    }

    /// Adds the ends of other samples.
    pub(super) fn merge(&mut self, other: &Self) {
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// The least of a next one: no more than was seen.
    pub(super) fn least(&self) -> f32 {
        self.least.min(self.beyond(-REACH))
    }

    /// The greatest of a next one: no less than was seen.
    pub(super) fn greatest(&self) -> f32 {
        self.greatest.max(self.beyond(REACH))
    }

    /// The mean and so many standard deviations; the mean alone of one sample.
    fn beyond(&self, deviations: f64) -> f32 {
        let mean = self.sum / self.count.max(1.0);
        let variance = (self.squares - self.sum * mean) / (self.count - 1.0).max(1.0);
        (mean + deviations * variance.max(0.0).sqrt()) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_reaches_further_than_was_seen() {
        let mut spread = Spread::default();
        spread.add(4.0);
        assert_eq!((spread.least(), spread.greatest()), (4.0, 4.0));
        [6.0, 5.0].into_iter().for_each(|end| spread.add(end));
        assert_eq!((spread.least(), spread.greatest()), (2.0, 8.0));
    }

    #[test]
    fn what_was_seen_is_always_within() {
        let mut spread = Spread::default();
        for end in [0.0; 99].into_iter().chain([100.0]) {
            spread.add(end);
        }
        assert_eq!(spread.greatest(), 100.0);
    }
}
