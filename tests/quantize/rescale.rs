//! The threshold solver against exact rational arithmetic: every proof is checked by trying all accumulators.

use num_bigint::BigInt;
use num_rational::BigRational;
use tinsmith::op::quant::QuantParams;
use tinsmith::op::rescale::{
    Codes, Dyadic, Factor, Fit, Reach, Side, Solved, accumulator, binary_constant, left_shift, pair,
    requantize, solve, unary,
};
use tinsmith::op::{BinaryKind, Clamp, UnaryKind};
use tinsmith_runtime::Rounding;
use tinsmith_runtime::arith::{requantize as rescale, round_shift};

/// A small seeded generator (splitmix64), so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A scale around `2^exponent`.
    fn scale(&mut self, exponent: i32) -> f32 {
        let mantissa = 0x80_0000 + self.below(0x80_0000) as u32;
        f32::from_bits(((127 + exponent) as u32) << 23 | (mantissa & 0x7f_ffff))
    }
}

fn real(x: f32) -> BigRational {
    BigRational::from_float(x).unwrap()
}

fn whole(x: i64) -> BigRational {
    BigRational::from_integer(BigInt::from(x))
}

/// To the nearest integer, ties to even, as ONNX rounds.
fn half_even(x: &BigRational) -> i64 {
    let floor = x.floor();
    let rest = x - &floor;
    let half = BigRational::new(1.into(), 2.into());
    let floor = i64::try_from(floor.to_integer()).unwrap_or(1 << 40);
    match rest.cmp(&half) {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Equal => floor + (floor & 1),
        std::cmp::Ordering::Greater => floor + 1,
    }
}

fn exact(acc: i64, factor: &BigRational, codes: Codes) -> i8 {
    let code = half_even(&(whole(acc) * factor)) + i64::from(codes.zero_point);
    code.max(codes.min.into()).min(codes.max.into()) as i8
}

fn fixed(acc: i64, left_shift: u8, solved: Solved, codes: Codes) -> i8 {
    let acc = i32::try_from(acc << left_shift).unwrap();
    rescale(acc, solved.scale, codes.zero_point as i8, codes.min, codes.max)
}

/// The accumulators around every place where the exact result changes, and the ends.
fn telling(factor: &BigRational, min: i64, max: i64) -> Vec<i64> {
    let mut accs = vec![min, max, 0, 1, -1];
    for q in -260..=260 {
        let near = (BigRational::new((2 * q - 1).into(), 2.into()) / factor).floor();
        if let Ok(near) = i64::try_from(near.to_integer()) {
            accs.extend(near - 2..=near + 2);
        }
    }
    accs.retain(|acc| (min..=max).contains(acc));
    accs
}

fn check(above: &[f32], below: f32, min: i64, max: i64, codes: Codes) -> Fit {
    let factor = Factor::new(above, &[below], 1).unwrap();
    let true_factor = above.iter().map(|&s| real(s)).product::<BigRational>() / real(below);
    let shift = left_shift(&[factor]).unwrap();
    let solved = solve(factor, Reach::Range(min, max), shift, codes);
    assert!(solved.scale.is_valid());
    let accs = telling(&true_factor, min, max);
    let all = accs
        .iter()
        .all(|&acc| fixed(acc, shift, solved, codes) == exact(acc, &true_factor, codes));
    assert_eq!(
        all,
        solved.fit != Fit::Inexact,
        "{above:?} / {below}, {min}..={max}, {codes:?}: {solved:?}"
    );
    solved.fit
}

fn codes(zero_point: i32, min: i8, max: i8) -> Codes {
    Codes { zero_point, min, max }
}

#[test]
fn the_solver_is_right_about_random_channels() {
    let mut random = Random(1);
    let mut inexact = 0;
    for _ in 0..400 {
        let (input, weight) = (random.below(12) as i32 - 8, random.below(8) as i32 - 10);
        let output = random.below(10) as i32 - 8;
        let scales = [random.scale(input), random.scale(weight)];
        let below = random.scale(output);
        let factor = Factor::new(&scales, &[below], 1).unwrap();
        let limit = (1 << 30) >> left_shift(&[factor]).unwrap();
        let (x, y) = (random.below(limit) as i64, random.below(limit) as i64);
        let zero_point = random.below(256) as i32 - 128;
        let (min, max) = [(-128, 127), (zero_point as i8, 127), (-100, 90)][random.below(3) as usize];
        let fit = check(&scales, below, -x, y, codes(zero_point, min, max));
        inexact += usize::from(fit == Fit::Inexact);
    }
    // Random factors of 24-bit mantissas almost always have room for a multiplier.
    assert!(inexact < 5, "{inexact} of 160");
}

