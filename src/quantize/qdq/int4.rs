//! Stored weights that four bits hold: as they are, or times a whole number for every block.
//!
//! Whatever the model has them as, integers of one output channel are int4 in blocks where the integers of every block have a
//! common divisor that leaves −8 to 7. That is exact, and finds the blocks of a model again behind anything that moved them.

use crate::op::Op;
use crate::op::quant::Quantization;
use crate::op::tensor::{Data, Narrow, Values};

/// Blocks that are looked for, largest first: all of a channel, and what ONNX Runtime and others make.
const BLOCKS: [usize; 5] = [256, 128, 64, 32, 16];

/// Weights `[out, …, in]` of whole numbers, each channel's in steps of its scale, as int4. `None` where the layer does not take
/// such weights, or they have no such form.
pub(super) fn int4(
    op: &Op,
    shape: &[usize],
    weights: &[i16],
    scales: &[f32],
) -> Option<(Values, Quantization)> {
    let takes = match op {
        Op::Dense(_) => true,
        Op::Conv2d(conv) => conv.takes_int4(),
        _ => false,
    };
    let row = *shape.last()?;
    // Of fewer, there is nothing to gain.
    let least = BLOCKS[BLOCKS.len() - 1];
    if !takes || row < least || weights.len() != row * scales.len() {
        return None;
    }
    if let Some(codes) = codes(weights.iter().copied()) {
        let quantization = Quantization::PerChannel {
            axis: 0,
            scales: scales.to_vec(),
        };
        return Some((Values::new(shape, Data::Narrow(Narrow::I4, codes)), quantization));
    }
    BLOCKS.into_iter().find_map(|block| {
        let mut all = Vec::with_capacity(weights.len());
        let mut factors = Vec::with_capacity(weights.len().div_ceil(block));
        for of_block in weights.chunks(row).flat_map(|row| row.chunks(block)) {
            let factor = common_divisor(of_block);
            factors.push(u8::try_from(factor).ok()?);
            all.extend(codes(of_block.iter().map(|weight| weight / factor))?);
        }
        let quantization = Quantization::PerBlock {
            scales: scales.to_vec(),
            block,
            factors,
        };
        Some((Values::new(shape, Data::Narrow(Narrow::I4, all)), quantization))
    })
}

/// Integers from −8 to 7 as int4; `None` of others.
fn codes(weights: impl Iterator<Item = i16>) -> Option<Vec<u8>> {
    weights
        .map(|weight| (-8..=7).contains(&weight).then_some((weight & 15) as u8))
        .collect()
}

/// The greatest common divisor; 1 of zeros.
fn common_divisor(weights: &[i16]) -> i16 {
    let divisor = weights.iter().fold(0u16, |divisor, weight| {
        let (mut a, mut b) = (divisor, weight.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    });
    // Beyond i16 there is −32768 alone, whose divisor may be any power of two.
    i16::try_from(divisor).unwrap_or(1 << 14).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Clamp, Dense};

    #[test]
    fn blocks_are_found_again() {
        let op = Op::Dense(Dense { clamp: Clamp::NONE });
        let codes = |i: usize| (i * 5 % 16) as i16 - 8;
        let weights: Vec<i16> = (0..80).map(|i| codes(i) * [3, 31, 1][i % 40 / 16]).collect();
        let (values, quantization) = int4(&op, &[2, 40], &weights, &[0.5, 0.25]).unwrap();
        assert_eq!(values.to_i64().unwrap()[..3], [-8, -3, 2]);
        let Quantization::PerBlock { block, factors, .. } = quantization else {
            panic!("{quantization:?}");
        };
        assert_eq!((block, &factors[..]), (16, &[3, 31, 1, 3, 31, 1][..]));
    }

    #[test]
    fn weights_of_eight_bits_stay() {
        let op = Op::Dense(Dense { clamp: Clamp::NONE });
        let weights: Vec<i16> = (0..64).map(|i| i * 3 - 90).collect();
        assert_eq!(int4(&op, &[1, 64], &weights, &[1.0]), None);
        assert_eq!(common_divisor(&[0, 0]), 1);
        assert_eq!(common_divisor(&[-32768; 2]), 1 << 14);
        let small: Vec<i16> = (0..64).map(|i| i % 16 - 8).collect();
        let (_, quantization) = int4(&op, &[1, 64], &small, &[1.0]).unwrap();
        assert!(matches!(quantization, Quantization::PerChannel { .. }));
    }
}
