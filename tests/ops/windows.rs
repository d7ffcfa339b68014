//! Windows and pools.

use tinsmith::op::tensor::{Data, Values};
use tinsmith::op::{AlongAxis, Attention, AveragePool, Clamp, Heads, MaxPool, Resample, SoftmaxKind, Window};

use super::{check, check_refused, counting, eval, f32s};

fn window(kernel: [usize; 2], strides: [usize; 2], pads: [usize; 4]) -> Window {
    Window {
        kernel,
        strides,
        dilations: [1, 1],
        pads,
    }
}

fn average(window: Window, count_include_pad: bool, ceil_pads: [usize; 2]) -> AveragePool {
    AveragePool {
        window,
        count_include_pad,
        ceil_pads,
        clamp: Clamp::NONE,
    }
}

fn max(window: Window) -> MaxPool {
    MaxPool {
        window,
        clamp: Clamp::NONE,
    }
}

#[test]
fn tensors_without_elements_have_results_without_elements() {
    let along = AlongAxis {
        axis: 1,
        taps: 1,
        sources: vec![0, 0, 1, 1],
        weights: vec![1.0; 4],
    };
    let resample = || Resample::from(along.clone());
    check(resample(), &[&f32s(&[1, 2, 0], &[])], &f32s(&[1, 4, 0], &[]));
    check(resample(), &[&f32s(&[0, 2, 3], &[])], &f32s(&[0, 4, 3], &[]));
    let attention = Attention {
        scale: 1.0,
        kind: SoftmaxKind::Attended,
        heads: [Heads::Outside; 4],
    };
    // Queries without keys attend to nothing.
    let (q, none) = (f32s(&[1, 1, 2, 1], &[1.0, 2.0]), f32s(&[1, 1, 0, 1], &[]));
    check(
        attention.clone(),
        &[&q, &none, &none],
        &f32s(&[1, 1, 2, 1], &[0.0; 2]),
    );
    check(attention, &[&none, &q, &q], &none);
}

#[test]
fn taps_are_those_inside_the_input() {
    for kernel in 1..5 {
        for stride in 1..4 {
            for dilation in 1..4 {
                for (before, after) in (0..5).flat_map(|b| (0..3).map(move |a| (b, a))) {
                    let window = Window {
                        kernel: [kernel; 2],
                        strides: [stride; 2],
                        dilations: [dilation; 2],
                        pads: [before, before, after, after],
                    };
                    for extent in 1..9 {
                        let Ok([rows, columns]) = window.output_extents([extent; 2]) else {
                            continue;
                        };
                        assert_eq!(rows, columns);
                        for output in 0..rows {
                            let at = |tap| (output * stride + tap * dilation) as isize - before as isize;
                            let inside = |&tap: &usize| (0..extent as isize).contains(&at(tap));
                            let wanted: Vec<usize> = (0..kernel).filter(inside).collect();
                            let taps: Vec<usize> = window.taps(0, output, extent).collect();
                            assert_eq!(taps, wanted, "{window:?} at {output} over {extent}");
                            for tap in taps {
                                assert_eq!(window.position(1, output, tap) as isize, at(tap));
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_window_that_stands_still_is_refused() {
    let x = counting(&[1, 2, 2, 1]);
    let reason = "strides of at least 1 wanted, [0, 1] found";
    check_refused(max(window([1, 1], [0, 1], [0; 4])), &[&x], reason);
    let reason = "kernel of at least 1 wanted, [1, 0] found";
    check_refused(max(window([1, 0], [1, 1], [0; 4])), &[&x], reason);
    check_refused(
        max(window([1, 1], [1, 1], [0; 4])),
        &[&counting(&[2, 2])],
        "`x` of rank 4 wanted, f32[2,2] found",
    );
}

#[test]
fn averages_count_padding_where_asked() {
    let x = f32s(&[1, 2, 2, 1], &[4.0, 8.0, 12.0, 16.0]);
    let corner = window([2, 2], [2, 2], [1, 1, 1, 1]);
    check(average(corner.clone(), false, [0; 2]), &[&x], &x);
    check(
        average(corner, true, [0; 2]),
        &[&x],
        &f32s(&[1, 2, 2, 1], &[1.0, 2.0, 3.0, 4.0]),
    );
}

#[test]
fn what_only_ceil_mode_added_never_counts() {
    // Three columns in windows of two, rounded up: the last window has one column and a column of nothing.
    let x = f32s(&[1, 1, 3, 1], &[2.0, 4.0, 6.0]);
    let ceiled = window([1, 2], [1, 2], [0, 0, 0, 1]);
    check(
        average(ceiled.clone(), true, [0, 1]),
        &[&x],
        &f32s(&[1, 1, 2, 1], &[3.0, 6.0]),
    );
    check(
        average(ceiled.clone(), true, [0, 0]),
        &[&x],
        &f32s(&[1, 1, 2, 1], &[3.0, 3.0]),
    );
    check(
        average(ceiled, false, [0, 1]),
        &[&x],
        &f32s(&[1, 1, 2, 1], &[3.0, 6.0]),
    );
    // The same with a column of real padding at either side, which counts.
    let padded = window([1, 2], [1, 2], [0, 1, 0, 2]);
    check(
        average(padded, true, [0, 1]),
        &[&counting(&[1, 1, 3, 1])],
        &f32s(&[1, 1, 3, 1], &[0.0, 1.5, 0.0]),
    );
}

#[test]
fn pools_keep_channels_and_images_apart() {
    let x = counting(&[2, 2, 1, 2]);
    let whole = window([2, 1], [1, 1], [0; 4]);
    check(
        average(whole.clone(), false, [0; 2]),
        &[&x],
        &f32s(&[2, 1, 1, 2], &[1.0, 2.0, 5.0, 6.0]),
    );
    check(max(whole), &[&x], &f32s(&[2, 1, 1, 2], &[2.0, 3.0, 6.0, 7.0]));
}

#[test]
fn the_greatest_ignores_padding_and_passes_nan() {
    let x = f32s(&[1, 1, 4, 1], &[-3.0, -1.0, f32::NAN, -7.0]);
    let y = eval(max(window([1, 2], [1, 2], [0, 1, 0, 1])), &[&x]).unwrap();
    let y = y.as_f32().unwrap();
    assert_eq!([y[0], y[2]], [-3.0, -7.0]);
    assert!(y[1].is_nan());
    let bytes = Values::new([1, 2, 2, 1], Data::I8(vec![-5, -128, -9, -7]));
    let wanted = Values::new([1, 1, 1, 1], Data::I8(vec![-5]));
    check(max(window([2, 2], [1, 1], [0; 4])), &[&bytes], &wanted);
}

#[test]
fn dilated_windows_skip() {
    let mut dilated = window([1, 2], [1, 1], [0; 4]);
    dilated.dilations = [1, 2];
    let x = f32s(&[1, 1, 4, 1], &[5.0, 9.0, 1.0, 2.0]);
    check(max(dilated.clone()), &[&x], &f32s(&[1, 1, 2, 1], &[5.0, 9.0]));
    check(
        average(dilated, false, [0; 2]),
        &[&x],
        &f32s(&[1, 1, 2, 1], &[3.0, 5.5]),
    );
}
