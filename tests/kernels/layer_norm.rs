//! Layer normalization, to the bit: of reals, two sums in f64, all else in f32; of int8, whole numbers.

use num_bigint::BigInt;
use tinsmith_runtime::format::{IN_CONSTANTS, LayerNorm, LayerNormF32};
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::{Blob, BlobError, StepProblem};

use super::float::{bytes, reals};
use crate::blobs::{Parts, Random};

#[test]
fn normalized_rows_of_reals_are_their_formula() {
    let random = &mut Random(83);
    for case in 0..100 {
        let [rows, width]: [usize; 2] = std::array::from_fn(|_| random.one_of(&[1, 2, 5, 9]));
        let ifm = reals(random, rows * width);
        let (scale, bias) = (reals(random, width), reals(random, width));
        let epsilon = random.one_of(&[1e-5f32, 0.5, 3.0]);
        let mut wanted = Vec::new();
        for row in ifm.chunks(width) {
            let sum: f64 = row.iter().fold(0.0, |sum, &x| sum + f64::from(x));
            let mean = (sum / width as f64) as f32;
            let squares = row.iter().fold(0.0, |sum, &x| {
                let centered = x - mean;
                sum + f64::from(centered * centered)
            });
            let factor = 1.0 / libm::sqrtf((squares / width as f64) as f32 + epsilon);
            let normal = row.iter().map(|x| (x - mean) * factor);
            wanted.extend(normal.zip(scale.iter().zip(&bias)).map(|(x, (s, b))| x * s + b));
        }
        // Over its own input in every other case; the bias comes from the arena.
        let (bytes_in, bytes_row) = (4 * ifm.len() as u32, 4 * width as u32);
        let ofm = if case % 2 == 0 { 0 } else { bytes_in + bytes_row };
        let mut parts = Parts {
            arena_bytes: 2 * bytes_in + bytes_row,
            inputs: vec![(0, bytes_in), (bytes_in, bytes_row)],
            outputs: vec![(ofm, bytes_in)],
            ..Parts::default()
        };
        let record = LayerNormF32 {
            ifm: 0,
            scale: parts.constants_block(&bytes(&scale)) | IN_CONSTANTS,
            bias: bytes_in,
            ofm,
            rows: rows as u32,
            width: width as u32,
            epsilon,
        };
        parts.layers.push(Layer::LayerNormF32(record));
        let found = parts.run(&[&bytes(&ifm), &bytes(&bias)]).remove(0);
        assert_eq!(found, bytes(&wanted), "{record:?}");
    }
}

#[test]
fn a_normalization_without_a_sound_epsilon_is_refused() {
    for epsilon in [-1e-5, f32::NAN] {
        let mut parts = Parts {
            arena_bytes: 24,
            inputs: vec![(0, 24)],
            outputs: vec![(0, 24)],
            ..Parts::default()
        };
        let row = parts.constants_block(&[0; 12]) | IN_CONSTANTS;
        parts.layers.push(Layer::LayerNormF32(LayerNormF32 {
            scale: row,
            bias: row,
            rows: 2,
            width: 3,
            epsilon,
            ..LayerNormF32::default()
        }));
        let error = Blob::check(&parts.blob()).map(drop).unwrap_err();
        let problem = StepProblem::Parameter;
        assert_eq!(error, BlobError::Step { step: 0, problem });
    }
}

/// The block of a normalization of int8.
fn block(epsilon: u128, inverse: u64, numbers: &[i64]) -> Vec<u8> {
    let mut block = epsilon.to_le_bytes().to_vec();
    block.extend(inverse.to_le_bytes());
    block.extend([0; 8]);
    block.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    block
}

/// `x / 2^shift` to nearest, ties to even.
fn half_even(x: &BigInt, shift: u32) -> i64 {
    let unit = BigInt::from(1) << shift;
    let floor: BigInt = x >> shift; // toward −∞
    let doubled: BigInt = (x - (&floor << shift)) * 2;
    let is_odd = floor.bit(0);
    let up = doubled > unit || (doubled == unit && is_odd);
    i64::try_from(floor).unwrap() + i64::from(up)
}