#[test]
fn powers_of_two_need_ties_to_even() {
    for exponent in -12..=2 {
        let factor = Factor::new(&[1.0], &[libm::exp2f(-exponent as f32)], 1).unwrap();
        let shift = left_shift(&[factor]).unwrap();
        let codes = codes(-3, -128, 127);
        let solved = solve(factor, Reach::Range(-100_000, 100_000), shift, codes);
        assert_ne!(solved.fit, Fit::Inexact);
        // Ties of whole factors do not exist.
        let wanted = if exponent < 0 {
            Rounding::Even
        } else {
            Rounding::Up
        };
        assert_eq!(solved.scale.rounding, wanted, "2^{exponent}");
        check(&[1.0], libm::exp2f(-exponent as f32), -100_000, 100_000, codes);
    }
}

#[test]
fn a_third_with_ties_has_no_exact_form() {
    // 1/6 rounds 3 to 0.5, 9 to 1.5, 15 to 2.5: ties alternate, and no binary fraction hits them.
    assert_eq!(check(&[1.0], 6.0, -1000, 1000, codes(0, -128, 127)), Fit::Inexact);
    // Where no tie is in reach it has one.
    assert_ne!(check(&[1.0], 6.0, -2, 2, codes(0, -128, 127)), Fit::Inexact);
    // One that reaches a single pair of ties takes a multiplier off the nearest or on one side of it.
    let factor = Factor::new(&[1.0], &[6.0], 1).unwrap();
    let solved = solve(factor, Reach::Range(0, 8), 0, codes(0, -128, 127));
    assert_ne!(solved.fit, Fit::Inexact);
}

#[test]
fn tiny_huge_and_empty_cases_are_solved() {
    let full = codes(5, -128, 127);
    check(
        &[1e-20, 1e-20],
        1.0,
        i64::from(i32::MIN) + 1,
        i64::from(i32::MAX),
        full,
    );
    check(&[1e-9], 7.0, i64::from(i32::MIN) + 1, i64::from(i32::MAX), full);
    check(&[f32::MIN_POSITIVE / 8.0], 3.0, -1000, 1000, full);
    check(&[1e8], 1.0, -3, 3, full);
    check(&[0.3], 1.0, 0, 0, full);
    check(&[0.3], 1.0, -50, 50, codes(0, 7, 7));
    check(&[0.3], 1.0, 500, 600, codes(-128, -128, 127));
    let huge = Factor::new(&[1e20], &[1e-3], 1).unwrap();
    assert_eq!(left_shift(&[huge]), None);
    assert_eq!(Factor::new(&[0.0], &[1.0], 1), None);
    assert_eq!(Factor::new(&[f32::NAN], &[1.0], 1), None);
    assert_eq!(Factor::new(&[1.0], &[f32::INFINITY], 1), None);
}

#[test]
fn counts_divide_exactly() {
    for count in [2u32, 3, 7, 48, 125] {
        let factor = Factor::new(&[0.3], &[0.7], count).unwrap();
        let wanted = real(0.3) / real(0.7) / whole(count.into());
        let scaled = factor.scaled(60);
        let difference = (BigRational::from_integer(scaled.into()) - wanted * whole(1 << 60)).to_integer();
        assert_eq!(difference, BigInt::from(0));
    }
}

#[test]
fn accumulators_are_bounded_tightly() {
    let sum = accumulator([1i8, -2, 3].into_iter(), 10, -128).unwrap();
    // x − zp is 0..=255.
    assert_eq!(
        (sum.min, sum.max, sum.folded_bias),
        (10 - 2 * 255, 10 + 4 * 255, 10 + 128 * 2)
    );
    assert!(accumulator(std::iter::repeat_n(127, 70_000), 0, -128).is_err());
    assert!(accumulator([1i8].into_iter(), i64::from(i32::MAX), 0).is_err());
}

