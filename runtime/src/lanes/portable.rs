//! The definition of every register block, in safe Rust.

use super::{COLUMN_CHANNELS, DOT_CHANNELS, Lanes};

/// Lanes for every core.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// The product of two int8 values.
#[inline(always)]
fn product(a: u8, b: u8) -> i32 {
    i32::from(a as i8) * i32::from(b as i8)
}

impl Lanes for Portable {
    #[inline]
    fn dot(acc: &mut [i32; DOT_CHANNELS], x: &[u8], weights: [&[u8]; DOT_CHANNELS]) {
        let [a, b, c, d] = weights;
        let mut sums = *acc;
        for ((((&x, &a), &b), &c), &d) in x.iter().zip(a).zip(b).zip(c).zip(d) {
            sums[0] = sums[0].wrapping_add(product(x, a));
            sums[1] = sums[1].wrapping_add(product(x, b));
            sums[2] = sums[2].wrapping_add(product(x, c));
            sums[3] = sums[3].wrapping_add(product(x, d));
        }
        *acc = sums;
    }

    #[inline]
    fn columns(acc: &mut [i32; COLUMN_CHANNELS], taps: usize, x: (&[u8], usize), weights: (&[u8], usize)) {
        let (mut x, x_step) = x;
        let (mut weights, weights_step) = weights;
        let mut sums = *acc;
        for _ in 0..taps {
            let (Some(xs), Some(ws)) = (
                x.first_chunk::<COLUMN_CHANNELS>(),
                weights.first_chunk::<COLUMN_CHANNELS>(),
            ) else {
                break;
            };
            for ((sum, &x), &w) in sums.iter_mut().zip(xs).zip(ws) {
                *sum = sum.wrapping_add(product(x, w));
            }
            x = x.get(x_step..).unwrap_or_default();
            weights = weights.get(weights_step..).unwrap_or_default();
        }
        *acc = sums;
    }
}
