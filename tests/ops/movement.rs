//! Operators that only move elements, of any type.

use tinsmith::op::tensor::{Data, Values};
use tinsmith::op::{Concat, Delay, Gather, Pad, PadMode, Reshape, Slice, Transpose};

use super::{check, check_refused, check_type, counting, f32s, i64s};

#[test]
fn transpose_permutes() {
    let x = counting(&[2, 3]);
    check(
        Transpose { perm: vec![1, 0] },
        &[&x],
        &f32s(&[3, 2], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]),
    );
    let nchw = counting(&[1, 2, 2, 2]);
    let nhwc = f32s(&[1, 2, 2, 2], &[0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
    check(
        Transpose {
            perm: vec![0, 2, 3, 1],
        },
        &[&nchw],
        &nhwc,
    );
    check(
        Transpose {
            perm: vec![0, 3, 1, 2],
        },
        &[&nhwc],
        &nchw,
    );
    check(Transpose { perm: vec![] }, &[&counting(&[])], &counting(&[]));
    let reason = "a permutation of the axes of f32[2,3] wanted, [0, 0] found";
    check_refused(Transpose { perm: vec![0, 0] }, &[&x], reason);
}

#[test]
fn reshape_keeps_the_order() {
    let x = i64s(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    check(
        Reshape { shape: vec![3, 1, 2] },
        &[&x],
        &i64s(&[3, 1, 2], &[1, 2, 3, 4, 5, 6]),
    );
    let reason = "as many elements as i64[2,3] has wanted, i64[5] found";
    check_refused(Reshape { shape: vec![5] }, &[&x], reason);
    check_type(Reshape { shape: vec![0, 7] }, &[&counting(&[3, 0])], "f32[0,7]");
}

#[test]
fn concat_joins_along_any_axis() {
    let (a, b) = (counting(&[2, 1]), f32s(&[2, 2], &[5.0, 6.0, 7.0, 8.0]));
    check(
        Concat { axis: 1 },
        &[&a, &b],
        &f32s(&[2, 3], &[0.0, 5.0, 6.0, 1.0, 7.0, 8.0]),
    );
    check(
        Concat { axis: 0 },
        &[&b, &b],
        &f32s(&[4, 2], &[5.0, 6.0, 7.0, 8.0, 5.0, 6.0, 7.0, 8.0]),
    );
    check(Concat { axis: 0 }, &[&a], &a);
    check(Concat { axis: 1 }, &[&a, &counting(&[2, 0])], &a);
    let reason = "inputs alike but for axis 0 wanted, f32[2,1] and f32[2,2] found";
    check_refused(Concat { axis: 0 }, &[&a, &b], reason);
    check_refused(Concat { axis: 0 }, &[], "1 or more inputs wanted, 0 found");
}

#[test]
fn gather_counts_negative_indices_from_the_end() {
    let x = counting(&[2, 3]);
    check(
        Gather { axis: 1 },
        &[&x, &i64s(&[2], &[-1, 0])],
        &f32s(&[2, 2], &[2.0, 0.0, 5.0, 3.0]),
    );
    check(
        Gather { axis: 0 },
        &[&x, &i64s(&[], &[1])],
        &f32s(&[3], &[3.0, 4.0, 5.0]),
    );
    let square = i64s(&[1, 2], &[1, -2]);
    check(
        Gather { axis: 0 },
        &[&x, &square],
        &f32s(&[1, 2, 3], &[3.0, 4.0, 5.0, 0.0, 1.0, 2.0]),
    );
    let reason = "indices from -3 up to but not 3 wanted, 3 found";
    check_refused(Gather { axis: 1 }, &[&x, &i64s(&[1], &[3])], reason);
    let reason = "indices from -3 up to but not 3 wanted, -9223372036854775808 found";
    check_refused(Gather { axis: 1 }, &[&x, &i64s(&[1], &[i64::MIN])], reason);
    check_refused(
        Gather { axis: 1 },
        &[&x, &x],
        "`indices` of i32 or i64 wanted, f32[2,3] found",
    );
}

#[test]
fn slice_steps_both_ways() {
    let x = counting(&[5]);
    let slice = |start, step, len| Slice {
        starts: vec![start],
        steps: vec![step],
        shape: vec![len],
    };
    check(slice(1, 2, 2), &[&x], &f32s(&[2], &[1.0, 3.0]));
    check(slice(4, -2, 3), &[&x], &f32s(&[3], &[4.0, 2.0, 0.0]));
    check(slice(9, 1, 0), &[&x], &f32s(&[0], &[]));
    let reason = "indices within 5 wanted along axis 0, 3 from 4 in steps of 1 found";
    check_refused(slice(4, 1, 3), &[&x], reason);
    let reason = "indices within 5 wanted along axis 0, 2 from 4 in steps of -9223372036854775808 found";
    check_refused(slice(4, i64::MIN, 2), &[&x], reason);
    let corner = Slice {
        starts: vec![1, 2],
        steps: vec![1, -1],
        shape: vec![1, 2],
    };
    check(corner, &[&counting(&[2, 3])], &f32s(&[1, 2], &[5.0, 4.0]));
}

#[test]
fn pad_has_three_modes() {
    let x = f32s(&[1, 3], &[1.0, 2.0, 3.0]);
    let pad = |mode| Pad {
        before: vec![0, 2],
        after: vec![0, 1],
        mode,
    };
    check(
        pad(PadMode::Constant(9.0)),
        &[&x],
        &f32s(&[1, 6], &[9.0, 9.0, 1.0, 2.0, 3.0, 9.0]),
    );
    check(
        pad(PadMode::Edge),
        &[&x],
        &f32s(&[1, 6], &[1.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
    );
    check(
        pad(PadMode::Reflect),
        &[&x],
        &f32s(&[1, 6], &[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
    );
    let around = Pad {
        before: vec![1, 1],
        after: vec![0, 0],
        mode: PadMode::Constant(-1.0),
    };
    check(
        around,
        &[&Values::new([1, 2], Data::I8(vec![5, 6]))],
        &Values::new([2, 3], Data::I8(vec![-1, -1, -1, -1, 5, 6])),
    );
    // Beyond the other edge the mirror image is mirrored again.
    let twice = f32s(&[1, 5], &[0.0, 1.0, 0.0, 1.0, 0.0]);
    check(pad(PadMode::Reflect), &[&counting(&[1, 2])], &twice);
}

#[test]
fn what_would_not_fit_an_address_is_refused() {
    let pad = Pad {
        before: vec![1 << 40],
        after: vec![usize::MAX],
        mode: PadMode::Edge,
    };
    let reason = "an output of at most 4 GiB wanted, f32[18446744073709551615] found";
    check_refused(pad, &[&counting(&[2])], reason);
}

#[test]
fn delay_passes_in_the_reference() {
    check(Delay {}, &[&counting(&[2, 2])], &counting(&[2, 2]));
}
