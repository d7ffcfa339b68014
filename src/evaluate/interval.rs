//! Estimates with 95 % intervals, in closed form: same data, same interval.

use serde::Serialize;

/// Standard normal quantile of 97.5 %.
const Z: f64 = 1.959_963_984_540_054;

/// A figure measured on samples, with the interval that holds the true one with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The figure on these samples.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// A figure that is so by definition.
    pub const fn exact(value: f64) -> Self {
        Self {
            value,
            low: value,
            high: value,
        }
    }

    /// From a figure and the variance of its estimator, by the normal distribution.
    pub fn normal(value: f64, variance: f64) -> Self {
        let margin = Z * variance.max(0.0).sqrt();
        Self {
            value,
            low: value - margin,
            high: value + margin,
        }
    }

    /// The same with both ends inside `low..=high`, where the figure itself cannot be outside.
    pub fn within(self, low: f64, high: f64) -> Self {
        Self {
            value: self.value,
            low: self.low.clamp(low, high),
            high: self.high.clamp(low, high),
        }
    }

    /// What is missing to one.
    pub fn complement(self) -> Self {
        Self {
            value: 1.0 - self.value,
            low: 1.0 - self.high,
            high: 1.0 - self.low,
        }
    }
}

/// The share of `hits` among `n`: Wilson's score interval.
pub(super) fn proportion(hits: usize, n: usize) -> Estimate {
    let (hits, n) = (hits as f64, n as f64);
    let p = hits / n;
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let centre = p + Z * Z / (2.0 * n);
    let scale = 1.0 + Z * Z / n;
    Estimate {
        value: p,
        low: (centre - spread) / scale,
        high: (centre + spread) / scale,
    }
    .within(0.0, 1.0)
}

/// The difference of two proportions on the same `n` samples, of which `lost` are hits only before and `won` only
/// after: positive where hits were lost. Bonett and Price's adjusted interval, which stays honest where few or none
/// differ.
pub(super) fn paired_drop(lost: usize, won: usize, n: usize) -> Estimate {
    let (lost, won, n) = (lost as f64, won as f64, n as f64);
    let p_lost = (lost + 1.0) / (n + 2.0);
    let p_won = (won + 1.0) / (n + 2.0);
    let centre = p_lost - p_won;
    let variance = (p_lost + p_won - centre * centre) / (n + 2.0);
    Estimate {
        value: (lost - won) / n,
        ..Estimate::normal(centre, variance)
    }
    .within(-1.0, 1.0)
}

/// The mean of values, one per sample.
pub(super) fn mean(values: impl ExactSizeIterator<Item = f64> + Clone) -> Estimate {
    let n = values.len() as f64;
    let mean = values.clone().sum::<f64>() / n;
    Estimate::normal(mean, variance(values, mean) / n)
}

/// The unbiased variance of values around their mean; zero where there is only one.
pub(super) fn variance(values: impl ExactSizeIterator<Item = f64>, mean: f64) -> f64 {
    let n = values.len();
    if n < 2 {
        return 0.0;
    }
    values.map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn wilson_meets_the_tables() {
        // Newcombe 1998, table I: 81 of 263 and 0 of 20.
        let some = proportion(81, 263);
        assert!(close(some.low, 0.2553) && close(some.high, 0.3662), "{some:?}");
        let none = proportion(0, 20);
        assert!(close(none.low, 0.0) && close(none.high, 0.1611), "{none:?}");
    }

    #[test]
    fn a_paired_drop_is_zero_and_uncertain_where_nothing_differs() {
        let drop = paired_drop(0, 0, 100);
        assert_eq!(drop.value, 0.0);
        assert!(drop.low < 0.0 && drop.low > -0.05 && drop.high == -drop.low);
        assert_eq!(paired_drop(3, 1, 100).value, 0.02);
    }

    #[test]
    fn a_mean_has_the_error_of_the_mean() {
        let estimate = mean([1.0, 2.0, 3.0, 4.0].into_iter());
        assert_eq!(estimate.value, 2.5);
        assert!(close(
            estimate.high - estimate.value,
            Z * (5.0_f64 / 3.0 / 4.0).sqrt()
        ));
    }
}
