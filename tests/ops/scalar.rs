//! Operators that act on each element: arithmetic, activations, casts, softmax, means.

use tinsmith::op::tensor::{DType, Data, Values};
use tinsmith::op::{
    Attention, BatchNormalization, Binary, BinaryKind, Cast, Clamp, Heads, LayerNorm, Reduce, ReduceKind,
    Softmax, SoftmaxKind, Unary, UnaryKind,
};

use super::{check, check_refused, counting, eval, f32s, i64s};

fn binary(kind: BinaryKind) -> Binary {
    Binary {
        kind,
        clamp: Clamp::NONE,
    }
}

fn i32s(shape: &[usize], elements: &[i32]) -> Values {
    Values::new(shape, Data::I32(elements.to_vec()))
}

#[test]
fn arithmetic_broadcasts_both_ways() {
    let column = f32s(&[2, 1], &[10.0, 20.0]);
    let row = f32s(&[3], &[1.0, 2.0, 4.0]);
    check(
        binary(BinaryKind::Add),
        &[&column, &row],
        &f32s(&[2, 3], &[11.0, 12.0, 14.0, 21.0, 22.0, 24.0]),
    );
    check(
        binary(BinaryKind::Sub),
        &[&row, &column],
        &f32s(&[2, 3], &[-9.0, -8.0, -6.0, -19.0, -18.0, -16.0]),
    );
    check(
        binary(BinaryKind::Div),
        &[&column, &row],
        &f32s(&[2, 3], &[10.0, 5.0, 2.5, 20.0, 10.0, 5.0]),
    );
    let scalar = f32s(&[], &[3.0]);
    check(binary(BinaryKind::Mul), &[&scalar, &scalar], &f32s(&[], &[9.0]));
}

#[test]
fn a_fused_clamp_limits_the_result() {
    let add = Binary {
        kind: BinaryKind::Add,
        clamp: Clamp {
            min: Some(0.0),
            max: Some(6.0),
        },
    };
    let x = f32s(&[4], &[-5.0, 1.0, 9.0, f32::NAN]);
    let y = eval(add, &[&x, &f32s(&[], &[1.0])]).unwrap();
    assert_eq!(&y.as_f32().unwrap()[..3], [0.0, 2.0, 6.0]);
    assert!(y.as_f32().unwrap()[3].is_nan());
}

#[test]
fn integers_wrap_and_divide_toward_zero() {
    let a = i32s(&[4], &[i32::MAX, i32::MIN, -7, 7]);
    let b = i32s(&[4], &[1, -1, 2, -2]);
    check(
        binary(BinaryKind::Add),
        &[&a, &b],
        &i32s(&[4], &[i32::MIN, i32::MAX, -5, 5]),
    );
    check(
        binary(BinaryKind::Div),
        &[&a, &b],
        &i32s(&[4], &[i32::MAX, i32::MIN, -3, -3]),
    );
    check(
        binary(BinaryKind::Mul),
        &[&a, &b],
        &i32s(&[4], &[i32::MAX, i32::MIN, -14, -14]),
    );
    let bytes = |v: &[u8]| Values::new([v.len()], Data::U8(v.to_vec()));
    check(
        binary(BinaryKind::Sub),
        &[&bytes(&[3, 200]), &bytes(&[4, 100])],
        &bytes(&[255, 100]),
    );
}

#[test]
fn an_integer_over_zero_is_refused_and_a_float_is_not() {
    let zero = i64s(&[], &[0]);
    let reason = "divisors other than zero wanted, an integer 0 found";
    check_refused(binary(BinaryKind::Div), &[&i64s(&[2], &[1, 2]), &zero], reason);
    check(
        binary(BinaryKind::Div),
        &[&f32s(&[1], &[1.0]), &f32s(&[], &[0.0])],
        &f32s(&[1], &[f32::INFINITY]),
    );
}

#[test]
fn operands_must_fit() {
    let reason = "shapes that broadcast to one another wanted, f32[2,3] and f32[2] found";
    check_refused(
        binary(BinaryKind::Add),
        &[&counting(&[2, 3]), &counting(&[2])],
        reason,
    );
    check_refused(
        binary(BinaryKind::Add),
        &[&counting(&[2]), &i64s(&[2], &[1, 2])],
        "`b` of f32 wanted, i64[2] found",
    );
    check_refused(
        binary(BinaryKind::Add),
        &[&counting(&[2])],
        "2 inputs wanted, 1 found",
    );
}

#[test]
fn activations_limit_and_pass_nan() {
    let unary = |kind| Unary { kind };
    let x = f32s(&[4], &[-2.0, 0.5, 8.0, f32::NAN]);
    let y = eval(unary(UnaryKind::Clamp(Clamp::RELU)), &[&x]).unwrap();
    assert_eq!(&y.as_f32().unwrap()[..3], [0.0, 0.5, 8.0]);
    assert!(y.as_f32().unwrap()[3].is_nan());
    let six = Clamp {
        min: Some(-0.5),
        max: Some(6.0),
    };
    let integers = Values::new([3], Data::I8(vec![-128, 3, 127]));
    check(
        unary(UnaryKind::Clamp(six)),
        &[&integers],
        &Values::new([3], Data::I8(vec![0, 3, 6])),
    );
    let wide = Clamp {
        min: Some(-1e9),
        max: Some(1e9),
    };
    check(unary(UnaryKind::Clamp(wide)), &[&integers], &integers);
}

