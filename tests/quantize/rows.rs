//! Operators over whole rows of int8: layer normalization, whose codes are exact, and an LSTM, whose codes are next to it.

use num_rational::BigRational;
use tinsmith::op::quant::QuantParams;
use tinsmith::op::tensor::Values;
use tinsmith::op::{Gives, LayerNorm, Lstm, Op};

use super::case::Case;
use super::lowering::refusal;

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
