//! Operators over computed int8 tensors against their meaning, and their proofs against exact rational arithmetic.

use num_bigint::BigInt;
use num_rational::BigRational;
use tinsmith::op::quant::QuantParams;
use tinsmith::op::rescale::{Codes, Fit, Side, quotient};
use tinsmith::op::tensor::Values;
use tinsmith::op::{AlongAxis, Binary, BinaryKind, Clamp, Gives, LayerNorm, Lstm, MatMul, Op, Resample};

use super::case::Case;
use super::lowering::refusal;

fn binary(kind: BinaryKind) -> Op {
    Op::Binary(kind.into())
}

#[test]
fn a_slope_for_each_channel_is_exact() {
    let reals = [0.25, -0.1, 0.0, 1.5, 0.013];
    let shapes: [(&[usize], &[usize]); 4] = [
        (&[1, 3, 4, 5], &[5]),
        (&[2, 5, 3, 4], &[5, 1, 1]),
        (&[6, 5], &[1, 5]),
        (&[5], &[5]),
    ];
    for (seed, (x, slope)) in shapes.into_iter().enumerate() {
        for quantized in [false, true] {
            for clamp in [Clamp::NONE, Clamp::RELU] {
                let mut case = Case::new(seed as u32 + 40);
                let (from, to) = (case.random.params(), case.random.params());
                let input = case.input("x", x, from);
                let slopes = if quantized {
                    let params = case.random.params();
                    case.constant("slope", slope, params)
                } else {
                    case.plain("slope", Values::f32(slope, reals.to_vec()))
                };
                let kind = BinaryKind::PRelu;
                case.node(Op::Binary(Binary { kind, clamp }), &[input, slopes], to);
                case.check();
            }
        }
    }
}

#[test]
fn slopes_that_no_channels_have_are_refused() {
    let mut case = Case::new(1);
    let params = case.random.params();
    let x = case.input("x", &[2, 3, 4], params);
    let slopes = case.constant("slope", &[2, 1, 4], params);
    case.node(binary(BinaryKind::PRelu), &[x, slopes], params);
    let reason = refusal(&case);
    assert!(
        reason.contains("node") && reason.contains("neighbouring axes"),
        "{reason}"
    );
    let mut case = Case::new(1);
    let x = case.input("x", &[2, 3], params);
    let slopes = case.input("slope", &[3], params);
    case.node(binary(BinaryKind::PRelu), &[x, slopes], params);
    let reason = refusal(&case);
    assert!(reason.contains("slopes are not constants"), "{reason}");
}

#[test]
fn quotients_of_tensors_are_exact() {
    let shapes: [(&[usize], &[usize]); 4] = [
        (&[1, 3, 4, 50], &[1, 3, 4, 50]),
        (&[1, 3, 4, 5], &[3, 1, 5]),
        (&[4, 1], &[1, 60]),
        (&[2, 1, 2, 1, 3, 1], &[1, 3, 1, 2, 1, 2]),
    ];
    for (seed, (a, b)) in shapes.into_iter().enumerate() {
        let mut case = Case::new(seed as u32 + 60);
        let (from, to) = (case.random.params(), case.random.params());
        let other = QuantParams {
            scale: 0.003,
            zero_point: -128,
        };
        let x = case.input("a", a, from);
        let y = case.input("b", b, other);
        case.node(binary(BinaryKind::Div), &[x, y], to);
        case.check();
    }
}

/// The exact code of a quotient.
fn wanted(n: i64, d: i64, factor: &BigRational, codes: Codes) -> i8 {
    let value = factor * BigRational::new(BigInt::from(n), BigInt::from(d));
    let (floor, half) = (value.floor(), BigRational::new(1.into(), 2.into()));
    let rest = &value - &floor;
    let floor = i64::try_from(floor.to_integer()).unwrap_or(1 << 40);
    let up = rest > half || (rest == half && floor & 1 == 1);
    let code = (floor + i64::from(up)).saturating_add(codes.zero_point.into());
    code.max(codes.min.into()).min(codes.max.into()) as i8
}

