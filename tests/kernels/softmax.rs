//! Softmax against exponentials of 256 bits.

use num_bigint::BigInt;
use tinsmith_runtime::format::Softmax;
use tinsmith_runtime::kernels::{Layer, softmax};

use crate::blobs::{Parts, Random};

/// Bits behind the point of the oracle's numbers.
const BITS: u32 = 256;

/// A positive float as an integer times a power of two.
fn exact(x: f32) -> (BigInt, i32) {
    let (mantissa, exponent) = libm::frexpf(x);
    (
        BigInt::from((f64::from(mantissa) * 16_777_216.0) as i64),
        exponent - 24,
    )
}

/// `n · 2^exponent`, cut.
fn scaled(n: &BigInt, exponent: i32) -> BigInt {
    if exponent >= 0 {
        n << exponent
    } else {
        n >> exponent.unsigned_abs()
    }
}

/// `exp(−scale · d)` in units of 2^−256, off by less than 2^−200: `exp(−x / 2^k)` by its series, squared k times.
fn exponential(scale: f32, d: i64) -> BigInt {
    let halvings = 40;
    let (mantissa, exponent) = exact(scale);
    let x = scaled(&(mantissa * d), exponent + BITS as i32 - halvings);
    if x >= (BigInt::from(1) << BITS) {
        return BigInt::ZERO;
    }
    let (mut sum, mut term, mut n) = (BigInt::ZERO, BigInt::from(1) << BITS, 0);
    while term != BigInt::ZERO {
        sum += &term;
        n += 1;
        term = -((term * &x) >> BITS) / n;
    }
    for _ in 0..halvings {
        sum = (&sum * &sum) >> BITS;
    }
    sum
}

/// What ONNX means: `saturate(round_half_even(softmax / ofm_scale) + zero_point)`.
fn oracle(row: &[u8], ifm_scale: f32, ofm_scale: f32, zero_point: i8) -> Vec<u8> {
    let largest = row.iter().map(|&x| i64::from(x as i8)).max().unwrap();
    let exponentials: Vec<BigInt> = row
        .iter()
        .map(|&x| exponential(ifm_scale, largest - i64::from(x as i8)))
        .collect();
    let sum: BigInt = exponentials.iter().sum();
    let (mantissa, exponent) = exact(ofm_scale);
    // value = e / (sum · mantissa · 2^exponent)
    let divisor = sum * mantissa;
    let all_equal = row.iter().all(|x| *x == row[0]);
    let round = |e: &BigInt| {
        let doubled: BigInt = scaled(e, -exponent) * 2;
        let quotient: BigInt = (&doubled / &divisor + 1) / 2;
        let rest = &doubled + &divisor - &quotient * 2 * &divisor;
        if rest == BigInt::ZERO && &quotient % 2 != BigInt::ZERO {
            assert!(all_equal, "only equal elements make exact ties");
            return quotient - 1;
        }
        quotient
    };
    let code = |e| {
        i64::try_from(round(e))
            .unwrap_or(i64::MAX / 2)
            .saturating_add(zero_point.into())
    };
    exponentials
        .iter()
        .map(|e| code(e).clamp(-128, 127) as u8)
        .collect()
}

/// The kernel over rows of `depth`, apart and in place.
fn kernel(ifm: &[u8], depth: usize, ifm_scale: f32, ofm_scale: f32, zero_point: i8) -> Vec<u8> {
    let bytes = ifm.len() as u32;
    let mut block = [0; softmax::CONSTANTS_BYTES];
    softmax::constants(ifm_scale, &mut block);
    let (scale_mantissa, scale_shift) = softmax::output_scale(ofm_scale).unwrap();
    let run = |ofm: u32| {
        let mut parts = Parts {
            arena_bytes: 2 * bytes,
            inputs: vec![(0, bytes)],
            outputs: vec![(ofm, bytes)],
            ..Parts::default()
        };
        let constants = parts.constants_block(&block);
        parts.layers.push(Layer::Softmax(Softmax {
            ifm: 0,
            ofm,
            constants,
            rows: bytes / depth as u32,
            depth: depth as u32,
            scale_mantissa,
            scale_shift,
            ofm_zero_point: zero_point,
            min: -128,
            max: 127,
        }));
        parts.run(&[ifm]).remove(0)
    };
    let apart = run(bytes);
    assert_eq!(run(0), apart, "in place");
    apart
}

