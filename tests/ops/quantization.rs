//! QuantizeLinear and DequantizeLinear.

use tinsmith::op::tensor::{Data, Values};
use tinsmith::op::{DequantizeLinear, QuantizeLinear};

use super::{check, check_refused, f32s};

fn i8s(shape: &[usize], elements: &[i8]) -> Values {
    Values::new(shape, Data::I8(elements.to_vec()))
}

#[test]
fn ties_go_to_even_and_ends_saturate() {
    let x = f32s(&[8], &[1.0, 3.0, 5.0, -1.0, -3.0, 1000.0, -1000.0, f32::INFINITY]);
    let scale = f32s(&[], &[2.0]);
    // 0.5 → 0, 1.5 → 2, 2.5 → 2, −0.5 → 0, −1.5 → −2, before the zero point is added.
    let wanted = i8s(&[8], &[10, 12, 12, 10, 8, 127, -128, 127]);
    check(
        QuantizeLinear { axis: 1 },
        &[&x, &scale, &i8s(&[], &[10])],
        &wanted,
    );
    let bytes = |v: &[u8], shape: &[usize]| Values::new(shape, Data::U8(v.to_vec()));
    let wanted = bytes(&[128, 130, 130, 128, 126, 255, 0, 255], &[8]);
    check(
        QuantizeLinear { axis: 1 },
        &[&x, &scale, &bytes(&[128], &[])],
        &wanted,
    );
}

#[test]
fn the_quotient_is_rounded_to_f32_first() {
    // The exact quotient lies just above 2.5 and would round to 3; in f32 it is 2.5, a tie.
    let (x, scale) = (1.75_f32, 0.7_f32);
    assert!(f64::from(x) / f64::from(scale) > 2.5 && x / scale == 2.5);
    check(
        QuantizeLinear { axis: 0 },
        &[&f32s(&[1], &[x]), &f32s(&[], &[scale]), &i8s(&[], &[0])],
        &i8s(&[1], &[2]),
    );
}

#[test]
fn parameters_may_run_along_an_axis() {
    let x = f32s(&[2, 2, 2], &[2.0, 4.0, 2.0, 4.0, 6.0, 8.0, 6.0, 8.0]);
    let (scale, zero) = (f32s(&[2], &[1.0, 2.0]), i8s(&[2], &[0, -1]));
    let q = i8s(&[2, 2, 2], &[2, 4, 0, 1, 6, 8, 2, 3]);
    check(QuantizeLinear { axis: 1 }, &[&x, &scale, &zero], &q);
    check(DequantizeLinear { axis: 1 }, &[&q, &scale, &zero], &x);
    let reason = "`scale` as f32[3] wanted, f32[2] found";
    check_refused(
        QuantizeLinear { axis: 0 },
        &[&f32s(&[3], &[0.0; 3]), &scale, &zero],
        reason,
    );
}

#[test]
fn a_bias_of_int32_keeps_its_bits() {
    let q = Values::new([2], Data::I32(vec![i32::MIN, 16_777_217]));
    let zero = Values::new([], Data::I32(vec![0]));
    let y = f32s(&[2], &[-1_073_741_824.0, 8_388_608.0]);
    check(DequantizeLinear { axis: 0 }, &[&q, &f32s(&[], &[0.5]), &zero], &y);
    let far = Values::new([], Data::I32(vec![i32::MAX]));
    let y = f32s(&[2], &[-4_294_967_295.0, -2_130_706_430.0]);
    check(DequantizeLinear { axis: 0 }, &[&q, &f32s(&[], &[1.0]), &far], &y);
}

#[test]
fn types_must_fit() {
    let scale = f32s(&[], &[1.0]);
    let reason = "`x` of u8 wanted, i8[1] found";
    let zero = Values::new([], Data::U8(vec![0]));
    check_refused(
        DequantizeLinear { axis: 0 },
        &[&i8s(&[1], &[1]), &scale, &zero],
        reason,
    );
    let reason = "`zero_point` of i8, u8, i16, u16 or i32 wanted, f32[] found";
    check_refused(
        DequantizeLinear { axis: 0 },
        &[&i8s(&[1], &[1]), &scale, &scale],
        reason,
    );
}