#[test]
fn quotients_are_proven_on_every_pair() {
    let all: Vec<i8> = (i8::MIN..=i8::MAX).collect();
    let cases = [
        (0.013f32, -7, 0.021f32, 12, 0.05f32, 3),
        (0.5, 0, 0.25, -128, 2.0, 0),
        (1.0, -128, 1.0, -128, 1.0, -128),
        (0.37, 5, 0.0011, 100, 40.0, 9),
        (1e-6, 0, 3.0, 0, 1.0, 0),
    ];
    for (a_scale, a_zero, b_scale, b_zero, scale, zero_point) in cases {
        let side = |scale, zero_point| Side {
            scale,
            zero_point,
            codes: &all,
        };
        let codes = Codes {
            zero_point,
            min: -128,
            max: 127,
        };
        let found = quotient(side(a_scale, a_zero), side(b_scale, b_zero), scale, codes).unwrap();
        assert_ne!(found.fit, Fit::Inexact);
        let real = |x: f32| BigRational::from_float(x).unwrap();
        let factor = real(a_scale) / (real(b_scale) * real(scale));
        for (i, &b) in all.iter().enumerate().filter(|(i, _)| i % 5 == 0 || *i > 250) {
            for &a in &all {
                let (n, d) = (i64::from(a) - i64::from(a_zero), i64::from(b) - i64::from(b_zero));
                if d == 0 {
                    continue;
                }
                // What the record means, in exact integers.
                let (above, below) = (
                    i128::from(n * d.signum()) * i128::from(found.multiplier),
                    i128::from(d.abs()) << found.right_shift,
                );
                let (floor, rest) = (above.div_euclid(below), above.rem_euclid(below));
                let up = 2 * rest > below || (2 * rest == below && floor & 1 == 1);
                let code = (floor + i128::from(up) + i128::from(zero_point)).clamp(-128, 127) as i8;
                assert_eq!(code, wanted(n, d, &factor, codes), "{a} / {b} ({i}): {found:?}");
            }
        }
    }
    let side = |scale| Side {
        scale,
        zero_point: 0,
        codes: &all,
    };
    let codes = Codes {
        zero_point: 0,
        min: -128,
        max: 127,
    };
    assert_eq!(quotient(side(1e30), side(1.0), 1e-9, codes), None);
    assert_eq!(quotient(side(f32::NAN), side(1.0), 1.0, codes), None);
}

#[test]
fn a_division_by_zero_saturates() {
    let unit = |zero_point| QuantParams {
        scale: 1.0,
        zero_point,
    };
    let mut case = Case::new(3);
    let x = case.input("x", &[3], unit(0));
    let zero = case.constant("zero", &[3], unit(0));
    let codes = vec![0i8; 3];
    case.graph.tensors[zero].data = Some(std::sync::Arc::new(Values::new(
        [3],
        tinsmith::op::tensor::Data::I8(codes),
    )));
    case.node(binary(BinaryKind::Div), &[x, zero], unit(7));
    let found = case.codes(&[vec![5, -5, 0]]);
    assert_eq!(found, [127, -128, 7]);
}

#[test]
fn products_of_computed_matrices_are_exact() {
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[4, 7], &[7, 5]),
        (&[2, 3, 4, 16], &[2, 3, 16, 35]),
        (&[2, 1, 4, 6], &[3, 6, 2]),
        (&[9], &[9, 4]),
        (&[3, 9], &[9]),
        (&[8], &[8]),
        (&[3, 2, 2], &[2, 40]),
    ];
    for (seed, (a, b)) in shapes.into_iter().enumerate() {
        for constant in [false, true] {
            let mut case = Case::new(seed as u32 + 80);
            let (from, other, to) = (case.random.params(), case.random.params(), case.random.params());
            let x = case.input("a", a, from);
            let y = if constant {
                case.constant("b", b, other)
            } else {
                case.input("b", b, other)
            };
            case.node(Op::MatMul(MatMul {}), &[x, y], to);
            case.check();
        }
    }
}

