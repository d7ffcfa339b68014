//! int16 activations: every operator's kernels against its meaning, byte for byte, with scales that are powers of two and
//! with any.

use std::sync::Arc;

use tinsmith::op::quant::{QuantParams, Quantization};
use tinsmith::op::tensor::{DType, Data, Values};
use tinsmith::op::{
    AveragePool, Binary, BinaryKind, Clamp, Concat, Conv2d, ConvNd, Delay, Dense, Expand, Gather, MaxPool,
    Op, Pad, PadMode, Reduce, ReduceKind, Reshape, Slice, Transpose, Unary, UnaryKind, Window, WindowNd,
    wide,
};
use tinsmith::schedule::{self, ScheduleError};
use tinsmith::simulate::Simulator;
use tinsmith::target::Target;

use super::case::{Case, Tensor};

/// How a case chooses parameters: powers of two without a zero point, as calibration does, or any, as models bring them.
const KINDS: [bool; 2] = [true, false];

/// A case on int16.
fn wide_case(seed: u32) -> Case {
    let mut case = Case::new(seed);
    case.dtype = DType::I16;
    case
}

/// Parameters of tensors of about `size`.
fn params(case: &mut Case, dyadic: bool, size: i32) -> QuantParams {
    let shift = (case.random.next() % 4) as i32;
    let scale = 2f32.powi(size - 15 - shift);
    if dyadic {
        return QuantParams { scale, zero_point: 0 };
    }
    QuantParams {
        scale: scale * (1.0 + (case.random.next() % 10_000) as f32 / 10_000.0),
        zero_point: [0, 0, 1000, -32768, 32767, -7][case.random.next() as usize % 6],
    }
}

/// One input through `op`, with equal and with different parameters.
fn check_unary(op: &Op, shape: &[usize]) {
    for (seed, dyadic) in [(1, true), (2, false), (3, false)] {
        for same in [true, false] {
            let mut case = wide_case(seed);
            let (from, to) = (params(&mut case, dyadic, 3), params(&mut case, dyadic, 3));
            let x = case.input("x", shape, from);
            case.node(op.clone(), &[x], if same { from } else { to });
            case.check();
        }
    }
}

fn window(kernel: [usize; 2], strides: [usize; 2], dilations: [usize; 2], pads: [usize; 4]) -> Window {
    Window {
        kernel,
        strides,
        dilations,
        pads,
    }
}

const RELU6: Clamp = Clamp {
    min: Some(0.0),
    max: Some(6.0),
};

#[test]
fn convolutions_are_exact() {
    let windows = [
        window([3, 3], [1, 1], [1, 1], [1, 1, 1, 1]),
        window([2, 3], [2, 1], [1, 2], [0, 2, 1, 0]),
        window([1, 1], [1, 1], [1, 1], [0; 4]),
    ];
    let mut seed = 0;
    for dyadic in KINDS {
        for window in &windows {
            for (groups, channels, out, with_bias) in [(1, 3, 5, true), (2, 4, 6, false), (4, 4, 8, true)] {
                seed += 1;
                let mut case = wide_case(seed);
                let (from, to) = (params(&mut case, dyadic, 2), params(&mut case, dyadic, 5));
                let x = case.input("x", &[2, 6, 7, channels], from);
                let [kernel_h, kernel_w] = window.kernel;
                let mut inputs = vec![x, case.weights(&[out, kernel_h, kernel_w, channels / groups])];
                if with_bias {
                    inputs.push(case.bias(out));
                }
                let op = Conv2d {
                    window: window.clone(),
                    groups,
                    clamp: if seed % 2 == 0 { RELU6 } else { Clamp::NONE },
                };
                case.node(Op::Conv2d(op), &inputs, to);
                case.check();
            }
        }
    }
}

