//! Operators: the reference meaning against ONNX's, by hand-made cases and by ONNX's own backend tests.

mod elementwise;
mod movement;
mod narrow;
mod products;
mod quantization;
mod scalar;
mod windows;

use tinsmith::op::tensor::{Data, TensorType, Values};
use tinsmith::op::{Op, OpError};

/// f32 values.
fn f32s(shape: &[usize], elements: &[f32]) -> Values {
    Values::f32(shape, elements.to_vec())
}

/// `0, 1, 2, …` in f32.
fn counting(shape: &[usize]) -> Values {
    let len = shape.iter().product::<usize>();
    Values::f32(shape, (0..len).map(|i| i as f32).collect())
}

/// i64 values.
fn i64s(shape: &[usize], elements: &[i64]) -> Values {
    Values::new(shape, Data::I64(elements.to_vec()))
}

/// Evaluates an operator of one output, and holds the type it announces against the one it gives.
fn eval(op: impl Into<OpOf>, inputs: &[&Values]) -> Result<Values, OpError> {
    let OpOf(op) = op.into();
    let types: Vec<TensorType> = inputs.iter().map(|values| values.ty()).collect();
    let announced = op.output_types(&types.iter().collect::<Vec<_>>())?;
    let mut outputs = op.eval(inputs)?;
    let found: Vec<TensorType> = outputs.iter().map(Values::ty).collect();
    assert_eq!(announced, found, "announced and given types of {op:?}");
    Ok(outputs.remove(0))
}

/// Expects exactly these values.
#[track_caller]
fn check(op: impl Into<OpOf>, inputs: &[&Values], expected: &Values) {
    assert_eq!(&eval(op, inputs).unwrap(), expected);
}

/// Expects a refusal that says this.
#[track_caller]
fn check_refused(op: impl Into<OpOf>, inputs: &[&Values], reason: &str) {
    let error = eval(op, inputs).unwrap_err();
    assert_eq!(error.reason, reason);
}

/// Expects a type.
#[track_caller]
fn check_type(op: impl Into<OpOf>, inputs: &[&Values], expected: &str) {
    assert_eq!(eval(op, inputs).unwrap().ty().to_string(), expected);
}

/// Any operator, so that cases name the operator itself.
struct OpOf(Op);

macro_rules! op_of {
    ($($name:ident),* $(,)?) => {$(
        impl From<tinsmith::op::$name> for OpOf {
            fn from(op: tinsmith::op::$name) -> Self {
                Self(Op::$name(op))
            }
        }
    )*};
}

op_of! {
    AveragePool,
    Attention,
    BatchNormalization,
    Binary,
    BitCast,
    Cast,
    Compare,
    Concat,
    Conv2d,
    ConvNd,
    Delay,
    Dense,
    DequantizeLinear,
    DequantizeTo,
    Gather,
    GridSample,
    LayerNorm,
    MatMul,
    MaxPool,
    MaxPoolIndices,
    NarrowCast,
    Pad,
    QuantizeLinear,
    QuantizeTo,
    Reduce,
    Resample,
    Reshape,
    RoiAlign,
    Select,
    Slice,
    Softmax,
    Transpose,
    Unary,
}

/// A small generator of reproducible numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    /// A number in `low..=high`.
    fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.next() as usize % (high - low + 1)
    }

    /// Reals in −1..1.
    fn reals(&mut self, shape: &[usize]) -> Values {
        let len = shape.iter().product::<usize>();
        Values::f32(
            shape,
            (0..len)
                .map(|_| self.next() as f32 / (1_u64 << 30) as f32 - 1.0)
                .collect(),
        )
    }
}
