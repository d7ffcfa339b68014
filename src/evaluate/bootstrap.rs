//! The paired bootstrap: intervals of a figure that has no closed form, by drawing the samples again and again.
//!
//! Both models are judged on the same draws, so that what makes a sample hard for both does not blur their difference.
//! Every draw has a seed of its own and results are kept in the draws' order: same data, same intervals, at any number
//! of threads.

use rayon::prelude::*;

use super::Estimate;
use super::judge::Both;

/// How often the samples are drawn anew.
const RESAMPLES: u64 = 2000;

/// Where the draws begin.
const SEED: u64 = 0x7469_6E73_6D69_7468;

/// Intervals of both models' figures and of their difference.
pub(super) struct Intervals {
    pub(super) float: Estimate,
    pub(super) quantized: Estimate,
    /// The float model's figure less the quantized one's.
    pub(super) drop: Estimate,
}

/// The figures over `n` samples with their 95 % intervals, between the percentiles 2.5 and 97.5 of what the draws
/// give; an interval is stretched where it would not hold the figure itself. `figure` is told how often each sample
/// counts, and is `None` where such a draw has no figure; draws without one are left out.
///
/// `None` where the samples themselves, each counted once, have no figure.
pub(super) fn paired(n: usize, figure: impl Fn(&[u32]) -> Option<Both<f64>> + Sync) -> Option<Intervals> {
    let whole = figure(&vec![1; n])?;
    let drawn: Vec<Both<f64>> = (0..RESAMPLES)
        .into_par_iter()
        .filter_map(|draw| figure(&counts(n, draw)))
        .collect();
    let interval = |of: fn(&Both<f64>) -> f64| {
        let value = of(&whole);
        let mut figures: Vec<f64> = drawn.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        Estimate {
            value,
            low: percentile(&figures, 0.025).map_or(value, |low| low.min(value)),
            high: percentile(&figures, 0.975).map_or(value, |high| high.max(value)),
        }
    };
    Some(Intervals {
        float: interval(|both| both.float),
        quantized: interval(|both| both.quantized),
        drop: interval(|both| both.float - both.quantized),
    })
}

/// How often each of `n` samples is met in `n` draws with replacement.
fn counts(n: usize, draw: u64) -> Vec<u32> {
    let mut counts = vec![0; n];
    let mut random = SplitMix64(SEED ^ SplitMix64(draw).next());
    for _ in 0..n {
        // The upper half of the product is even over 0..n but for n in 2^64 parts.
        let sample = (u128::from(random.next()) * n as u128) >> 64;
        counts[sample as usize] += 1;
    }
    counts
}

/// The value below which a share of sorted values lies, between neighbours by the distance to them.
fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (below, part) = (place as usize, place.fract());
    let above = sorted[(below + 1).min(sorted.len() - 1)];
    Some(sorted[below] + (above - sorted[below]) * part)
}

/// The generator SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of values, each counted as often as told.
    fn mean(values: &[f64], counts: &[u32]) -> f64 {
        let sum: f64 = values
            .iter()
            .zip(counts)
            .map(|(value, &count)| value * f64::from(count))
            .sum();
        sum / values.len() as f64
    }

    #[test]
    fn the_generator_is_the_published_one() {
        let mut random = SplitMix64(1_234_567);
        let found = [random.next(), random.next(), random.next()];
        assert_eq!(
            found,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn a_mean_gets_the_interval_of_the_normal_distribution() {
        let float: Vec<f64> = (0..400).map(|i| f64::from(i * 37 % 100) / 100.0).collect();
        let quantized: Vec<f64> = float.iter().map(|x| x - 0.25).collect();
        let found = paired(400, |counts| {
            Some(Both {
                float: mean(&float, counts),
                quantized: mean(&quantized, counts),
            })
        })
        .unwrap();
        // The values are even over 100 steps: variance (100² − 1)/12 of a hundredth squared.
        let margin = 1.96 * ((1e4 - 1.0) / 12.0 / 1e4 / 400.0f64).sqrt();
        assert!((found.float.value - 0.495).abs() < 1e-12);
        assert!(
            (found.float.high - 0.495 - margin).abs() < 0.1 * margin,
            "{:?}",
            found.float
        );
        assert!(
            (0.495 - found.float.low - margin).abs() < 0.1 * margin,
            "{:?}",
            found.float
        );
        // The same distance on every sample: no draw changes it.
        assert!((found.drop.low - 0.25).abs() < 1e-12 && (found.drop.high - 0.25).abs() < 1e-12);
    }

    #[test]
    fn threads_do_not_change_the_intervals() {
        let values: Vec<f64> = (0..50).map(|i| f64::from(i * i % 17)).collect();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let figure = |counts: &[u32]| {
                let value = mean(&values, counts);
                Some(Both {
                    float: value,
                    quantized: value * value,
                })
            };
            let found = pool.install(|| paired(50, figure)).unwrap();
            [found.float, found.quantized, found.drop]
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn draws_without_a_figure_are_left_out() {
        assert!(paired(3, |_| None).is_none());
        let one = paired(2, |counts| {
            (counts == [1, 1]).then_some(Both {
                float: 1.0,
                quantized: 0.0,
            })
        });
        assert_eq!(one.unwrap().drop, Estimate::exact(1.0));
    }
}
