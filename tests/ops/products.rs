//! Matrix products and convolutions against loops written down from the formulas. The loops add in the documented
//! order, so the bits must be equal, whatever tiles the products were cut into.

use tinsmith::op::tensor::{Data, Values};
use tinsmith::op::{Clamp, Conv2d, Dense, MatMul, Window};

use super::{Random, check, check_refused, counting, eval, f32s, i64s};

/// The formula of a convolution, one output at a time.
fn naive_conv(conv: &Conv2d, x: &Values, weights: &Values, bias: Option<&Values>, out: &[usize]) -> Values {
    let [n, h, w, c] = x.shape[..] else {
        panic!("rank 4")
    };
    let [kernel_h, kernel_w] = conv.window.kernel;
    let (in_group, out_group) = (c / conv.groups, out[3] / conv.groups);
    let (x, weights) = (x.as_f32().unwrap(), weights.as_f32().unwrap());
    let mut y = Vec::new();
    for image in 0..n {
        for (out_y, out_x) in (0..out[1]).flat_map(|i| (0..out[2]).map(move |j| (i, j))) {
            for o in 0..out[3] {
                let mut sum = 0.0;
                for (ky, kx) in (0..kernel_h).flat_map(|i| (0..kernel_w).map(move |j| (i, j))) {
                    let row = (out_y * conv.window.strides[0] + ky * conv.window.dilations[0])
                        .checked_sub(conv.window.pads[0])
                        .filter(|&row| row < h);
                    let column = (out_x * conv.window.strides[1] + kx * conv.window.dilations[1])
                        .checked_sub(conv.window.pads[1])
                        .filter(|&column| column < w);
                    let (Some(row), Some(column)) = (row, column) else {
                        continue;
                    };
                    for i in 0..in_group {
                        let channel = o / out_group * in_group + i;
                        let x = x[((image * h + row) * w + column) * c + channel];
                        sum += x * weights[((o * kernel_h + ky) * kernel_w + kx) * in_group + i];
                    }
                }
                let sum = bias.map_or(sum, |bias| sum + bias.as_f32().unwrap()[o]);
                y.push(conv.clamp.apply(sum));
            }
        }
    }
    Values::f32(out, y)
}

#[test]
fn convolutions_of_all_kinds_equal_the_formula() {
    let mut random = Random(1);
    for case in 0..300 {
        let groups = [1, 1, 2, 3, 5, 8, 13][random.within(0, 6)];
        // Depthwise in every third case.
        let (in_group, out_group) = if case % 3 == 0 {
            (1, 1)
        } else {
            (random.within(1, 5), random.within(1, 11))
        };
        let kernel = [random.within(1, 4), random.within(1, 4)];
        let conv = Conv2d {
            window: Window {
                kernel,
                strides: [random.within(1, 3), random.within(1, 3)],
                dilations: [random.within(1, 2), random.within(1, 2)],
                pads: [0; 4].map(|_| random.within(0, 3)),
            },
            groups,
            clamp: if case % 2 == 0 { Clamp::RELU } else { Clamp::NONE },
        };
        let shape = [
            random.within(1, 2),
            random.within(7, 12),
            random.within(7, 12),
            groups * in_group,
        ];
        let x = random.reals(&shape);
        let weights = random.reals(&[groups * out_group, kernel[0], kernel[1], in_group]);
        let bias = (case % 4 < 2).then(|| random.reals(&[groups * out_group]));
        let mut inputs = vec![&x, &weights];
        inputs.extend(&bias);
        let y = eval(conv.clone(), &inputs).unwrap();
        let wanted = naive_conv(&conv, &x, &weights, bias.as_ref(), &y.shape);
        assert_eq!(y, wanted, "case {case}: {conv:?} on {}", x.ty());
    }
}