/// All pairs of `a` and `b`, exactly.
fn check_pair(a: (f32, i32), b: (f32, i32), subtract: bool, out: f32, codes: Codes) -> Fit {
    let every: Vec<i8> = (i8::MIN..=i8::MAX).collect();
    let side = |(scale, zero_point)| Side {
        scale,
        zero_point,
        codes: &every,
    };
    let found = pair(side(a), side(b), subtract, out, codes).unwrap();
    let (ra, rb) = (real(a.0) / real(out), real(b.0) / real(out));
    let mut all = true;
    // Rational arithmetic on all 65,536 pairs is slow; a row in seven and a column in three see every residue.
    for x in (-128..128i64).step_by(7) {
        let left = whole(x - i64::from(a.1)) * &ra;
        for y in (-128..128i64).step_by(3) {
            let right = whole(y - i64::from(b.1)) * &rb;
            let sum = if subtract { &left - right } else { &left + right };
            let wanted = half_even(&sum) + i64::from(codes.zero_point);
            let wanted = wanted.max(codes.min.into()).min(codes.max.into());
            let product = (x - i64::from(a.1)) * i64::from(found.a_multiplier)
                + (y - i64::from(b.1)) * i64::from(found.b_multiplier);
            if !found.wide {
                assert!(i32::try_from(product + (1 << (found.right_shift - 1))).is_ok());
            }
            let got = round_shift(product, found.right_shift.into(), found.rounding);
            let got = got + i64::from(codes.zero_point);
            let got = got.max(codes.min.into()).min(codes.max.into());
            all &= got == wanted;
        }
    }
    assert!(
        all || found.fit == Fit::Inexact,
        "{a:?} {b:?} {subtract} {out}: {found:?}"
    );
    found.fit
}

#[test]
fn sums_of_pairs_are_exact() {
    let mut random = Random(2);
    let mut inexact = 0;
    for _ in 0..16 {
        let a = (random.scale(-4), random.below(256) as i32 - 128);
        let b_exponent = random.below(6) as i32 - 7;
        let b = (random.scale(b_exponent), random.below(256) as i32 - 128);
        let out = random.scale(-4);
        let fit = check_pair(
            a,
            b,
            random.below(2) == 1,
            out,
            codes(-128 + random.below(256) as i32, -128, 127),
        );
        inexact += usize::from(fit == Fit::Inexact);
    }
    assert!(inexact <= 2, "{inexact} of 16");
    // Equal scales over twice the scale: ties everywhere.
    assert_ne!(
        check_pair((0.5, 3), (0.5, -7), false, 1.0, codes(4, -128, 127)),
        Fit::Inexact
    );
    assert_ne!(
        check_pair((0.25, 3), (0.5, -7), true, 1.0, codes(4, 4, 127)),
        Fit::Inexact
    );
    // Operands far apart.
    check_pair((1.0, 3), (1e-30, -7), false, 1.0, codes(0, -128, 127));
    check_pair((1e-30, 3), (2.0, -7), false, 1.0, codes(0, -128, 127));
}

#[test]
fn tables_are_exact() {
    let mut random = Random(3);
    let params = |random: &mut Random, exponent| QuantParams {
        scale: random.scale(exponent),
        zero_point: random.below(256) as i32 - 128,
    };
    for round in 0..20 {
        let (from, to) = (params(&mut random, -3), params(&mut random, -3));
        let constant = (random.scale(round % 5 - 2), [1.0, -1.0][random.below(2) as usize]);
        let constant = constant.0 * constant.1;
        let wanted =
            |steps: BigRational| (half_even(&steps) + i64::from(to.zero_point)).clamp(-128, 127) as i8;
        let tables = [BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul, BinaryKind::Div].map(|kind| {
            let constant = Dyadic::new(constant).unwrap();
            binary_constant(kind, from, constant, false, to, Clamp::NONE)
                .unwrap()
                .0
        });
        let same = requantize(from, to, Clamp::NONE);
        for code in -128..128i64 {
            let x = whole(code - i64::from(from.zero_point)) * real(from.scale);
            let at = (code + 128) as usize;
            let c = real(constant);
            assert_eq!(same[at] as i8, wanted(&x / real(to.scale)));
            assert_eq!(tables[0][at] as i8, wanted((&x + &c) / real(to.scale)));
            assert_eq!(tables[1][at] as i8, wanted((&x - &c) / real(to.scale)));
            assert_eq!(tables[2][at] as i8, wanted((&x * &c) / real(to.scale)));
            assert_eq!(tables[3][at] as i8, wanted((&x / &c) / real(to.scale)));
        }
    }
}

