//! How a tensor's values are distributed, and the ranges that follow.

use crate::op::quant::Range;

/// Bins of a histogram: eight to a step of int8.
const BINS: usize = 2048;
/// Candidate ends between zero and an extreme.
const CANDIDATES: usize = 100;

/// Counts of values in bins of equal width.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    range: Range,
    counts: Vec<u64>,
}

impl Histogram {
    /// An empty one over the extremes of a tensor.
    pub(super) fn new(range: Range) -> Self {
        Self {
            range,
            counts: vec![0; BINS],
        }
    }

    fn width(&self) -> f64 {
        (f64::from(self.range.max) - f64::from(self.range.min)) / BINS as f64
    }

    /// Counts values between the extremes.
    pub(super) fn count(&mut self, values: &[f32]) {
        let min = f64::from(self.range.min);
        let per_unit = if self.width() > 0.0 {
            1.0 / self.width()
        } else {
            0.0
        };
        for &value in values {
            // The cast saturates at zero; the greatest value belongs to the last bin.
            let bin = ((f64::from(value) - min) * per_unit) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// Adds the counts of another one over the same extremes.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
    }

    /// The middle of the distribution that holds `percent` of the values, to whole bins.
    pub(super) fn percentile(&self, percent: f64) -> Range {
        let total: u64 = self.counts.iter().sum();
        // As many values may fall off at each end.
        let tail = (total as f64 * (100.0 - percent) / 200.0) as u64;
        let low = first_beyond(self.counts.iter(), tail);
        let high = BINS - first_beyond(self.counts.iter().rev(), tail);
        Range {
            min: self.edge(low),
            max: self.edge(high),
        }
    }

    /// The range whose 255 steps have the least squared error over the values, each taken at the middle of its bin.
    ///
    /// Both ends move toward zero together first, then each on its own.
    pub(super) fn least_squared_error(&self) -> Range {
        let whole = Range {
            min: self.range.min.min(0.0),
            max: self.range.max.max(0.0),
        };
        let steps = || (1..=CANDIDATES).rev().map(|step| step as f32 / CANDIDATES as f32);
        let both = steps().map(|part| Range {
            min: whole.min * part,
            max: whole.max * part,
        });
        let best = self.best(both);
        let best = self.best(steps().map(|part| Range {
            max: whole.max * part,
            ..best
        }));
        self.best(steps().map(|part| Range {
            min: whole.min * part,
            ..best
        }))
    }

    /// The range whose 255 steps keep most of the distribution: the least Kullback-Leibler divergence of what is left
    /// of it from what it was, after Migacz, "8-bit inference with TensorRT" (2017), over both ends.
    pub(super) fn least_divergence(&self) -> Range {
        let parts = || (CANDIDATES / 5..=CANDIDATES).rev();
        let part = |end: f32, part: usize| end * (part as f32 / CANDIDATES as f32);
        let both = parts().map(|i| Range {
            min: part(self.range.min, i),
            max: part(self.range.max, i),
        });
        let best = self.least(both, |range| self.divergence(range));
        let upper = parts().map(|i| Range {
            max: part(self.range.max, i),
            ..best
        });
        let best = self.least(upper, |range| self.divergence(range));
        let lower = parts().map(|i| Range {
            min: part(self.range.min, i),
            ..best
        });
        self.least(lower, |range| self.divergence(range))
    }

    /// How far the distribution is from what 255 steps over a range leave of it: inside, the values of a step share its
    /// bins alike; outside, they fall on the ends.
    fn divergence(&self, range: Range) -> f64 {
        let width = self.width();
        let bin_of = |x: f32| {
            let bin = (f64::from(x) - f64::from(self.range.min)) / width;
            (bin.max(0.0) as usize).min(BINS - 1)
        };
        let (first, last) = (bin_of(range.min), bin_of(range.max));
        let last = last.max(first);
        let kept = &self.counts[first..=last];
        let outside: u64 = self.counts.iter().sum::<u64>() - kept.iter().sum::<u64>();
        let total = (kept.iter().sum::<u64>() + outside) as f64;
        if total == 0.0 {
            return 0.0;
        }
        let below: u64 = self.counts[..first].iter().sum();
        let mut sum = 0.0;
        for step in 0..255 {
            let bins = step * kept.len() / 255..(step + 1) * kept.len() / 255;
            let filled = kept[bins.clone()].iter().filter(|&&count| count > 0).count();
            let share = kept[bins.clone()].iter().sum::<u64>() as f64 / filled.max(1) as f64;
            for bin in bins {
                let mut count = kept[bin] as f64;
                if bin == 0 {
                    count += below as f64;
                }
                if bin + 1 == kept.len() {
                    count += (outside - below) as f64;
                }
                // Where nothing is left of something, as much as one value is.
                let left = if kept[bin] > 0 { share } else { 1.0 };
                if count > 0.0 {
                    sum += count / total * libm::log(count / left);
                }
            }
        }
        sum
    }

    /// The first of the candidates with the least squared error.
    fn best(&self, candidates: impl Iterator<Item = Range>) -> Range {
        self.least(candidates, |range| self.squared_error(range))
    }

    /// The first of the candidates with the least of something.
    fn least(&self, candidates: impl Iterator<Item = Range>, of: impl Fn(Range) -> f64) -> Range {
        let mut best = (f64::INFINITY, self.range);
        for candidate in candidates {
            let error = of(candidate);
            if error < best.0 {
                best = (error, candidate);
            }
        }
        best.1
    }

    /// The sum of squared errors of 255 steps over a range that holds zero.
    fn squared_error(&self, range: Range) -> f64 {
        let (min, max) = (f64::from(range.min), f64::from(range.max));
        let step = (max - min) / 255.0;
        if step <= 0.0 {
            return f64::INFINITY;
        }
        let zero = libm::rint(-min / step);
        let width = self.width();
        let first = f64::from(self.range.min) + width / 2.0;
        let mut sum = 0.0;
        for (bin, &count) in self.counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
            let value = first + width * bin as f64;
            let quantized = libm::rint(value / step).clamp(-zero, 255.0 - zero) * step;
            sum += count as f64 * (value - quantized) * (value - quantized);
        }
        sum
    }