#[test]
fn sigmoid_and_tanh_saturate_without_nan() {
    let x = f32s(&[5], &[0.0, -200.0, 200.0, f32::NEG_INFINITY, 1.0]);
    let sigmoid = eval(
        Unary {
            kind: UnaryKind::Sigmoid,
        },
        &[&x],
    )
    .unwrap();
    let sigmoid = sigmoid.as_f32().unwrap();
    assert_eq!(&sigmoid[..4], [0.5, 0.0, 1.0, 0.0]);
    // 1 / (1 + e^−1) and tanh 1 to ten digits.
    assert!((f64::from(sigmoid[4]) - 0.731_058_578_6).abs() < 1e-7);
    let tanh = eval(
        Unary {
            kind: UnaryKind::Tanh,
        },
        &[&x],
    )
    .unwrap();
    let tanh = tanh.as_f32().unwrap();
    assert_eq!(&tanh[..4], [0.0, -1.0, 1.0, -1.0]);
    assert!((f64::from(tanh[4]) - 0.761_594_155_9).abs() < 1e-7);
}

#[test]
fn softmax_is_stable_and_sums_to_one_along_its_axis() {
    let x = f32s(&[2, 2], &[1000.0, 0.0, 1000.0, 0.0]);
    check(Softmax::along(0), &[&x], &f32s(&[2, 2], &[0.5; 4]));
    check(Softmax::along(1), &[&x], &f32s(&[2, 2], &[1.0, 0.0, 1.0, 0.0]));
    let y = eval(Softmax::along(0), &[&f32s(&[3], &[0.0, 1.0, 2.0])]).unwrap();
    for (y, wanted) in y
        .as_f32()
        .unwrap()
        .iter()
        .zip([0.090_030_57, 0.244_728_47, 0.665_240_96])
    {
        assert!((y - wanted).abs() < 1e-7, "{y} {wanted}");
    }
}

#[test]
fn layer_norm_is_numpys_in_every_type() {
    let x = f32s(&[2, 3], &[1.0, 2.0, 4.0, -1.0, 0.0, 5.0]);
    let (scale, bias) = (f32s(&[3], &[2.0, 1.0, -1.0]), f32s(&[3], &[0.0, 1.0, 0.5]));
    // `(x − x.mean(1)) / sqrt(x.var(1) + 0.5)`, alone and with scale and bias, in NumPy's f64.
    let normal = [
        -0.929_981_1,
        -0.232_495_28,
        1.162_476_4,
        -0.858_395_1,
        -0.490_511_48,
        1.348_906_5,
    ];
    let full = [
        -1.859_962_2,
        0.767_504_7,
        -0.662_476_4,
        -1.716_790_2,
        0.509_488_5,
        -0.848_906_5,
    ];
    let op = || LayerNorm {
        axis: 1,
        epsilon: 0.5,
    };
    for (dtype, tolerance) in [
        (DType::F64, 1e-6),
        (DType::F32, 1e-6),
        (DType::F16, 2e-3),
        (DType::BF16, 2e-2),
    ] {
        let cast = |values: &Values| Values::new(values.shape.clone(), values.data.cast(dtype));
        let (x, scale, bias) = (cast(&x), cast(&scale), cast(&bias));
        for (inputs, wanted) in [(vec![&x], normal), (vec![&x, &scale, &bias], full)] {
            let y = eval(op(), &inputs).unwrap();
            assert_eq!(y.data.dtype(), dtype);
            for (y, wanted) in y.to_f64().iter().zip(wanted) {
                assert!((y - wanted).abs() < tolerance, "{dtype}: {y} {wanted}");
            }
        }
    }
    let error = eval(op(), &[&x, &f32s(&[1, 3], &[1.0; 3])]).unwrap_err();
    assert_eq!(error.reason, "`scale` as f32[3] wanted, f32[1,3] found");
    let broken = LayerNorm {
        axis: 1,
        epsilon: -1.0,
    };
    let error = eval(broken, &[&x]).unwrap_err();
    assert_eq!(error.reason, "an epsilon from 0 wanted, -1 found");
}