#[test]
fn transposed_convolutions_over_three_axes_are_exact() {
    for (seed, dyadic) in [(1, true), (2, false)] {
        let mut case = wide_case(seed);
        let (from, to) = (params(&mut case, dyadic, 2), params(&mut case, dyadic, 5));
        let x = case.input("x", &[2, 3, 2, 4, 4], from);
        let inputs = [x, case.weights(&[6, 2, 1, 3, 2]), case.bias(6)];
        let window = WindowNd {
            kernel: vec![2, 1, 3],
            strides: vec![1, 2, 1],
            dilations: vec![2, 1, 1],
            spread: vec![2, 1, 3],
            pads: vec![1, -1, 2],
            output: vec![4, 1, 9],
        };
        let (groups, clamp) = (2, Clamp::RELU);
        case.node(
            Op::ConvNd(ConvNd {
                window,
                groups,
                clamp,
            }),
            &inputs,
            to,
        );
        case.check();
    }
}

#[test]
fn dense_layers_are_exact_beyond_32_bits() {
    for (seed, dyadic) in [(1, true), (2, false), (3, true)] {
        let mut case = wide_case(seed);
        let (from, to) = (params(&mut case, dyadic, 2), params(&mut case, dyadic, 9));
        let x = case.input("x", &[3, 2, 1300], from);
        let weights = case.weights(&[7, 1300]);
        let bias = case.bias(7);
        let clamp = Clamp::NONE;
        case.node(Op::Dense(Dense { clamp }), &[x, weights, bias], to);
        if seed == 3 {
            // Biases of 64 bits.
            let values = Values::new([7], Data::I64((0..7).map(|o| (o - 3) << 33).collect()));
            let tensor = &mut case.graph.tensors[bias];
            tensor.ty = values.ty();
            tensor.model_dtype = DType::I64;
            tensor.data = Some(Arc::new(values));
        }
        case.check();
    }
}

/// Two inputs, or an input and a constant, through an operation.
fn check_binary(kind: BinaryKind, a_shape: &[usize], b_shape: &[usize], constant: bool) {
    for (seed, dyadic) in [(1, true), (2, false), (3, false), (4, true)] {
        let mut case = wide_case(seed);
        let [a, b, to] =
            [3, 2, if kind == BinaryKind::Mul { 5 } else { 3 }].map(|size| params(&mut case, dyadic, size));
        let x = case.input("x", a_shape, a);
        let other = if constant {
            case.constant("c", b_shape, b)
        } else {
            case.input("z", b_shape, b)
        };
        let clamp = if seed == 4 { RELU6 } else { Clamp::NONE };
        case.node(Op::Binary(Binary { kind, clamp }), &[x, other], to);
        case.check();
    }
}

#[test]
fn sums_products_lesser_and_greater_are_exact() {
    use BinaryKind::{Add, Max, Min, Mul, Sub};
    for kind in [Add, Sub, Mul, Min, Max] {
        check_binary(kind, &[2, 3, 5], &[2, 3, 5], false);
        check_binary(kind, &[2, 3, 5], &[3, 1], false);
        check_binary(kind, &[2, 1, 5], &[2, 3, 1], true);
        check_binary(kind, &[40], &[], true);
    }
}

#[test]
fn an_operand_may_be_a_real_constant() {
    for kind in [
        BinaryKind::Add,
        BinaryKind::Sub,
        BinaryKind::Mul,
        BinaryKind::Max,
        BinaryKind::PRelu,
    ] {
        for (seed, real) in [(1, 0.3), (2, -1.7), (3, 0.0)] {
            for dyadic in KINDS {
                let mut case = wide_case(seed);
                let (from, to) = (params(&mut case, dyadic, 3), params(&mut case, dyadic, 3));
                let x = case.input("x", &[300], from);
                let constant = case.plain("c", Values::f32([], vec![real]));
                case.node(Op::Binary(kind.into()), &[x, constant], to);
                case.check();
            }
        }
    }
}

