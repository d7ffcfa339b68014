//! What one step of a layer's weights is worth, and how that is chosen.
//!
//! int8 weights have steps enough to reach the largest one. Four bits have not: cutting off the largest weights costs less than
//! coarse steps for all others, so that the step of least squared error is searched for, as is the least step of a channel and the
//! whole numbers by which it is multiplied for each block.

use super::weight_form::WeightForm;

/// What one step of each weight is worth.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WeightGrid {
    /// What the codes are.
    pub(super) form: WeightForm,
    /// One scale per output channel.
    pub(super) scales: Vec<f32>,
    /// How often a block's codes count, one per output channel and block; none without blocks.
    pub(super) factors: Vec<u8>,
}

/// The greatest factor. Larger ones meet the blocks' own best steps hardly better, and widen sums.
const MOST_FACTOR: u8 = 31;

/// The largest weight in steps, in quarters: the coarsest and the finest step that is tried.
const REACHES: std::ops::RangeInclusive<u8> = 26..=64;

impl WeightGrid {
    /// One step of weight `i` of an output channel.
    pub(super) fn step(&self, channel: usize, i: usize) -> f32 {
        self.scales[channel] * f32::from(self.factor(channel, i))
    }

    /// A weight in steps, ties to even.
    pub(super) fn code(&self, channel: usize, i: usize, weight: f32) -> i8 {
        self.form.code(weight, self.step(channel, i))
    }

    /// How much input of one step each makes the sum of a channel with these codes at most.
    pub(super) fn taken(&self, channel: usize, codes: &[i8]) -> f64 {
        let counted = codes.iter().enumerate();
        counted
            .map(|(i, &code)| f64::from(code).abs() * f64::from(self.factor(channel, i)))
            .sum()
    }

    fn factor(&self, channel: usize, i: usize) -> u8 {
        let Some(block) = self.form.block() else { return 1 };
        let blocks = self.factors.len() / self.scales.len().max(1);
        self.factors[channel * blocks + i / block]
    }

    /// The scale that rows of weights share, each of `row_len`, and the factors of their blocks. 0 where there is nothing but zero.
    pub(super) fn choose(form: WeightForm, rows: &[f32], row_len: usize) -> (f32, Vec<u8>) {
        let reach = rows.iter().fold(0.0f32, |reach, weight| reach.max(weight.abs()));
        match (form, form.block()) {
            (WeightForm::Int8 | WeightForm::Int8PerTensor, _) => {
                (reach / f32::from(form.codes().1), Vec::new())
            }
            (_, None) => (best_step(form, rows), Vec::new()),
            (_, Some(block)) => {
                let blocks = || rows.chunks(row_len.max(1)).flat_map(|row| row.chunks(block));
                let coarsest = blocks().map(|block| best_step(form, block)).fold(0.0, f32::max);
                let scale = exact_by_factors(coarsest / f32::from(MOST_FACTOR));
                let factors: Vec<u8> = blocks().map(|block| best_factor(form, block, scale)).collect();
                // What all have in common is part of the scale: who reads the blocks' scales sees no other.
                let common = factors.iter().copied().fold(0, common_divisor).max(1);
                let factors = factors.into_iter().map(|factor| factor / common);
                (scale * f32::from(common), factors.collect())
            }
        }
    }
}

/// The nearest number whose product with any factor is an f32: what ONNX has as a block's scale.
fn exact_by_factors(scale: f32) -> f32 {
    f32::from_bits(scale.to_bits().saturating_add(0x80) & !0xff)
}

fn common_divisor(a: u8, b: u8) -> u8 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// The squared error of weights in steps of this size.
fn error(form: WeightForm, weights: &[f32], step: f32) -> f64 {
    let error = |&weight: &f32| f64::from(weight - f32::from(form.code(weight, step)) * step);
    weights.iter().map(error).map(|error| error * error).sum()
}

/// The first of some steps with the least error.
fn least_error(form: WeightForm, weights: &[f32], steps: impl Iterator<Item = f32>) -> Option<(usize, f32)> {
    let errors = steps.map(|step| (step, error(form, weights, step)));
    let least = errors
        .enumerate()
        .min_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b))?;
    Some((least.0, least.1.0))
}

/// The step with the least error; 0 for weights of zero.
fn best_step(form: WeightForm, weights: &[f32]) -> f32 {
    let reach = weights
        .iter()
        .fold(0.0f32, |reach, weight| reach.max(weight.abs()));
    let steps = REACHES.map(|quarters| reach / (f32::from(quarters) / 4.0));
    let steps = steps.filter(|step| *step >= f32::MIN_POSITIVE);
    least_error(form, weights, steps).map_or(0.0, |(_, step)| step)
}

/// The factor with the least error; 1 for weights of zero.
fn best_factor(form: WeightForm, weights: &[f32], scale: f32) -> u8 {
    let steps = (1..=MOST_FACTOR).map(|factor| scale * f32::from(factor));
    let steps = steps.filter(|step| *step >= f32::MIN_POSITIVE);
    least_error(form, weights, steps).map_or(1, |(index, _)| index as u8 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_weight_does_not_coarsen_all_others() {
        let mut weights: Vec<f32> = (0..512).map(|i| ((i * 37 % 64) as f32 - 31.5) / 32.0).collect();
        weights[5] = 2.0;
        let form = WeightForm::Int4;
        let (step, factors) = WeightGrid::choose(form, &weights, 512);
        assert!(factors.is_empty());
        assert!(step < 2.0 / 7.0 / 1.5, "{step}");
        assert!(error(form, &weights, step) < 0.8 * error(form, &weights, 2.0 / 7.0));
    }

    #[test]
    fn blocks_count_as_often_as_they_reach() {
        // Of two rows, blocks that reach 1, 1/2, 1/4.
        let weights: Vec<f32> = (0..96)
            .map(|i| ((i * 37 % 32) as f32 - 15.5) / 16.0 * 0.5f32.powi(i / 32))
            .collect();
        let (scale, factors) = WeightGrid::choose(WeightForm::Int4Block32, &weights, 96);
        assert_eq!(factors.len(), 3);
        assert!(factors[0] >= MOST_FACTOR - 1, "{factors:?}");
        for (fine, coarse) in [(factors[1], factors[0]), (factors[2], factors[1])] {
            let ratio = f32::from(coarse) / f32::from(fine);
            assert!((1.8..=2.3).contains(&ratio), "{factors:?}");
        }
        for factor in factors {
            let product = f64::from(scale) * f64::from(factor);
            assert_eq!(f64::from(product as f32), product);
        }
        assert_eq!(
            WeightGrid::choose(WeightForm::Int4Block32, &[0.0; 40], 40),
            (0.0, vec![1, 1])
        );
    }
}