#[test]
fn attention_weighs_values_by_heads() {
    let op = |heads: [Heads; 4]| Attention {
        scale: 1.0,
        kind: SoftmaxKind::Attended,
        heads,
    };
    use Heads::{Inside, Outside};
    // Two query heads, one query each; one key head of two keys: ln 3 apart for the first head, out of sight of the second.
    let three = libm::logf(3.0);
    let q = f32s(&[1, 2, 1, 1], &[three, 1.0]);
    let k = f32s(&[1, 1, 2, 1], &[1.0, 0.0]);
    let v = f32s(&[1, 1, 2, 2], &[4.0, 8.0, 0.0, -4.0]);
    let mask = f32s(&[1, 2, 1, 1], &[0.5, f32::NEG_INFINITY]);
    let y = eval(op([Outside; 4]), &[&q, &k, &v, &mask]).unwrap();
    for (y, wanted) in y.to_f64().iter().zip([3.0, 5.0, 0.0, 0.0]) {
        assert!((y - wanted).abs() < 1e-5, "{y} {wanted}");
    }
    // The same with heads inside.
    let [q_inside, k_inside, v_inside] = [
        q.reshaped([1, 1, 2, 1]),
        k.reshaped([1, 2, 1, 1]),
        v.reshaped([1, 2, 1, 2]),
    ];
    let inside = eval(op([Inside; 4]), &[&q_inside, &k_inside, &v_inside, &mask]).unwrap();
    assert_eq!(inside.shape, [1, 1, 2, 2]);
    assert_eq!(inside.data, y.data);
    let error = eval(op([Outside; 4]), &[&q, &k, &v_inside]).unwrap_err();
    assert!(error.reason.starts_with("q, k and v of one batch"), "{error}");
    let error = eval(op([Outside; 4]), &[&q, &k, &v, &f32s(&[1, 3, 1, 1], &[0.0; 3])]).unwrap_err();
    assert!(error.reason.starts_with("a `mask` of rank 4"), "{error}");
}

#[test]
fn means_keep_their_axes() {
    let x = counting(&[2, 2, 3]);
    check(
        Reduce {
            kind: ReduceKind::Mean,
            axes: vec![1],
        },
        &[&x],
        &f32s(&[2, 1, 3], &[1.5, 2.5, 3.5, 7.5, 8.5, 9.5]),
    );
    check(
        Reduce {
            kind: ReduceKind::Mean,
            axes: vec![0, 2],
        },
        &[&x],
        &f32s(&[1, 2, 1], &[4.0, 7.0]),
    );
    check(
        Reduce {
            kind: ReduceKind::Mean,
            axes: vec![],
        },
        &[&x],
        &x,
    );
    check_refused(
        Reduce {
            kind: ReduceKind::Mean,
            axes: vec![3],
        },
        &[&x],
        "an axis below 3 wanted for f32[2,2,3], 3 found",
    );
}

#[test]
fn a_long_mean_loses_nothing() {
    // Summed in f32, ones would stop counting at 2^24.
    let n = (1 << 24) + 2;
    let x = Values::f32([n], vec![1.0; n]);
    check(
        Reduce {
            kind: ReduceKind::Mean,
            axes: vec![0],
        },
        &[&x],
        &f32s(&[1], &[1.0]),
    );
}

#[test]
fn batch_normalization_is_per_channel() {
    let x = f32s(&[1, 2, 2], &[1.0, 10.0, 3.0, 30.0]);
    let per_channel = |a, b| f32s(&[2], &[a, b]);
    let (scale, bias) = (per_channel(2.0, 1.0), per_channel(0.5, -1.0));
    let (mean, variance) = (per_channel(1.0, 20.0), per_channel(3.0, 99.0));
    check(
        BatchNormalization { epsilon: 1.0 },
        &[&x, &scale, &bias, &mean, &variance],
        &f32s(&[1, 2, 2], &[0.5, -2.0, 2.5, 0.0]),
    );
}

#[test]
fn casts_cut_saturate_and_wrap() {
    let cast = |to| Cast { to };
    let reals = f32s(&[6], &[1.9, -1.9, 300.0, -300.0, f32::NAN, 0.0]);
    check(
        cast(DType::I8),
        &[&reals],
        &Values::new([6], Data::I8(vec![1, -1, 127, -128, 0, 0])),
    );
    check(
        cast(DType::U8),
        &[&reals],
        &Values::new([6], Data::U8(vec![1, 0, 255, 0, 0, 0])),
    );
    check(
        cast(DType::Bool),
        &[&reals],
        &Values::new([6], Data::Bool(vec![true, true, true, true, true, false])),
    );
    let integers = i64s(&[3], &[257, -1, (1 << 24) + 1]);
    check(
        cast(DType::U8),
        &[&integers],
        &Values::new([3], Data::U8(vec![1, 255, 1])),
    );
    check(
        cast(DType::F32),
        &[&integers],
        &f32s(&[3], &[257.0, -1.0, 16_777_216.0]),
    );
    check(
        cast(DType::F64),
        &[&integers],
        &Values::new([3], Data::F64(vec![257.0, -1.0, 16_777_217.0])),
    );
    let truths = Values::new([2], Data::Bool(vec![true, false]));
    check(cast(DType::F32), &[&truths], &f32s(&[2], &[1.0, 0.0]));
}

#[test]
fn every_pair_of_types_casts() {
    let types = [
        DType::F32,
        DType::F64,
        DType::I8,
        DType::U8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::Bool,
    ];
    for from in types {
        let ones = eval(Cast { to: from }, &[&f32s(&[2], &[0.0, 1.0])]).unwrap();
        for to in types {
            let there = eval(Cast { to }, &[&ones]).unwrap();
            assert_eq!(there.data.dtype(), to);
            assert_eq!(there.to_f64(), [0.0, 1.0], "{from} to {to}");
        }
    }
}