#[test]
fn products_beyond_32_bits_are_refused() {
    let mut case = Case::new(1);
    let params = QuantParams {
        scale: 0.1,
        zero_point: -128,
    };
    let x = case.input("x", &[1, 40_000], params);
    let y = case.input("y", &[40_000, 1], params);
    case.node(Op::MatMul(MatMul {}), &[x, y], params);
    let reason = refusal(&case);
    assert!(reason.contains("node") && reason.contains("32-bit"), "{reason}");
}

/// Outputs between pairs of neighbours, weighted by parts of `denominator`.
fn linear(axis: usize, extent: usize, outputs: usize, denominator: usize) -> AlongAxis {
    let mut along = AlongAxis {
        axis,
        taps: 2,
        sources: Vec::new(),
        weights: Vec::new(),
    };
    for output in 0..outputs {
        let at = (output * 7 + 1) % ((extent - 1) * denominator);
        let (low, part) = (at / denominator, at % denominator);
        along.sources.extend([low, low + 1]);
        let high = part as f64 / denominator as f64;
        along.weights.extend([1.0 - high, high]);
    }
    along
}

/// Codes of means in whole parts, ties to even: `x` is `[5, 4, 3]`, zero points are the same.
fn means(
    x: &[i8],
    rows: &AlongAxis,
    columns: &AlongAxis,
    denominators: [usize; 2],
    zero_point: i32,
) -> Vec<i8> {
    let parts = |weight: f64, side: usize| (weight * denominators[side] as f64).round() as i64;
    let total = (denominators[0] * denominators[1]) as i64;
    let mut codes = Vec::new();
    for row in 0..rows.sources.len() / 2 {
        for column in 0..columns.sources.len() / 2 {
            for channel in 0..3 {
                let mut sum = 0;
                for r in 2 * row..2 * row + 2 {
                    for c in 2 * column..2 * column + 2 {
                        let at = (rows.sources[r] * 4 + columns.sources[c]) * 3 + channel;
                        let weight = parts(rows.weights[r], 0) * parts(columns.weights[c], 1);
                        sum += weight * (i64::from(x[at]) - i64::from(zero_point));
                    }
                }
                let (floor, rest) = (sum.div_euclid(total), sum.rem_euclid(total));
                let up = 2 * rest > total || (2 * rest == total && floor & 1 == 1);
                codes.push((floor + i64::from(up) + i64::from(zero_point)) as i8);
            }
        }
    }
    codes
}

#[test]
fn weighted_resampling_is_exact() {
    for (seed, denominators) in [[4, 4], [3, 5], [16, 1], [39, 2], [6, 4]].into_iter().enumerate() {
        for same in [true, false] {
            let mut case = Case::new(seed as u32 + 100);
            let (from, other) = (case.random.params(), case.random.params());
            let x = case.input("x", &[1, 5, 4, 3], from);
            let rows = linear(1, 5, 29, denominators[0]);
            let columns = linear(2, 4, 17, denominators[1]);
            let op = Resample {
                first: rows.clone(),
                second: Some(columns.clone()),
            };
            case.node(Op::Resample(op), &[x], if same { from } else { other });
            if same {
                // Ties of sixths are none in f64.
                let codes = case.random.codes(60);
                let wanted = means(&codes, &rows, &columns, denominators, from.zero_point);
                assert_eq!(case.codes(&[codes]), wanted, "{denominators:?}");
            } else {
                case.check_blob();
            }
        }
    }
    // One axis, the last one, of four taps some of whose weights are negative.
    let mut case = Case::new(120);
    let (from, to) = (case.random.params(), case.random.params());
    let x = case.input("x", &[3, 8], from);
    let along = AlongAxis {
        axis: 1,
        taps: 4,
        sources: vec![0, 1, 2, 3, 4, 5, 6, 7],
        weights: vec![-0.09375, 0.59375, 0.59375, -0.09375, 0.0, 1.0, -0.25, 0.25],
    };
    case.node(Op::Resample(along.into()), &[x], to);
    case.check_blob();
}

