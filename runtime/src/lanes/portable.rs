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
        // One name per sum keeps them in registers; an array would stay in memory on small cores.
        let [mut s0, mut s1, mut s2, mut s3, mut s4, mut s5, mut s6, mut s7] = *acc;
        for _ in 0..taps {
            let (Some(&x8), Some(&w8)) = (x.first_chunk(), weights.first_chunk()) else {
                break;
            };
            let ([x0, x1, x2, x3, x4, x5, x6, x7], [w0, w1, w2, w3, w4, w5, w6, w7]): ([u8; 8], [u8; 8]) =
                (x8, w8);
            s0 = s0.wrapping_add(product(x0, w0));
            s1 = s1.wrapping_add(product(x1, w1));
            s2 = s2.wrapping_add(product(x2, w2));
            s3 = s3.wrapping_add(product(x3, w3));
            s4 = s4.wrapping_add(product(x4, w4));
            s5 = s5.wrapping_add(product(x5, w5));
            s6 = s6.wrapping_add(product(x6, w6));
            s7 = s7.wrapping_add(product(x7, w7));
            x = x.get(x_step..).unwrap_or_default();
            weights = weights.get(weights_step..).unwrap_or_default();
        }
        *acc = [s0, s1, s2, s3, s4, s5, s6, s7];
    }
}
