//! McNemar's exact test: whether one of two models hits more often, judged by the samples on which they differ.

/// Samples on which the two models differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Hits of the float model that the quantized one misses.
    pub lost: usize,
    /// Hits of the quantized model that the float one misses.
    pub won: usize,
    /// How likely a difference as large as this is, to either side, if both models hit equally often.
    pub p_value: f64,
}

impl Change {
    pub(super) fn new(lost: usize, won: usize) -> Self {
        Self {
            lost,
            won,
            p_value: p_value(lost, won),
        }
    }
}

/// Twice the lower tail of the binomial distribution of `lost + won` fair coins, at most 1.
fn p_value(lost: usize, won: usize) -> f64 {
    let (fewer, coins) = (lost.min(won), lost + won);
    if 2 * fewer == coins {
        return 1.0;
    }
    // From the largest term down, as shares of it: Σ C(n, k) = C(n, m) · (1 + m/(n−m+1) · (1 + …)).
    let mut sum = 1.0;
    let mut term = 1.0;
    for k in (1..=fewer).rev() {
        term *= k as f64 / (coins - k + 1) as f64;
        sum += term;
        if term < 1e-18 {
            break;
        }
    }
    let n = coins as f64;
    let factorial = |x: f64| libm::lgamma(x + 1.0);
    let largest = factorial(n) - factorial(fewer as f64) - factorial(n - fewer as f64);
    (2.0 * sum * libm::exp(largest - n * std::f64::consts::LN_2)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_those_of_the_binomial_test() {
        // scipy.stats.binomtest(min, lost + won).pvalue.
        for (lost, won, wanted) in [
            (0, 0, 1.0),
            (1, 0, 1.0),
            (3, 3, 1.0),
            (10, 2, 0.03857421875),
            (0, 20, 1.9073486328125e-06),
            (300, 240, 0.011050481081929898),
            (70_000, 69_000, 0.007372413809778067),
        ] {
            let found = p_value(lost, won);
            assert!(
                (found - wanted).abs() <= 1e-8 * wanted,
                "{lost} {won}: {found} {wanted}"
            );
            assert_eq!(found, p_value(won, lost));
        }
    }
}