#[test]
fn weights_that_are_no_ratios_are_listed() {
    let mut case = Case::new(1);
    let params = case.random.params();
    let x = case.input("x", &[1, 2, 3], params);
    let root = 0.5f64.sqrt();
    let along = AlongAxis {
        axis: 1,
        taps: 2,
        sources: vec![0, 1, 0, 1],
        weights: vec![0.5, 0.5, root, 1.0 - root],
    };
    case.node(Op::Resample(along.into()), &[x], params);
    let reason = refusal(&case);
    assert!(reason.contains("node") && reason.contains('1'), "{reason}");
}

/// Whether `value·factor + offset` is nearest to `code` steps, where `factor = sign·√square`, in exact numbers.
fn is_nearest(square: &BigRational, sign: i64, offset: &BigRational, code: i64, open: [bool; 2]) -> bool {
    let half = BigRational::new(1.into(), 2.into());
    let zero = BigRational::from_integer(0.into());
    // Whether sign·√square < bound.
    let less = |bound: BigRational| match (sign < 0, bound < zero) {
        (false, true) => false,
        (false, false) => *square < &bound * &bound,
        (true, false) => bound > zero || *square > zero,
        (true, true) => *square > &bound * &bound,
    };
    let at = BigRational::from_integer(code.into()) - offset;
    (open[0] || !less(&at - &half)) && (open[1] || less(at + half))
}

#[test]
fn layer_normalization_is_exact() {
    for (seed, (shape, axis, epsilon)) in [
        (vec![3, 16], 1, 1e-5f32),
        (vec![2, 4, 5], 1, 1e-3),
        (vec![40, 3], 1, 1e-12),
        (vec![2, 1, 300], 2, 0.5),
    ]
    .into_iter()
    .enumerate()
    {
        for affine in 0..4 {
            let mut case = Case::new(seed as u32 + 140);
            let (from, to) = (case.random.params(), case.random.params());
            let x = case.input("x", &shape, from);
            let row: Vec<usize> = shape[axis..].to_vec();
            let width: usize = row.iter().product();
            let reals = |scale: f32| {
                (0..width)
                    .map(|i| (i as f32 * 0.7).sin() * scale)
                    .collect::<Vec<f32>>()
            };
            let inputs = match affine {
                0 => vec![x],
                1 => vec![x, case.plain("scale", Values::f32(row, reals(1.5)))],
                2 => {
                    let scale = case.plain("scale", Values::f32(row.clone(), reals(2.0)));
                    let bias = case.plain("bias", Values::f32(row, reals(0.4)));
                    vec![x, scale, bias]
                }
                _ => {
                    let (one, other) = (case.random.params(), case.random.params());
                    let scale = case.constant("scale", &row, one);
                    vec![x, scale, case.constant("bias", &row, other)]
                }
            };
            case.node(Op::LayerNorm(LayerNorm { axis, epsilon }), &inputs, to);
            case.check();
        }
    }
}