#[test]
fn pools_are_exact() {
    for window in [
        window([2, 2], [2, 2], [1, 1], [0; 4]),
        window([3, 2], [1, 1], [1, 2], [1, 1, 1, 1]),
    ] {
        check_unary(
            &Op::MaxPool(MaxPool {
                window: window.clone(),
                clamp: Clamp::NONE,
            }),
            &[2, 6, 5, 19],
        );
        for count_include_pad in [false, true] {
            check_unary(
                &Op::AveragePool(AveragePool {
                    window: window.clone(),
                    count_include_pad,
                    ceil_pads: [0, 0],
                    clamp: RELU6,
                }),
                &[2, 6, 5, 3],
            );
        }
    }
    for kind in [ReduceKind::Mean, ReduceKind::Max] {
        check_unary(
            &Op::Reduce(Reduce {
                kind,
                axes: vec![1, 2],
            }),
            &[1, 7, 9, 4],
        );
    }
}

#[test]
fn clamps_and_slopes_are_exact() {
    for kind in [
        UnaryKind::Clamp(Clamp::RELU),
        UnaryKind::Clamp(RELU6),
        UnaryKind::Abs,
        UnaryKind::Neg,
        UnaryKind::LeakyRelu { alpha: 0.01 },
        UnaryKind::LeakyRelu { alpha: -0.3 },
    ] {
        check_unary(&Op::Unary(Unary { kind }), &[500]);
    }
}

#[test]
fn moving_keeps_or_rescales_codes() {
    check_unary(&Op::Reshape(Reshape { shape: vec![6, 4] }), &[2, 3, 4]);
    check_unary(&Op::Transpose(Transpose { perm: vec![2, 0, 1] }), &[3, 4, 5]);
    check_unary(
        &Op::Slice(Slice {
            starts: vec![1, 3],
            steps: vec![1, -1],
            shape: vec![2, 3],
        }),
        &[4, 5],
    );
    check_unary(&Op::Expand(Expand { shape: vec![3, 2, 4] }), &[2, 1]);
    for mode in [
        PadMode::Constant(0.0),
        PadMode::Constant(1.25),
        PadMode::Edge,
        PadMode::Reflect,
    ] {
        check_unary(
            &Op::Pad(Pad {
                mode,
                before: vec![1, 2],
                after: vec![2, 0],
            }),
            &[4, 5],
        );
    }
}

#[test]
fn a_delay_gives_out_what_came_before() {
    let mut case = wide_case(1);
    let [from, to] = [0.5, 0.25].map(|scale| QuantParams { scale, zero_point: 0 });
    let x = case.input("x", &[3], from);
    case.node(Op::Delay(Delay {}), &[x], to);
    let blob = case.blob();
    let mut simulator = Simulator::new(&blob).unwrap();
    let mut run = |codes: [i16; 3]| {
        let bytes: Vec<u8> = codes.iter().flat_map(|code| code.to_le_bytes()).collect();
        let output = simulator.run(&[&bytes]).unwrap().remove(0);
        let codes = output.as_chunks().0.iter().map(|&code| i16::from_le_bytes(code));
        codes.collect::<Vec<_>>()
    };
    assert_eq!(run([1, -2, 20_000]), [0; 3]);
    assert_eq!(run([7, 8, 9]), [2, -4, 32767]);
}

#[test]
fn parts_are_joined_and_picked() {
    for (seed, dyadic) in [(1, true), (2, false)] {
        for axis in [0, 1] {
            let mut case = wide_case(seed);
            let [a, b, to] = [3, 2, 3].map(|size| params(&mut case, dyadic, size));
            let inputs: [Tensor; 3] = [
                case.input("a", &[2, 3], a),
                case.input("b", &[2, 3], b),
                case.constant("c", &[2, 3], to),
            ];
            case.node(Op::Concat(Concat { axis }), &inputs, to);
            case.check();
        }
        let mut case = wide_case(seed);
        let (from, to) = (params(&mut case, dyadic, 3), params(&mut case, dyadic, 3));
        let x = case.input("x", &[4, 3], from);
        let picks = case.plain("i", Values::new([3], Data::I64(vec![3, 0, -2])));
        case.node(Op::Gather(Gather { axis: 0 }), &[x, picks], to);
        case.check();
    }
}

