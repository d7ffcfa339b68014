//! Operators over computed int8 tensors against their meaning, and their proofs against exact rational arithmetic.

use num_bigint::BigInt;
use num_rational::BigRational;
use tinsmith::op::quant::QuantParams;
use tinsmith::op::rescale::{Codes, Fit, Side, quotient};
use tinsmith::op::tensor::Values;
use tinsmith::op::{AlongAxis, Binary, BinaryKind, Clamp, MatMul, Op, Reduce, ReduceKind, Resample};

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

#[test]
fn sums_along_axes_are_exact() {
    let shapes: [(&[usize], &[usize]); 4] = [
        (&[2, 3, 4, 5], &[1, 2]),
        (&[6, 40], &[1]),
        (&[7, 3], &[0]),
        (&[2, 3], &[0, 1]),
    ];
    for (seed, (shape, axes)) in shapes.into_iter().enumerate() {
        let mut case = Case::new(seed as u32 + 220);
        let (from, to) = (case.random.params(), case.random.params());
        let x = case.input("x", shape, from);
        let to = QuantParams {
            scale: to.scale * 3.0,
            ..to
        };
        let op = Reduce {
            kind: ReduceKind::Sum,
            axes: axes.to_vec(),
        };
        case.node(Op::Reduce(op), &[x], to);
        case.check();
    }
}