#[test]
fn convolutions_refuse_what_does_not_fit() {
    let conv = |groups| Conv2d {
        window: Window {
            kernel: [3, 3],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [0; 4],
        },
        groups,
        clamp: Clamp::NONE,
    };
    let x = counting(&[1, 2, 8, 4]);
    let reason = "an input that holds the window wanted: 2 rows padded to 2, the window spans 3";
    check_refused(conv(1), &[&x, &counting(&[1, 3, 3, 4])], reason);
    let reason = "groups that divide 4 input and 1 output channels wanted, 3 found";
    check_refused(conv(3), &[&x, &counting(&[1, 3, 3, 4])], reason);
    let reason = "`weights` as f32[4,3,3,2] wanted, f32[4,3,3,4] found";
    check_refused(conv(2), &[&x, &counting(&[4, 3, 3, 4])], reason);
    check_refused(
        conv(1),
        &[&i64s(&[1, 1, 1, 1], &[0]), &x],
        "`x` of f32 or f64 wanted, i64[1,1,1,1] found",
    );
}

#[test]
fn dense_equals_the_formula_at_every_size() {
    let mut random = Random(2);
    for (rows, features, outputs) in [
        (1, 1, 1),
        (1, 640, 128),
        (2, 33, 31),
        (3, 5, 70),
        (9, 600, 8),
        (13, 7, 33),
    ] {
        let x = random.reals(&[rows, features]);
        let weights = random.reals(&[outputs, features]);
        let bias = random.reals(&[outputs]);
        let (a, b) = (x.as_f32().unwrap(), weights.as_f32().unwrap());
        let y = (0..rows * outputs).map(|i| {
            let (row, o) = (i / outputs, i % outputs);
            let sum = (0..features).fold(0.0, |sum, k| sum + a[row * features + k] * b[o * features + k]);
            sum + bias.as_f32().unwrap()[o]
        });
        let wanted = Values::f32([rows, outputs], y.collect());
        check(Dense { clamp: Clamp::NONE }, &[&x, &weights, &bias], &wanted);
    }
}

#[test]
fn dense_takes_any_rank_and_clamps() {
    let relu = Dense { clamp: Clamp::RELU };
    let weights = f32s(&[2, 2], &[1.0, 1.0, 1.0, -1.0]);
    check(
        relu.clone(),
        &[&f32s(&[2], &[1.0, 2.0]), &weights],
        &f32s(&[2], &[3.0, 0.0]),
    );
    let x = f32s(&[2, 1, 2], &[1.0, 2.0, 5.0, 3.0]);
    check(
        relu.clone(),
        &[&x, &weights],
        &f32s(&[2, 1, 2], &[3.0, 0.0, 8.0, 2.0]),
    );
    check_refused(
        relu,
        &[&counting(&[3]), &weights],
        "`weights` as f32[2,3] wanted, f32[2,2] found",
    );
}

#[test]
fn matmul_follows_numpy() {
    let vector = f32s(&[2], &[1.0, 2.0]);
    let matrix = f32s(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    check(MatMul {}, &[&vector, &vector], &f32s(&[], &[5.0]));
    check(MatMul {}, &[&vector, &matrix], &f32s(&[3], &[9.0, 12.0, 15.0]));
    let column = f32s(&[3], &[1.0, 0.0, -1.0]);
    check(MatMul {}, &[&matrix, &column], &f32s(&[2], &[-2.0, -2.0]));
    // Two batches against one.
    let batches = counting(&[2, 1, 2]);
    check(
        MatMul {},
        &[&batches, &matrix],
        &f32s(&[2, 1, 3], &[4.0, 5.0, 6.0, 14.0, 19.0, 24.0]),
    );
    let swapped = f32s(&[2, 1, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
    check(
        MatMul {},
        &[&batches, &swapped],
        &f32s(&[2, 2, 1, 1], &[2.0, 8.0, 4.0, 18.0]),
    );
    let integers = Values::new([1, 2], Data::I32(vec![i32::MAX, 1]));
    let twos = Values::new([2, 1], Data::I32(vec![2, 2]));
    check(
        MatMul {},
        &[&integers, &twos],
        &Values::new([1, 1], Data::I32(vec![0])),
    );
    let reason = "a, b with a's columns as many as b's rows and batches that broadcast wanted, f32[2,3] and f32[2] found";
    check_refused(MatMul {}, &[&matrix, &vector], reason);
}

#[test]
fn an_empty_sum_is_zero() {
    check(
        MatMul {},
        &[&counting(&[2, 0]), &counting(&[0, 3])],
        &f32s(&[2, 3], &[0.0; 6]),
    );
    check(
        MatMul {},
        &[&counting(&[0, 2]), &counting(&[2, 3])],
        &f32s(&[0, 3], &[]),
    );
}
