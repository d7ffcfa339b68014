//! Functions of reals and operations on two: every kind against its formula in f64.

use tinsmith_runtime::format::{BinaryF32, FunctionF32, Pair, PowerF32, UnaryF32};
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::kernels::float::function::{Function, Operation};

use super::plain::{Operand, indices, random_dims, run};
use crate::blobs::Random;

/// Reals of every size, NaN and infinities among them, whose bits are compared; NaN counts as one.
fn bits(reals: impl IntoIterator<Item = f32>) -> Vec<u32> {
    let canonical = |x: f32| if x.is_nan() { f32::NAN } else { x };
    reals.into_iter().map(|x| canonical(x).to_bits()).collect()
}

fn reals_of(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.as_chunks().0;
    words.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

#[test]
fn functions_of_reals_are_those_of_the_reference() {
    let random = &mut Random(55);
    let mut x: Vec<f32> = (0..400).map(|_| f32::from_bits(random.bits() as u32)).collect();
    x.extend((0..400).map(|_| random.range(-8000, 8000) as f32 / 512.0));
    x.extend([
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        2.5,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ]);
    let operand = Operand {
        bytes: x.iter().flat_map(|x| x.to_le_bytes()).collect(),
        width: 4,
        strides: [0; 4],
        constant: false,
    };
    let count = x.len() as u32;
    let (alpha, beta) = (0.25, 1.5);
    for &function in Function::ALL {
        let found = run(&[&operand], &[], x.len() * 4, |offsets, _, ofm| {
            let (ifm, kind) = (offsets[0], function.code());
            if function.is_simple() {
                Layer::UnaryF32(UnaryF32 {
                    ifm,
                    ofm,
                    count,
                    alpha,
                    beta,
                    kind,
                })
            } else {
                Layer::FunctionF32(FunctionF32 {
                    ifm,
                    ofm,
                    count,
                    kind,
                })
            }
        });
        let wanted = x.iter().map(|&x| function.apply(x, alpha, beta));
        assert_eq!(bits(reals_of(&found)), bits(wanted), "{function:?}");
        // The formula itself, in f64, within a few units of f32.
        for &x in &x {
            let (y, wanted) = (function.apply(x, alpha, beta), formula(function, x.into()));
            let near = f64::from(y) == wanted
                || y.is_nan() && wanted.is_nan()
                || (f64::from(y) - wanted).abs() <= 4e-6 * wanted.abs() + 2e-6
                || f64::from(y.abs()) >= f64::from(f32::MAX) && wanted.abs() > 3.4e38;
            assert!(near, "{function:?} of {x} is {y}, wanted {wanted}");
        }
    }
}

/// The functions with 0.25 and 1.5 for parameters.
fn formula(function: Function, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + libm::exp(-x));
    let softplus = |x: f64| x.max(0.0) + libm::log1p(libm::exp(-x.abs()));
    match function {
        _ if x.is_nan() && !matches!(function, Function::ThresholdedRelu | Function::Shrink) => f64::NAN,
        Function::Clamp => x.clamp(0.25, 1.5),
        Function::Sigmoid => sigmoid(x),
        Function::Tanh => libm::tanh(x),
        Function::Abs => x.abs(),
        Function::Neg => -x,
        Function::Reciprocal => 1.0 / x,
        Function::Sign if x == 0.0 => 0.0,
        Function::Sign => x.signum(),
        Function::Ceil => x.ceil(),
        Function::Floor => x.floor(),
        Function::Round => x.round_ties_even(),
        Function::Sqrt => x.sqrt(),
        Function::Exp => libm::exp(x),
        Function::LeakyRelu => x.max(0.25 * x),
        Function::Elu => x.max(0.0) + 0.25 * x.min(0.0).exp_m1(),
        Function::Selu => 1.5 * (x.max(0.0) + 0.25 * x.min(0.0).exp_m1()),
        Function::Celu => x.max(0.0) + 0.25 * (x.min(0.0) / 0.25).exp_m1(),
        Function::HardSigmoid => (0.25 * x + 1.5).clamp(0.0, 1.0),
        Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Function::ThresholdedRelu => [0.0, x][usize::from(x > 0.25)],
        Function::Shrink if x < -0.25 => x + 1.5,
        Function::Shrink if x > 0.25 => x - 1.5,
        Function::Shrink => 0.0,
        Function::Softsign => x / (1.0 + x.abs()),
        Function::Swish => x * sigmoid(0.25 * x),
        Function::Log => libm::log(x),
        Function::Sin => x.sin(),
        Function::Cos => x.cos(),
        Function::Tan => x.tan(),
        Function::Asin => x.asin(),
        Function::Acos => x.acos(),
        Function::Atan => x.atan(),
        Function::Sinh => x.sinh(),
        Function::Cosh => x.cosh(),
        Function::Asinh => libm::asinh(x),
        Function::Acosh if x < 1.0 => f64::NAN,
        Function::Acosh => libm::acosh(x),
        Function::Atanh => libm::atanh(x),
        Function::Erf => libm::erf(x),
        Function::Softplus => softplus(x),
        Function::Gelu => 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt())),
        Function::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            0.5 * x * (1.0 + libm::tanh(inner))
        }
        Function::Mish => x * libm::tanh(softplus(x)),
    }
}

#[test]
fn operations_on_reals_are_their_formulas() {
    let random = &mut Random(56);
    for _ in 0..100 {
        let dims = random_dims(random);
        let real = |random: &mut Random| {
            let special = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0];
            match random.range(0, 5) {
                0 => random.one_of(&special),
                _ => random.range(-999, 999) as f32 / 64.0,
            }
        };
        let operand = |random: &mut Random| {
            let mut operand = Operand::new(random, dims, 4);
            let count = operand.bytes.len() / 4;
            operand.bytes = (0..count).flat_map(|_| real(random).to_le_bytes()).collect();
            operand
        };
        let (a, b) = (operand(random), operand(random));
        let (min, max) = (-40.0f32, f32::INFINITY);
        for &operation in Operation::ALL {
            let formula = |a: f32, b: f32| match operation {
                Operation::Add => a + b,
                Operation::Sub => a - b,
                Operation::Mul => a * b,
                Operation::Div => a / b,
                Operation::Min | Operation::Max if a.is_nan() || b.is_nan() => f32::NAN,
                Operation::Min => [b, a][usize::from(a < b)],
                Operation::Max => [b, a][usize::from(a > b)],
                Operation::PRelu => [a, b * a][usize::from(a < 0.0)],
                Operation::Pow => libm::powf(a, b),
                Operation::Fmod => a % b,
            };
            let wanted = indices(dims).map(|index| {
                let y = formula(f32::from_le_bytes(a.at(index)), f32::from_le_bytes(b.at(index)));
                if y < min { min } else { y }
            });
            let wanted: Vec<f32> = wanted.collect();
            let found = run(&[&a, &b], &[], wanted.len() * 4, |offsets, _, ofm| {
                let record = BinaryF32 {
                    operands: Pair {
                        a: offsets[0],
                        b: offsets[1],
                        ofm,
                        dims,
                        a_strides: a.strides,
                        b_strides: b.strides,
                    },
                    min,
                    max,
                    kind: operation.code(),
                };
                if operation.is_simple() {
                    Layer::BinaryF32(record)
                } else {
                    Layer::PowerF32(PowerF32(record))
                }
            });
            assert_eq!(bits(reals_of(&found)), bits(wanted), "{operation:?}");
        }
    }
}