#[test]
fn codes_change_their_width() {
    let narrow = QuantParams {
        scale: 0.037,
        zero_point: -5,
    };
    for dyadic in KINDS {
        for op in [
            Op::Reshape(Reshape { shape: vec![5, 8] }),
            Op::Transpose(Transpose { perm: vec![1, 0] }),
        ] {
            for to_wide in [true, false] {
                let mut case = Case::new(11);
                let wide = params(&mut case, dyadic, 3);
                let shape = [8, 5];
                case.dtype = if to_wide { DType::I8 } else { DType::I16 };
                let x = case.input("x", &shape, if to_wide { narrow } else { wide });
                case.dtype = if to_wide { DType::I16 } else { DType::I8 };
                case.node(op.clone(), &[x], if to_wide { wide } else { narrow });
                case.check();
            }
        }
    }
}

#[test]
fn functions_are_within_what_is_said_of_them() {
    for (kind, to, most) in [
        (UnaryKind::Sigmoid, 0, 1),
        (UnaryKind::Tanh, 0, 1),
        (UnaryKind::HardSwish, 3, 1),
        (UnaryKind::Gelu, 3, 1),
        (UnaryKind::Exp, 11, 11),
    ] {
        let mut case = wide_case(5);
        let [from, to] = [3, to].map(|size: i32| QuantParams {
            scale: 2f32.powi(size - 15),
            zero_point: 0,
        });
        let said = wide::deviation(kind, from, to).unwrap();
        assert!(said <= most, "{kind:?} differs by {said}");
        let x = case.input("x", &[4000], from);
        case.node(Op::Unary(Unary { kind }), &[x], to);
        let found = case.distances().into_iter().max().unwrap();
        assert!(found <= said.into(), "{kind:?}: {found} found, {said} said");
    }
    let relu = UnaryKind::Clamp(Clamp::RELU);
    let params = QuantParams {
        scale: 1.0,
        zero_point: 0,
    };
    assert_eq!(wide::deviation(relu, params, params), None);
}

#[test]
fn what_has_no_form_is_refused_by_name() {
    let refused = |case: &Case, wanted: &str| {
        let target = Target::builtin("mps2-an386").unwrap();
        let error = schedule::run(&target, &case.graph, &schedule::Options::default()).unwrap_err();
        let ScheduleError::Unsupported(problems) = error else {
            panic!("{error}");
        };
        assert!(problems[0].reason.contains(wanted), "{}", problems[0].reason);
        assert!(problems[0].help.is_some());
    };
    let mut case = wide_case(1);
    let one = params(&mut case, true, 3);
    let inputs = [case.input("a", &[4], one), case.input("b", &[4], one)];
    case.node(Op::Binary(BinaryKind::Div.into()), &inputs, one);
    refused(&case, "Div has no kernel on int16");

    let mut case = wide_case(1);
    let wide = case.input("a", &[4], one);
    case.dtype = DType::I8;
    let narrow = case.input(
        "b",
        &[4],
        QuantParams {
            scale: 1.0,
            zero_point: 0,
        },
    );
    case.dtype = DType::I16;
    case.node(Op::Binary(BinaryKind::Add.into()), &[wide, narrow], one);
    refused(&case, "it computes int16, but its input `b` is i8[4]");

    let mut case = wide_case(1);
    let x = case.input("a", &[4], one);
    case.dtype = DType::I8;
    case.node(
        Op::Unary(Unary {
            kind: UnaryKind::Tanh,
        }),
        &[x],
        one,
    );
    refused(&case, "the input `a` is int16");
    assert!(matches!(
        case.graph.tensors[x].quantization,
        Quantization::PerTensor(_)
    ));
}