#[test]
fn layer_normalization_rounds_exact_values() {
    let real = |x: f32| BigRational::from_float(x).unwrap();
    let whole = |x: i64| BigRational::from_integer(x.into());
    let (width, epsilon) = (7usize, 2e-5f32);
    for seed in 0..12 {
        let mut case = Case::new(seed + 170);
        let (from, to) = (case.random.params(), case.random.params());
        let x = case.input("x", &[30, width], from);
        let slopes: Vec<f32> = (0..width).map(|i| (i as f32 - 2.5) * 0.37).collect();
        let offsets: Vec<f32> = (0..width).map(|i| i as f32 * 0.11 - 0.3).collect();
        let scale = case.plain("scale", Values::f32([width], slopes.clone()));
        let bias = case.plain("bias", Values::f32([width], offsets.clone()));
        case.node(
            Op::LayerNorm(LayerNorm { axis: 1, epsilon }),
            &[x, scale, bias],
            to,
        );
        let mut codes = case.random.codes(30 * width);
        codes[..width].fill(9);
        let found = case.codes(&[codes.clone()]);
        for (row, found) in codes.chunks(width).zip(found.chunks(width)) {
            let n = width as i64;
            let sum: i64 = row.iter().map(|&c| i64::from(c)).sum();
            let squares: i64 = row.iter().map(|&c| i64::from(c) * i64::from(c)).sum();
            let variance = whole(n * squares - sum * sum)
                + real(epsilon) * whole(n * n) / (real(from.scale) * real(from.scale));
            for (i, (&c, &found)) in row.iter().zip(found).enumerate() {
                let distance = n * i64::from(c) - sum;
                let factor = whole(distance) * real(slopes[i]) / real(to.scale);
                let sign = if factor < whole(0) { -1 } else { 1 };
                let square = &factor * &factor / &variance;
                let offset = real(offsets[i]) / real(to.scale);
                let steps = i64::from(found) - i64::from(to.zero_point);
                let open = [found == -128, found == 127];
                assert!(
                    is_nearest(&square, sign, &offset, steps, open),
                    "{row:?}[{i}]: {found}"
                );
            }
        }
    }
}

#[test]
fn normalizations_without_numbers_are_refused() {
    let mut case = Case::new(1);
    let params = case.random.params();
    let x = case.input("x", &[2, 4], params);
    let scale = case.input("scale", &[4], params);
    let op = LayerNorm {
        axis: 1,
        epsilon: 1e-5,
    };
    case.node(Op::LayerNorm(op), &[x, scale], params);
    let reason = refusal(&case);
    assert!(
        reason.contains("node") && reason.contains("scale is not a constant"),
        "{reason}"
    );
    let mut case = Case::new(1);
    let x = case.input("x", &[2, 4], params);
    let op = LayerNorm {
        axis: 1,
        epsilon: 0.0,
    };
    case.node(Op::LayerNorm(op), &[x], params);
    assert!(refusal(&case).contains("epsilon"));
}

#[test]
fn an_lstm_is_next_to_its_meaning() {
    for seed in 0..6 {
        for gives in [Gives::States, Gives::Cell] {
            let mut case = Case::new(seed + 200);
            let (steps, batch, features, hidden) = (6, 2, 9, 5);
            let from = case.random.params();
            let unit = QuantParams {
                scale: 1.0 / 128.0,
                zero_point: 0,
            };
            let wide = QuantParams {
                scale: 4.0 / 128.0,
                zero_point: 3,
            };
            let x = case.input("x", &[steps, batch, features], from);
            let weights = case.weights(&[4 * hidden, features]);
            let bias = (0..4 * hidden).map(|i| (i as f32).sin()).collect();
            let bias = case.plain("bias", Values::f32([4 * hidden], bias));
            let recurrence = case.weights(&[4 * hidden, hidden]);
            case.graph.tensors[recurrence].name = "recurrence".into();
            let h = case.input("h", &[batch * hidden], unit);
            let c = case.input("c", &[batch * hidden], wide);
            let to = if gives == Gives::States { unit } else { wide };
            let op = Lstm {
                gives,
                backward: seed % 2 == 1,
            };
            case.node(Op::Lstm(op), &[x, weights, bias, recurrence, h, c], to);
            // Of states of 16 bits, a code is off by one at most, and seldom.
            let off = case.distances();
            assert!(off.iter().all(|&distance| distance <= 1), "{seed} {gives:?}");
            let differ = off.iter().filter(|&&distance| distance > 0).count();
            assert!(differ * 50 <= off.len(), "{differ} of {}", off.len());
        }
    }
}
