//! Operators on single elements, beyond what ONNX's own tests hold: integers at their ends, NaN, narrow reals.

use half::{bf16, f16};
use tinsmith::op::tensor::{Data, Values};
use tinsmith::op::{Binary, BinaryKind, Compare, CompareKind, Select, Unary, UnaryKind};

use super::{check, check_refused, eval, f32s, i64s};

fn i8s(elements: &[i8]) -> Values {
    Values::new([elements.len()], Data::I8(elements.to_vec()))
}

fn bools(shape: &[usize], elements: &[bool]) -> Values {
    Values::new(shape, Data::Bool(elements.to_vec()))
}

fn binary(kind: BinaryKind) -> Binary {
    Binary::from(kind)
}

#[test]
fn integers_have_the_functions_that_onnx_gives_them() {
    let x = i8s(&[-128, -3, 0, 5]);
    let unary = |kind| Unary { kind };
    check(unary(UnaryKind::Abs), &[&x], &i8s(&[-128, 3, 0, 5]));
    check(unary(UnaryKind::Neg), &[&x], &i8s(&[-128, 3, 0, -5]));
    check(unary(UnaryKind::Sign), &[&x], &i8s(&[-1, -1, 0, 1]));
    let shrink = UnaryKind::Shrink {
        lambd: 4.0,
        bias: 1.5,
    };
    check(unary(shrink), &[&x], &i8s(&[-126, 0, 0, 3]));
    check_refused(
        unary(UnaryKind::Exp),
        &[&x],
        "`x` of f32 or f64 wanted, i8[4] found",
    );
    check_refused(
        unary(UnaryKind::Abs),
        &[&bools(&[1], &[true])],
        "numbers wanted as `x`, bool[1] found",
    );
}

#[test]
fn integers_divide_as_python_does_and_as_c_does() {
    let (a, b) = (i8s(&[7, -7, 7, -7, -128]), i8s(&[3, 3, -3, -3, -1]));
    check(binary(BinaryKind::Mod), &[&a, &b], &i8s(&[1, 2, -2, -1, 0]));
    check(binary(BinaryKind::Fmod), &[&a, &b], &i8s(&[1, -1, 1, -1, 0]));
    let zero = i8s(&[0; 5]);
    let reason = "divisors other than zero wanted, an integer 0 found";
    check_refused(binary(BinaryKind::Mod), &[&a, &zero], reason);
}

#[test]
fn integer_powers_wrap_and_negative_ones_are_cut() {
    let a = i64s(&[6], &[2, -3, 10, 2, -1, 1]);
    let b = i64s(&[6], &[62, 3, 20, -1, -3, -9]);
    let wanted = i64s(&[6], &[1 << 62, -27, 10i64.wrapping_pow(20), 0, -1, 1]);
    check(binary(BinaryKind::Pow), &[&a, &b], &wanted);
    let zero = i64s(&[], &[0]);
    assert!(eval(binary(BinaryKind::Pow), &[&zero, &i64s(&[], &[-1])]).is_err());
}

#[test]
fn bits_beyond_the_type_are_gone() {
    let bytes = |v: &[u8]| Values::new([v.len()], Data::U8(v.to_vec()));
    let (x, bits) = (bytes(&[0x81, 0x81, 0x81]), bytes(&[1, 8, 200]));
    check(binary(BinaryKind::ShiftLeft), &[&x, &bits], &bytes(&[2, 0, 0]));
    check(
        binary(BinaryKind::ShiftRight),
        &[&x, &bits],
        &bytes(&[0x40, 0, 0]),
    );
    check_refused(
        binary(BinaryKind::And),
        &[&f32s(&[1], &[1.0]), &f32s(&[1], &[1.0])],
        "truth values or integers wanted as `a`, f32[1] found",
    );
}

#[test]
fn nan_is_the_least_and_the_greatest_and_equal_to_nothing() {
    let (nan, one) = (f32s(&[1], &[f32::NAN]), f32s(&[1], &[1.0]));
    for kind in [BinaryKind::Min, BinaryKind::Max] {
        for inputs in [[&nan, &one], [&one, &nan]] {
            let y = eval(binary(kind), &inputs).unwrap();
            assert!(y.as_f32().unwrap()[0].is_nan(), "{kind:?}");
        }
    }
    for kind in [CompareKind::Equal, CompareKind::Less, CompareKind::LessOrEqual] {
        check(Compare { kind }, &[&nan, &nan], &bools(&[1], &[false]));
    }
}

#[test]
fn narrow_reals_round_once() {
    let x: Vec<f16> = [0.1, -0.7, 3.3].map(f16::from_f32).to_vec();
    let wanted = x
        .iter()
        .map(|x| f16::from_f64(libm::tanh(f64::from(*x)) * f64::from(*x)))
        .collect();
    let x = Values::new([3], Data::F16(x));
    let tanh = eval(
        Unary {
            kind: UnaryKind::Tanh,
        },
        &[&x],
    )
    .unwrap();
    let product = eval(binary(BinaryKind::Mul), &[&tanh, &x]).unwrap();
    let near = |a: &Values, b: &Values| {
        let pairs = a.to_f64().into_iter().zip(b.to_f64());
        pairs.into_iter().all(|(a, b)| (a - b).abs() <= 2e-3 * b.abs())
    };
    assert!(near(&product, &Values::new([3], Data::F16(wanted))));
    // 256 + 1 is no bf16: once rounded it is 256.
    let (a, b) = (bf16::from_f32(256.0), bf16::from_f32(1.0));
    let of = |x| Values::new([1], Data::BF16(vec![x]));
    check(binary(BinaryKind::Add), &[&of(a), &of(b)], &of(a));
}

#[test]
fn a_choice_broadcasts_three_ways() {
    let condition = bools(&[2, 1], &[true, false]);
    let (a, b) = (i64s(&[3], &[1, 2, 3]), i64s(&[], &[9]));
    check(
        Select {},
        &[&condition, &a, &b],
        &i64s(&[2, 3], &[1, 2, 3, 9, 9, 9]),
    );
    check_refused(
        Select {},
        &[&a, &a, &b],
        "`condition` of bool wanted, i64[3] found",
    );
    let nothing = i64s(&[0], &[]);
    check(Select {}, &[&condition, &nothing, &b], &i64s(&[2, 0], &[]));
}