#[test]
fn a_sum_with_a_distant_constant_keeps_its_ties() {
    let from = QuantParams {
        scale: 0.5,
        zero_point: 0,
    };
    let to = QuantParams {
        scale: 1.0,
        zero_point: 0,
    };
    let tiny = Dyadic::new(1e-30).unwrap();
    let add = binary_constant(BinaryKind::Add, from, tiny, false, to, Clamp::NONE)
        .unwrap()
        .0;
    let subtract = binary_constant(BinaryKind::Sub, from, tiny, false, to, Clamp::NONE)
        .unwrap()
        .0;
    // 0.5 is a tie and goes to 0; a hair more goes to 1. 1.5 goes to 2; a hair less goes to 1.
    assert_eq!((add[129] as i8, subtract[131] as i8), (1, 1));
}

#[test]
fn functions_are_tabulated_in_f64() {
    let from = QuantParams {
        scale: 0.05,
        zero_point: 3,
    };
    let sigmoid = QuantParams {
        scale: 1.0 / 256.0,
        zero_point: -128,
    };
    let (table, unsure) = unary(UnaryKind::Sigmoid, from, sigmoid);
    assert_eq!(table[128 + 3] as i8, 0);
    assert_eq!(
        table[0] as i8,
        (256.0 / (1.0 + libm::exp(131.0 * 0.05))).round() as i8 - 127 - 1
    );
    assert!(unsure.is_empty());
    let (table, _) = unary(
        UnaryKind::Tanh,
        from,
        QuantParams {
            scale: 1.0 / 128.0,
            zero_point: 0,
        },
    );
    assert_eq!(table[255] as i8, 127);
    let clamp = UnaryKind::Clamp(Clamp {
        min: Some(0.0),
        max: Some(1.0),
    });
    let (table, _) = unary(clamp, from, from);
    assert_eq!((table[0] as i8, table[255] as i8), (3, 23));
}

#[test]
fn true_ties_are_no_doubt_and_what_is_no_number_is_zero() {
    let params = |scale: f32, zero_point| QuantParams { scale, zero_point };
    // Every odd code of the input is a tie of the output.
    let (from, to) = (params(0.0625, 1), params(0.125, -2));
    for kind in [
        UnaryKind::Abs,
        UnaryKind::Neg,
        UnaryKind::LeakyRelu { alpha: 0.5 },
        UnaryKind::Elu { alpha: 1.0 },
        UnaryKind::ThresholdedRelu { alpha: 0.0 },
        UnaryKind::Shrink {
            lambd: 0.5,
            bias: 0.25,
        },
    ] {
        let (table, unsure) = unary(kind, from, to);
        assert!(unsure.is_empty(), "{kind:?}");
        // 5 steps of 0.0625 are 2.5 of 0.125.
        let five = table[128 + 6] as i8 + 2;
        let wanted = match kind {
            UnaryKind::Neg => -2,
            UnaryKind::Shrink { .. } => 0,
            _ => 2,
        };
        assert_eq!(five, wanted, "{kind:?}");
    }
    let (table, unsure) = unary(UnaryKind::Sqrt, from, to);
    assert!(unsure.is_empty());
    assert_eq!(table[0] as i8, -2, "the root of a negative number");
    let (table, _) = unary(UnaryKind::Log, from, to);
    assert_eq!(table[128 + 1] as i8, -128, "the logarithm of zero");
    let (table, _) = unary(UnaryKind::Reciprocal, from, to);
    assert_eq!((table[128 + 1] as i8, table[128 + 17] as i8), (127, 6));
}
