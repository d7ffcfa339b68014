//! Every operator's kernels against its meaning: one node, through schedule, blob and simulator, byte for byte.

use std::sync::Arc;

use tinsmith::op::quant::{QuantParams, QuantTensor, Quantization};
use tinsmith::op::tensor::{DType, Data, Values};
use tinsmith::op::{
    AveragePool, Binary, BinaryKind, Clamp, Concat, Conv2d, ConvNd, Delay, Dense, Gather, MaxPool, Op, Pad,
    PadMode, Reduce, ReduceKind, Reshape, Slice, Softmax, Transpose, Unary, UnaryKind, Window, WindowNd,
};
use tinsmith::simulate::Simulator;
use tinsmith::target::Target;
use tinsmith::{emit, schedule};

use super::case::Case;
use super::meaning;

/// One input of this shape through `op`, with equal and with different parameters.
fn check_unary(op: &Op, shape: &[usize]) {
    for (seed, same) in [(1, true), (2, false)] {
        let mut case = Case::new(seed);
        let (from, to) = (case.random.params(), case.random.params());
        let x = case.input("x", shape, from);
        case.node(op.clone(), &[x], if same { from } else { to });
        case.check();
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

#[test]
fn convolutions_over_any_axes_are_exact() {
    for (seed, groups, channels, out, with_bias) in
        [(1, 1, 3, 5, true), (2, 2, 4, 6, false), (3, 3, 3, 3, true)]
    {
        let mut case = Case::new(seed);
        let (from, to) = (case.random.params(), case.random.params());
        let x = case.input("x", &[2, 3, 2, 4, channels], from);
        let mut inputs = vec![x, case.weights(&[out, 2, 1, 3, channels / groups])];
        if with_bias {
            inputs.push(case.bias(out));
        }
        let window = WindowNd {
            kernel: vec![2, 1, 3],
            strides: vec![1, 2, 1],
            dilations: vec![2, 1, 1],
            spread: vec![2, 1, 3],
            pads: vec![1, -1, 2],
            output: vec![4, 1, 9],
        };
        let clamp = Clamp::RELU;
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
fn batches_are_exact() {
    let window = || window([2, 2], [1, 1], [1, 1], [1, 0, 0, 0]);
    let mut case = Case::new(7);
    let (from, to) = (case.random.params(), case.random.params());
    let x = case.input("x", &[3, 4, 5, 2], from);
    let weights = case.weights(&[4, 2, 2, 2]);
    let (groups, clamp) = (1, Clamp::NONE);
    let op = Conv2d {
        window: window(),
        groups,
        clamp,
    };
    case.node(Op::Conv2d(op), &[x, weights], to);
    case.check();
    let op = MaxPool {
        window: window(),
        clamp,
    };
    check_unary(&Op::MaxPool(op), &[3, 4, 5, 2]);
    let op = AveragePool {
        window: window(),
        count_include_pad: false,
        ceil_pads: [0, 0],
        clamp,
    };
    check_unary(&Op::AveragePool(op), &[3, 4, 5, 2]);
}

#[test]
fn convolutions_are_exact() {
    let clamp = Clamp {
        min: Some(-0.3),
        max: Some(1.0),
    };
    for (seed, groups, channels, out, window, clamp) in [
        (
            1,
            1,
            3,
            5,
            window([3, 3], [1, 1], [1, 1], [1, 1, 1, 1]),
            Clamp::NONE,
        ),
        (
            2,
            1,
            4,
            8,
            window([1, 1], [2, 2], [1, 1], [0, 0, 0, 0]),
            Clamp::RELU,
        ),
        (3, 2, 4, 6, window([3, 2], [2, 1], [1, 2], [0, 2, 1, 1]), clamp),
        (
            4,
            6,
            6,
            6,
            window([3, 3], [1, 1], [1, 1], [1, 1, 1, 1]),
            Clamp::RELU,
        ),
        (5, 3, 3, 9, window([5, 1], [1, 1], [1, 1], [2, 0, 2, 0]), clamp),
        (
            6,
            1,
            1,
            4,
            window([4, 4], [2, 2], [1, 1], [1, 1, 2, 2]),
            Clamp::NONE,
        ),
    ] {
        for with_bias in [true, false] {
            let mut case = Case::new(seed);
            let (from, to) = (case.random.params(), case.random.params());
            let x = case.input("x", &[1, 7, 6, channels], from);
            let weights = case.weights(&[out, window.kernel[0], window.kernel[1], channels / groups]);
            let mut inputs = vec![x, weights];
            if with_bias {
                inputs.push(case.bias(out));
            }
            let op = Conv2d {
                window: window.clone(),
                groups,
                clamp,
            };
            case.node(Op::Conv2d(op), &inputs, to);
            case.check();
        }
    }
}

#[test]
fn large_factors_shift_the_accumulator() {
    let mut case = Case::new(3);
    let from = case.random.params();
    let x = case.input("x", &[1, 2, 2, 3], from);
    let weights = case.weights(&[4, 1, 1, 3]);
    let to = QuantParams {
        scale: from.scale / 3000.0,
        zero_point: 3,
    };
    let op = Conv2d {
        window: window([1, 1], [1, 1], [1, 1], [0; 4]),
        groups: 1,
        clamp: Clamp::NONE,
    };
    case.node(Op::Conv2d(op), &[x, weights], to);
    case.check();
}

#[test]
fn dense_layers_are_exact() {
    for (seed, shape) in [(1, vec![1, 33]), (2, vec![3, 2, 16]), (3, vec![7])] {
        let mut case = Case::new(seed);
        let (from, to) = (case.random.params(), case.random.params());
        let x = case.input("x", &shape, from);
        let weights = case.weights(&[5, *shape.last().unwrap()]);
        let bias = case.bias(5);
        case.node(Op::Dense(Dense { clamp: Clamp::RELU }), &[x, weights, bias], to);
        case.check();
    }
}

#[test]
fn two_operands_are_exact() {
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[1, 3, 4, 5], &[1, 3, 4, 5]),
        (&[1, 3, 4, 5], &[5]),
        (&[1, 3, 1, 5], &[2, 3, 4, 1]),
        (&[4, 1], &[1, 6]),
        (&[1, 1, 1, 8], &[1, 3, 3, 8]),
        (&[2, 1, 4, 1], &[1, 3, 1, 5]),
        // More groups of axes than a record has: several calls.
        (&[2, 1, 2, 1, 3, 1], &[1, 3, 1, 2, 1, 2]),
    ];
    for (seed, (a, b)) in shapes.into_iter().enumerate() {
        for kind in [
            BinaryKind::Add,
            BinaryKind::Sub,
            BinaryKind::Mul,
            BinaryKind::Min,
            BinaryKind::Max,
        ] {
            for constant in [false, true] {
                let mut case = Case::new(seed as u32 + 10);
                let (from, other, to) = (case.random.params(), case.random.params(), case.random.params());
                let x = case.input("a", a, from);
                let y = if constant {
                    case.constant("b", b, other)
                } else {
                    case.input("b", b, other)
                };
                let clamp = if seed % 2 == 0 { Clamp::RELU } else { Clamp::NONE };
                case.node(Op::Binary(Binary { kind, clamp }), &[x, y], to);
                case.check();
            }
        }
    }
}

#[test]
fn one_number_beside_a_tensor_is_a_table() {
    let kinds = [
        BinaryKind::Add,
        BinaryKind::Sub,
        BinaryKind::Mul,
        BinaryKind::Div,
        BinaryKind::Min,
        BinaryKind::Max,
        BinaryKind::PRelu,
    ];
    for (seed, kind) in kinds.into_iter().enumerate() {
        for first in [false, true] {
            let mut case = Case::new(seed as u32);
            // A zero point outside the codes' ends keeps 0 / 0 out of sight.
            let (from, to) = (case.random.params(), case.random.params());
            let x = case.input("x", &[1, 4, 3], from);
            let c = case.plain("c", Values::f32([1], vec![0.37]));
            let inputs = if first { [c, x] } else { [x, c] };
            case.node(
                Op::Binary(Binary {
                    kind,
                    clamp: Clamp::NONE,
                }),
                &inputs,
                to,
            );
            case.check();
        }
    }
}

#[test]
fn functions_are_tables() {
    let clamp = Clamp {
        min: Some(-0.2),
        max: Some(0.7),
    };
    for kind in [UnaryKind::Clamp(clamp), UnaryKind::Sigmoid, UnaryKind::Tanh] {
        check_unary(&Op::Unary(Unary { kind }), &[2, 3, 5]);
    }
    check_unary(&Op::Softmax(Softmax::along(1)), &[3, 10, 1]);
}

#[test]
fn functions_of_every_kind_are_tables() {
    let within = |zero_point| QuantParams {
        scale: 0.0077,
        zero_point,
    };
    // Of −1 to 1, and of 0 to 2 where negative numbers have no value.
    for (kind, zero_point) in [
        (UnaryKind::Abs, 0),
        (UnaryKind::Acos, 0),
        (UnaryKind::Asin, 0),
        (UnaryKind::Asinh, 0),
        (UnaryKind::Atan, 0),
        (UnaryKind::Atanh, 0),
        (UnaryKind::Ceil, 0),
        (UnaryKind::Celu { alpha: 0.7 }, 0),
        (UnaryKind::Cos, 0),
        (UnaryKind::Cosh, 0),
        (UnaryKind::Elu { alpha: 1.3 }, 0),
        (UnaryKind::Erf, 0),
        (UnaryKind::Exp, 0),
        (UnaryKind::Floor, 0),
        (UnaryKind::Gelu, 0),
        (UnaryKind::GeluTanh, 0),
        (
            UnaryKind::HardSigmoid {
                alpha: 0.9,
                beta: 0.3,
            },
            0,
        ),
        (UnaryKind::HardSwish, 0),
        (UnaryKind::LeakyRelu { alpha: 0.01 }, 0),
        (UnaryKind::Log, -128),
        (UnaryKind::Mish, 0),
        (UnaryKind::Neg, 0),
        (UnaryKind::Reciprocal, -128),
        (UnaryKind::Round, 0),
        (
            UnaryKind::Selu {
                alpha: 1.67,
                gamma: 1.05,
            },
            0,
        ),
        (
            UnaryKind::Shrink {
                lambd: 0.3,
                bias: 0.1,
            },
            0,
        ),
        (UnaryKind::Sign, 0),
        (UnaryKind::Sin, 0),
        (UnaryKind::Sinh, 0),
        (UnaryKind::Softplus, 0),
        (UnaryKind::Softsign, 0),
        (UnaryKind::Sqrt, -128),
        (UnaryKind::Swish { alpha: 1.702 }, 0),
        (UnaryKind::Tan, 0),
        (UnaryKind::ThresholdedRelu { alpha: 0.2 }, 0),
    ] {
        let mut case = Case::new(7);
        let to = case.random.params();
        let x = case.input("x", &[2, 80], within(zero_point));
        case.node(Op::Unary(Unary { kind }), &[x], to);
        case.check();
    }
}

#[test]
fn pools_are_exact() {
    let windows = [
        window([2, 2], [2, 2], [1, 1], [0; 4]),
        window([3, 3], [1, 1], [1, 1], [1, 1, 1, 1]),
        window([6, 5], [1, 1], [1, 1], [0; 4]),
        window([2, 3], [1, 2], [2, 1], [1, 0, 0, 1]),
    ];
    for window in windows {
        for clamp in [Clamp::NONE, Clamp::RELU] {
            let max = MaxPool {
                window: window.clone(),
                clamp,
            };
            check_unary(&Op::MaxPool(max), &[1, 6, 5, 3]);
            for count_include_pad in [false, true] {
                let average = AveragePool {
                    window: window.clone(),
                    count_include_pad,
                    ceil_pads: [0, 0],
                    clamp,
                };
                check_unary(&Op::AveragePool(average), &[1, 6, 5, 3]);
            }
        }
    }
    for axes in [vec![1, 2], vec![0, 1, 2, 3], vec![3], vec![2, 3], vec![0]] {
        for kind in [ReduceKind::Mean, ReduceKind::Max] {
            check_unary(
                &Op::Reduce(Reduce {
                    kind,
                    axes: axes.clone(),
                }),
                &[1, 6, 5, 3],
            );
        }
    }
}

#[test]
fn movements_are_exact() {
    let x = [2, 3, 4, 5];
    check_unary(&Op::Reshape(Reshape { shape: vec![6, 20] }), &x);
    for perm in [
        vec![0, 3, 1, 2],
        vec![3, 2, 1, 0],
        vec![0, 1, 2, 3],
        vec![1, 0, 3, 2],
    ] {
        check_unary(&Op::Transpose(Transpose { perm }), &x);
    }
    for (starts, steps, shape) in [
        (vec![1, 0, 0, 0], vec![1, 1, 1, 1], vec![1, 3, 4, 5]),
        (vec![0, 1, 3, 4], vec![1, 1, -1, -2], vec![2, 2, 4, 3]),
        (vec![0, 0, 1, 0], vec![1, 2, 2, 1], vec![2, 2, 2, 5]),
    ] {
        check_unary(&Op::Slice(Slice { starts, steps, shape }), &x);
    }
    for mode in [
        PadMode::Constant(0.0),
        PadMode::Constant(-0.4),
        PadMode::Edge,
        PadMode::Reflect,
    ] {
        let pad = Pad {
            before: vec![0, 2, 1, 0],
            after: vec![0, 1, 3, 2],
            mode,
        };
        check_unary(&Op::Pad(pad), &x);
    }
}

#[test]
fn concatenations_are_exact() {
    for axis in 0..4 {
        for same in [true, false] {
            let mut case = Case::new(axis as u32);
            let mut shape = [1, 3, 2, 4];
            let to = case.random.params();
            let own = |case: &mut Case| if same { to } else { case.random.params() };
            let params = [own(&mut case), own(&mut case), own(&mut case)];
            let a = case.input("a", &shape, params[0]);
            shape[axis] += 2;
            let b = case.input("b", &shape, params[1]);
            let c = case.constant("c", &shape, params[2]);
            case.node(Op::Concat(Concat { axis }), &[a, b, c, a], to);
            case.check();
        }
    }
}

#[test]
fn gathers_are_exact() {
    for (axis, shape, indices) in [
        (1, vec![4], vec![0i64, 2, 4, -1]),
        (0, vec![], vec![1]),
        (2, vec![2, 2], vec![3, 3, 0, 1]),
        (1, vec![3], vec![1, 2, 3]),
    ] {
        for same in [true, false] {
            let mut case = Case::new(axis as u32);
            let (from, to) = (case.random.params(), case.random.params());
            let x = case.input("x", &[2, 5, 4], from);
            let indices = case.plain("indices", Values::new(shape.clone(), Data::I64(indices.clone())));
            case.node(
                Op::Gather(Gather { axis }),
                &[x, indices],
                if same { from } else { to },
            );
            case.check();
        }
    }
}

/// The reason why a node is refused.
pub(crate) fn refusal(case: &Case) -> String {
    let target = Target::builtin("mps2-an386").unwrap();
    let error = schedule::run(&target, &case.graph, &schedule::Options::default()).unwrap_err();
    error.to_string()
}

#[test]
fn what_has_no_exact_kernel_is_refused_by_name() {
    let mut case = Case::new(1);
    let params = case.random.params();
    let x = case.input("x", &[1, 4], params);
    let y = case.input("exponent", &[1, 4], params);
    let op = Binary {
        kind: BinaryKind::Pow,
        clamp: Clamp::NONE,
    };
    case.node(Op::Binary(op), &[x, y], params);
    let reason = refusal(&case);
    assert!(reason.contains("node") && reason.contains("exponent"), "{reason}");

    let mut case = Case::new(1);
    let x = case.input("x", &[2, 4, 3], params);
    case.node(Op::Softmax(Softmax::along(1)), &[x], params);
    let reason = refusal(&case);
    assert!(
        reason.contains("node") && reason.contains("last axis"),
        "{reason}"
    );
}

#[test]
fn a_planted_channel_without_an_exact_form_is_caught() {
    let mut case = Case::new(1);
    let unit = QuantParams {
        scale: 1.0,
        zero_point: 0,
    };
    let x = case.input("x", &[1, 1], unit);
    let weights = Values::new([2, 1], Data::I8(vec![100, 100]));
    let weights = case.graph.tensors.push(QuantTensor {
        name: "weights".into(),
        ty: weights.ty(),
        // Channel 0 is in order; channel 1 has ties that alternate on a grid of sixths.
        quantization: Quantization::PerChannel {
            axis: 0,
            scales: vec![0.017, 1.0],
        },
        model_dtype: DType::I8,
        data: Some(Arc::new(weights)),
    });
    let output = QuantParams {
        scale: 600.0,
        zero_point: 0,
    };
    case.node(Op::Dense(Dense { clamp: Clamp::NONE }), &[x, weights], output);
    let reason = refusal(&case);
    assert!(reason.contains("node") && reason.contains('1'), "{reason}");
    let target = Target::builtin("mps2-an386").unwrap();
    let options = schedule::Options {
        allow_inexact: true,
        ..schedule::Options::default()
    };
    let program = schedule::run(&target, &case.graph, &options).unwrap();
    let (name, proof) = &program.proofs[0];
    assert_eq!(name, "node");
    let channels: Vec<usize> = proof.inexact.iter().map(|inexact| inexact.channel).collect();
    assert_eq!(channels, [1]);
}

#[test]
fn sums_beyond_32_bits_are_refused_by_channel() {
    let mut case = Case::new(1);
    let params = QuantParams {
        scale: 0.1,
        zero_point: -128,
    };
    let x = case.input("x", &[1, 70_000], params);
    let weights = Values::new(
        [2, 70_000],
        Data::I8([vec![1; 70_000], vec![127; 70_000]].concat()),
    );
    let weights = case.graph.tensors.push(QuantTensor {
        name: "weights".into(),
        ty: weights.ty(),
        quantization: Quantization::PerChannel {
            axis: 0,
            scales: vec![0.001; 2],
        },
        model_dtype: DType::I8,
        data: Some(Arc::new(weights)),
    });
    case.node(Op::Dense(Dense { clamp: Clamp::NONE }), &[x, weights], params);
    let reason = refusal(&case);
    assert!(
        reason.contains("node") && reason.contains("channel 1"),
        "{reason}"
    );
    assert!(!reason.contains("channel 0"), "{reason}");
}

#[test]
fn a_delay_gives_the_input_of_the_run_before() {
    let mut case = Case::new(5);
    let (from, to) = (case.random.params(), case.random.params());
    let x = case.input("x", &[1, 6], from);
    case.node(Op::Delay(Delay {}), &[x], to);
    let target = Target::builtin("mps2-an386").unwrap();
    let program = schedule::run(&target, &case.graph, &schedule::Options::default()).unwrap();
    let blob = emit::blob(&target, &program, &emit::Options::default()).unwrap();
    let mut simulator = Simulator::new(&blob).unwrap();
    let mut before = Values::new([1, 6], Data::I8(vec![from.zero_point as i8; 6]));
    for _ in 0..3 {
        let now = Values::new([1, 6], Data::I8(case.random.codes(6)));
        let bytes: Vec<u8> = now.as_i8().unwrap().iter().map(|&code| code as u8).collect();
        let got: Vec<i8> = simulator.run(&[&bytes]).unwrap()[0]
            .iter()
            .map(|&byte| byte as i8)
            .collect();
        // In the reference a delay passes its input through.
        let wanted = meaning::outputs(&case.graph, &[before]);
        assert_eq!(got, wanted[0].as_i8().unwrap());
        before = now;
    }
}