fn check(ifm: &[u8], depth: usize, ifm_scale: f32, ofm_scale: f32, zero_point: i8) {
    let wanted: Vec<u8> = ifm
        .chunks(depth)
        .flat_map(|row| oracle(row, ifm_scale, ofm_scale, zero_point))
        .collect();
    let found = kernel(ifm, depth, ifm_scale, ofm_scale, zero_point);
    assert_eq!(
        found, wanted,
        "scales {ifm_scale} {ofm_scale}, depth {depth}, {ifm:?}"
    );
}

#[test]
fn softmax_is_exactly_rounded() {
    let random = &mut Random(40);
    for _ in 0..150 {
        let depth = random.range(1, 13) as usize;
        let spread = random.range(0, 255);
        let ifm: Vec<u8> = (0..4 * depth)
            .map(|_| (random.range(0, spread) - 128) as u8)
            .collect();
        let ifm_scale = libm::ldexpf(
            random.range(1 << 23, (1 << 24) - 1) as f32,
            random.range(-34, -23) as i32,
        );
        check(&ifm, depth, ifm_scale, 1.0 / 256.0, -128);
    }
}

#[test]
fn softmax_takes_any_scale() {
    let random = &mut Random(41);
    // Below, rows can be closer to a tie than 2^−61, where the kernel takes them for one.
    // Below, rows can be closer to a tie than 2^−61, where the kernel takes them for one.
    let scales = [1e-12, 1e-9, 1e-6, 0.02, 0.1, 1.0, 37.5, 1e20, f32::MAX];
    let ofm_scales = [
        1e-10,
        1e-5,
        0.000_976,
        1.0 / 1024.0,
        1.0 / 1023.0,
        1.0 / 300.0,
        0.007,
        0.5,
        3.9,
        4.0,
        1e9,
    ];
    for ifm_scale in scales {
        for ofm_scale in ofm_scales {
            let depth = random.range(2, 6) as usize;
            check(&random.bytes(depth), depth, ifm_scale, ofm_scale, random.i8());
        }
    }
}

#[test]
fn equal_elements_tie_to_even() {
    // 1/depth in units of `2/5/depth` is 2.5; in units of 2/7 it is 3.5.
    for (depth, parts) in [(1u8, 5u8), (2, 5), (4, 5), (8, 7), (16, 7), (2, 1), (64, 3)] {
        let ofm_scale = 2.0 / f32::from(depth) / f32::from(parts);
        check(&vec![17; depth.into()], depth.into(), 0.1, ofm_scale, 0);
    }
    check(&[5; 512], 512, 0.1, 1.0 / 256.0, -128);
    let halves = kernel(&[5; 512], 512, 0.1, 1.0 / 256.0, 0);
    assert_eq!(halves, [0; 512], "exactly half a step");
}

#[test]
fn long_rows_are_exact_too() {
    let random = &mut Random(42);
    let ifm: Vec<u8> = (0..3000).map(|_| (random.range(0, 20) - 128) as u8).collect();
    check(&ifm, 3000, 0.3, 1.0 / 65536.0, -128);
    check(&ifm[..300], 300, 0.1, 1.0 / 2048.0, 0);
}

#[test]
fn output_scales_that_saturate_everything_are_refused() {
    assert_eq!(softmax::output_scale(1.0 / 256.0), Some((1 << 23, 31)));
    assert_eq!(softmax::output_scale(1e30), softmax::output_scale(4.0));
    assert_eq!(softmax::output_scale(1e-12), None);
    assert_eq!(softmax::output_scale(f32::from_bits(1)), None);
}

#[test]
fn exponentials_are_nearest() {
    for scale in [1e-40, 1e-12, 0.0123, 0.1, 0.7, 1.0, 2.5, 100.0, 1e30] {
        let mut block = [0; softmax::CONSTANTS_BYTES];
        softmax::constants(scale, &mut block);
        for (index, entry) in block.chunks(8).enumerate() {
            let d = if index < 16 { 16 * index } else { index - 16 };
            let found = u64::from_le_bytes(entry.try_into().unwrap());
            let exact = exponential(scale, d as i64);
            let nearest = (exact + (BigInt::from(1) << (BITS - 64))) >> (BITS - 63);
            assert_eq!(BigInt::from(found), nearest, "scale {scale}, distance {d}");
        }
    }
}