    /// The lower edge of a bin, or the upper one of the last.
    fn edge(&self, bin: usize) -> f32 {
        if bin == BINS {
            self.range.max
        } else {
            (f64::from(self.range.min) + self.width() * bin as f64) as f32
        }
    }
}

/// The first bin at which more than `tail` values have passed.
fn first_beyond<'c>(mut counts: impl Iterator<Item = &'c u64>, tail: u64) -> usize {
    let mut passed = 0;
    let bin = counts.position(|count| {
        passed += count;
        passed > tail
    });
    bin.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::new(Range {
            min: -1.0,
            max: 100.0,
        });
        histogram.count(values);
        histogram
    }

    #[test]
    fn an_outlier_is_cut_off() {
        let mut values: Vec<f32> = (0..10_000).map(|i| i as f32 / 10_000.0).collect();
        values.push(100.0);
        values.push(-1.0);
        let histogram = spread(&values);
        let percentile = histogram.percentile(99.9);
        assert!(percentile.max < 1.1 && percentile.min >= -0.1, "{percentile:?}");
        let least = histogram.least_squared_error();
        assert!(least.max < 100.0, "{least:?}");
    }

    #[test]
    fn all_of_it_is_kept_at_100_percent() {
        let histogram = spread(&[-1.0, 0.5, 100.0]);
        assert_eq!(histogram.percentile(100.0), histogram.range);
    }

    #[test]
    fn a_constant_tensor_has_its_value_as_range() {
        let mut histogram = Histogram::new(Range { min: 2.0, max: 2.0 });
        histogram.count(&[2.0; 10]);
        assert_eq!(histogram.percentile(99.0), histogram.range);
        assert_eq!(histogram.least_squared_error().max, 2.0);
    }
}
