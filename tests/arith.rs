//! The numbers against exact rational arithmetic.

use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::prelude::*;
use tinsmith_runtime::arith::{
    clamp, dequantize, divide_half_even, quantize, requantize, round_shift, round_shift_narrow,
};
use tinsmith_runtime::{FixedScale, Rounding};

/// An exact number rounded to nearest.
fn nearest(exact: &BigRational, rounding: Rounding) -> BigInt {
    let half = BigRational::new(1.into(), 2.into());
    let up = (exact + &half).floor();
    let is_tie = &up - exact == half;
    let is_odd = (up.to_integer() % BigInt::from(2)) != BigInt::ZERO;
    if rounding == Rounding::Even && is_tie && is_odd {
        up.to_integer() - 1
    } else {
        up.to_integer()
    }
}

fn ratio(numerator: i64, log2_denominator: u32) -> BigRational {
    BigRational::new(numerator.into(), BigInt::from(1) << log2_denominator)
}

fn roundings() -> impl Strategy<Value = Rounding> {
    prop_oneof![Just(Rounding::Up), Just(Rounding::Even)]
}

/// Accumulators, with the extremes and the small ones that random numbers seldom are.
fn accumulators() -> impl Strategy<Value = i32> {
    prop_oneof![any::<i32>(), -1000..1000i32, Just(i32::MIN), Just(i32::MAX)]
}

/// Multipliers, with the powers of two that make exact ties.
fn multipliers() -> impl Strategy<Value = i32> {
    prop_oneof![0..=i32::MAX, (0..31u32).prop_map(|bit| 1 << bit), Just(i32::MAX)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, rng_seed: prop::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn requantize_is_one_exact_rounding(
        acc in accumulators(), multiplier in multipliers(), right_shift in 33..=55u8, rounding in roundings(),
        zero_point: i8, a: i8, b: i8,
    ) {
        let scale = FixedScale { multiplier, right_shift, rounding };
        let exact = ratio(acc.into(), 0) * ratio(multiplier.into(), right_shift.into());
        let (min, max) = (a.min(b), a.max(b));
        let wanted = (nearest(&exact, rounding) + zero_point).clamp(min.into(), max.into());
        prop_assert_eq!(BigInt::from(requantize(acc, scale, zero_point, min, max)), wanted);
        prop_assert!(scale.is_valid());
        let (multiplier, shift) = scale.to_stored();
        prop_assert_eq!(FixedScale::from_stored(multiplier, shift), scale);
    }

    #[test]
    fn ties_are_met_and_go_their_way(odd in (-1000..1000i32).prop_map(|n| 2 * n + 1), shift in 33..=55u8) {
        // odd · 2^(shift − 1) / 2^shift lies half-way between two integers.
        let multiplier = 1i32 << 30;
        let Some(acc) = odd.checked_shl(u32::from(shift) - 31).filter(|acc| acc >> (shift - 31) == odd) else {
            return Ok(());
        };
        for rounding in [Rounding::Up, Rounding::Even] {
            let scale = FixedScale { multiplier, right_shift: shift, rounding };
            let exact = ratio(odd.into(), 1);
            prop_assert_eq!(BigInt::from(scale.apply(acc)), nearest(&exact, rounding));
        }
    }

    #[test]
    fn round_shift_is_exact(value in -(1i64 << 62) + 1..1i64 << 62, n in 1..=62u32, rounding in roundings()) {
        prop_assert_eq!(BigInt::from(round_shift(value, n, rounding)), nearest(&ratio(value, n), rounding));
    }

    #[test]
    fn round_shift_narrow_is_exact(value in -(1i32 << 30)..1i32 << 30, n in 1..=31u32, rounding in roundings()) {
        let value = if n == 31 { value / 2 } else { value };
        prop_assert_eq!(BigInt::from(round_shift_narrow(value, n, rounding)), nearest(&ratio(value.into(), n), rounding));
    }

    #[test]
    fn divide_half_even_is_exact(
        sum in prop_oneof![-(1 << 30) + 1..1i32 << 30, -2000..2000i32],
        count in prop_oneof![1..64u32, 1..1u32 << 22],
    ) {
        let exact = BigRational::new(sum.into(), count.into());
        prop_assert_eq!(BigInt::from(divide_half_even(sum, count)), nearest(&exact, Rounding::Even));
    }

    #[test]
    fn quantize_undoes_dequantize(q: i8, zero_point: i8, exponent in -40..40i32) {
        let scale = libm::ldexpf(1.375, exponent);
        prop_assert_eq!(quantize(dequantize(q, scale, zero_point), scale, zero_point), q);
    }
}

#[test]
fn quantize_rounds_ties_to_even_and_saturates() {
    let q = |x: f32| quantize(x, 1.0, 0);
    assert_eq!([q(0.5), q(1.5), q(-0.5), q(-1.5), q(2.5)], [0, 2, 0, -2, 2]);
    assert_eq!(
        [
            q(f32::INFINITY),
            q(f32::NEG_INFINITY),
            q(f32::NAN),
            q(3e38),
            q(-3e38)
        ],
        [127, -128, 0, 127, -128]
    );
    assert_eq!(quantize(100.0, 1.0, 100), 127);
    assert_eq!(quantize(f32::NAN, 1.0, 7), 7);
}

#[test]
fn no_stored_byte_can_overflow_a_shift() {
    for shift in 0..=255 {
        for multiplier in [i32::MIN, -1, 0, 1, i32::MAX] {
            let scale = FixedScale::from_stored(multiplier, shift);
            for acc in [i32::MIN, -1, 0, 1, i32::MAX] {
                scale.apply(acc);
            }
            let in_range = multiplier >= 0 && (33..=55).contains(&(shift & 0x3f));
            assert_eq!(scale.is_valid(), in_range);
        }
    }
}

#[test]
fn clamp_keeps_what_is_inside() {
    assert_eq!(
        [
            clamp(-300, -128, 127),
            clamp(300, -128, 127),
            clamp(5, 0, 6),
            clamp(7, 0, 6)
        ],
        [-128, 127, 5, 6]
    );
    assert_eq!([clamp(i64::MIN, -5, 5), clamp(i64::MAX, -5, 5)], [-5, 5]);
}