#[test]
fn normalized_rows_of_int8_are_their_formula() {
    let random = &mut Random(84);
    for case in 0..200 {
        let rows = random.range(1, 3) as usize;
        let width = random.one_of(&[1, 2, 7, 40]);
        let mut ifm = random.bytes(rows * width);
        if case % 8 == 0 {
            ifm[..width].fill(77);
        }
        let epsilon = 1u128 << random.one_of(&[0, 50, 60, 70, 119]) | u128::from(random.bits() >> 20);
        let inverse = 1 << 62 | random.bits() >> 2;
        let slopes: Vec<i64> = (0..width)
            .map(|_| random.range(-(1 << 38) + 1, (1 << 38) - 1))
            .collect();
        let offsets: Vec<i64> = (0..width).map(|_| random.range(-1 << 45, 1 << 45)).collect();
        let record = LayerNorm {
            rows: rows as u32,
            width: width as u32,
            right_shift: random.range(85, 105) as u8,
            ofm_zero_point: random.i8(),
            min: -120,
            max: 127,
            ..LayerNorm::default()
        };
        let mut wanted = Vec::new();
        for row in ifm.chunks(width) {
            let codes: Vec<i64> = row.iter().map(|&x| i64::from(x as i8)).collect();
            let n = width as i64;
            let sum: i64 = codes.iter().sum();
            let squares: i64 = codes.iter().map(|x| x * x).sum();
            let mut w: BigInt = (BigInt::from(n * squares - sum * sum) << 60) + BigInt::from(epsilon);
            let j = (128 - w.bits() as u32) / 2;
            w <<= 2 * j;
            let root = w.sqrt();
            let factor: BigInt = ((BigInt::from(1) << 126) / root * BigInt::from(inverse)) >> 63;
            for (i, code) in codes.iter().enumerate() {
                let product: BigInt = BigInt::from((n * code - sum) * slopes[i]) * &factor;
                let unit = BigInt::from(1) << (u32::from(record.right_shift) - j);
                // Cut toward zero.
                let value = product / unit + BigInt::from(offsets[i]);
                let far = BigInt::from(1i64 << 60);
                let steps = half_even(&value.clamp(-far.clone(), far), 40);
                let code = (steps + i64::from(record.ofm_zero_point)).clamp(-120, 127);
                wanted.push(code as i8 as u8);
            }
        }
        // Over its own input in every other case.
        let bytes = ifm.len() as u32;
        let ofm = if case % 2 == 0 { 0 } else { bytes };
        let mut parts = Parts {
            arena_bytes: 2 * bytes,
            inputs: vec![(0, bytes)],
            outputs: vec![(ofm, bytes)],
            ..Parts::default()
        };
        let numbers: Vec<i64> = slopes.iter().chain(&offsets).copied().collect();
        let constants = parts.constants_block(&block(epsilon, inverse, &numbers));
        parts.layers.push(Layer::LayerNorm(LayerNorm {
            ofm,
            constants,
            ..record
        }));
        assert_eq!(parts.run(&[&ifm]), [wanted], "{record:?}");
    }
}

#[test]
fn a_normalization_of_int8_beyond_its_numbers_is_refused() {
    let refused = |right_shift, epsilon, inverse, numbers: &[i64]| {
        let mut parts = Parts {
            arena_bytes: 4,
            inputs: vec![(0, 4)],
            outputs: vec![(0, 4)],
            ..Parts::default()
        };
        parts.constants_block(&block(epsilon, inverse, numbers));
        parts.layers.push(Layer::LayerNorm(LayerNorm {
            rows: 2,
            width: 2,
            right_shift,
            ..LayerNorm::default()
        }));
        parts.check().is_err()
    };
    let sound = [1, 2, 3, 4];
    assert!(!refused(90, 1, 1 << 62, &sound));
    assert!(refused(32, 1, 1 << 62, &sound));
    assert!(refused(131, 1, 1 << 62, &sound));
    assert!(refused(90, 0, 1 << 62, &sound));
    assert!(refused(90, 1 << 120, 1 << 62, &sound));
    assert!(refused(90, 1, 1 << 61, &sound));
    assert!(refused(90, 1, 1 << 63, &sound));
    assert!(refused(90, 1, 1 << 62, &[1, 1 << 38, 3, 4]));
    assert!(refused(90, 1, 1 << 62, &[1, 2, 3, i64::MIN]));
}
