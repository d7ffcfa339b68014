//! Functions of one value: <https://onnx.ai/onnx/operators/onnx__Sigmoid.html> and its neighbours.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use tinsmith_runtime::kernels::float::function::{Function, Real};

use super::data::with_integers;
use super::element::{Element, Integer};
use super::lower::{InexactChannel, Operand, Proof};
use super::quant::{QuantParams, QuantTensor, Range};
use super::tensor::{Data, TensorType, Values, View};
use super::{Clamp, Constraint, LowerError, Lowered, OpError, Operator, OutputParams, expect};
use super::{movement, real, rescale, wide};
use crate::target::Target;

/// Which function; formulas stand at [`Function`]. Parameters are ONNX's, finite numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are ONNX's")]
pub enum UnaryKind {
    /// Relu and Clip: the value, limited.
    Clamp(Clamp),
    Sigmoid,
    Tanh,
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Celu {
        alpha: f32,
    },
    Cos,
    Cosh,
    Elu {
        alpha: f32,
    },
    Erf,
    Exp,
    Floor,
    Gelu,
    /// Gelu's approximation by the hyperbolic tangent.
    GeluTanh,
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    LeakyRelu {
        alpha: f32,
    },
    Log,
    Mish,
    Neg,
    Reciprocal,
    Round,
    Selu {
        alpha: f32,
        gamma: f32,
    },
    Shrink {
        lambd: f32,
        bias: f32,
    },
    Sign,
    Sin,
    Sinh,
    Softplus,
    Softsign,
    Sqrt,
    Swish {
        alpha: f32,
    },
    Tan,
    ThresholdedRelu {
        alpha: f32,
    },
}

impl UnaryKind {
    /// The function and its parameters.
    pub fn function(self) -> (Function, f32, f32) {
        let plain = |function| (function, 0.0, 0.0);
        match self {
            Self::Clamp(clamp) => {
                let (min, max) = real::ends(clamp);
                (Function::Clamp, min, max)
            }
            Self::Celu { alpha } => (Function::Celu, alpha, 0.0),
            Self::Elu { alpha } => (Function::Elu, alpha, 0.0),
            Self::HardSigmoid { alpha, beta } => (Function::HardSigmoid, alpha, beta),
            Self::LeakyRelu { alpha } => (Function::LeakyRelu, alpha, 0.0),
            Self::Selu { alpha, gamma } => (Function::Selu, alpha, gamma),
            Self::Shrink { lambd, bias } => (Function::Shrink, lambd, bias),
            Self::Swish { alpha } => (Function::Swish, alpha, 0.0),
            Self::ThresholdedRelu { alpha } => (Function::ThresholdedRelu, alpha, 0.0),
            Self::Sigmoid => plain(Function::Sigmoid),
            Self::Tanh => plain(Function::Tanh),
            Self::Abs => plain(Function::Abs),
            Self::Acos => plain(Function::Acos),
            Self::Acosh => plain(Function::Acosh),
            Self::Asin => plain(Function::Asin),
            Self::Asinh => plain(Function::Asinh),
            Self::Atan => plain(Function::Atan),
            Self::Atanh => plain(Function::Atanh),
            Self::Ceil => plain(Function::Ceil),
            Self::Cos => plain(Function::Cos),
            Self::Cosh => plain(Function::Cosh),
            Self::Erf => plain(Function::Erf),
            Self::Exp => plain(Function::Exp),
            Self::Floor => plain(Function::Floor),
            Self::Gelu => plain(Function::Gelu),
            Self::GeluTanh => plain(Function::GeluTanh),
            Self::HardSwish => plain(Function::HardSwish),
            Self::Log => plain(Function::Log),
            Self::Mish => plain(Function::Mish),
            Self::Neg => plain(Function::Neg),
            Self::Reciprocal => plain(Function::Reciprocal),
            Self::Round => plain(Function::Round),
            Self::Sign => plain(Function::Sign),
            Self::Sin => plain(Function::Sin),
            Self::Sinh => plain(Function::Sinh),
            Self::Softplus => plain(Function::Softplus),
            Self::Softsign => plain(Function::Softsign),
            Self::Sqrt => plain(Function::Sqrt),
            Self::Tan => plain(Function::Tan),
        }
    }

    /// The function of one real, in f64.
    pub fn of(self, x: f64) -> f64 {
        let (function, alpha, beta) = self.function();
        function.apply(x, f64::from(alpha), f64::from(beta))
    }

    /// The clamp that it is, if it is one.
    pub fn clamp(self) -> Option<Clamp> {
        if let Self::Clamp(clamp) = self {
            Some(clamp)
        } else {
            None
        }
    }

    /// Whether ONNX defines it for integers.
    fn takes_integers(self) -> bool {
        matches!(
            self,
            Self::Clamp(_) | Self::Abs | Self::Neg | Self::Sign | Self::Shrink { .. } | Self::Erf
        )
    }
}

/// `y = f(x)` elementwise.
///
/// One input of any shape, of reals, or of integers where ONNX defines the function for them; the output has its type.
/// f16 and bf16 are computed in f32 and rounded once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unary {
    /// Which function.
    pub kind: UnaryKind,
}

impl Operator for Unary {
    const ONNX: &'static [&'static str] = &[
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
    ];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 1..=1)?;
        if self.kind.takes_integers() {
            expect::number("x", inputs[0])?;
        } else {
            expect::float("x", inputs[0])?;
        }
        Ok(vec![inputs[0].clone()])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        expect::output(self, inputs)?;
        let x = inputs[0];
        let data = match x.data.view() {
            View::F32(v) => Data::F32(self.kind.over(v, |x| x, |y| y)),
            View::F64(v) => Data::F64(self.kind.over(v, |x| x, |y| y)),
            View::F16(v) => Data::F16(self.kind.over(v, f16::to_f32, f16::from_f32)),
            View::BF16(v) => Data::BF16(self.kind.over(v, bf16::to_f32, bf16::from_f32)),
            View::I8(_)
            | View::U8(_)
            | View::I16(_)
            | View::U16(_)
            | View::I32(_)
            | View::U32(_)
            | View::I64(_)
            | View::U64(_)
            | View::Bool(_)
            | View::Narrow(..) => integers(self.kind, x)?,
        };
        Ok(vec![Values::new(x.shape.clone(), data)])
    }

    fn output_params(&self) -> OutputParams {
        match self.kind {
            UnaryKind::Sigmoid => OutputParams::Fixed(QuantParams {
                scale: 1.0 / 256.0,
                zero_point: -128,
            }),
            UnaryKind::Tanh => OutputParams::Fixed(QuantParams {
                scale: 1.0 / 128.0,
                zero_point: 0,
            }),
            _ => OutputParams::Observed,
        }
    }

    fn output_range(&self, observed: Range) -> Range {
        match self.kind {
            UnaryKind::Clamp(clamp) => observed.clamped(clamp),
            UnaryKind::Sigmoid => Range { min: 0.0, max: 1.0 },
            UnaryKind::Tanh => Range { min: -1.0, max: 1.0 },
            _ => observed,
        }
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if real::computes(inputs, outputs)? {
            return real::unary(self.kind, inputs[0]);
        }
        if wide::computes(inputs, outputs)? {
            return wide::unary(self.kind, inputs[0], outputs[0]);
        }
        let (x, y) = (inputs[0], outputs[0]);
        let (from, to) = (
            rescale::activation(Some(x), "input")?,
            rescale::activation(Some(y), "output")?,
        );
        let (table, unsure) = rescale::unary(self.kind, from, to);
        let source = Operand::Input {
            index: 0,
            byte_offset: 0,
        };
        let proof = Proof {
            // An entry that f64 cannot place is listed under its index.
            inexact: unsure
                .into_iter()
                .map(|code| InexactChannel {
                    channel: (i32::from(code) + 128) as usize,
                    factor: f64::from(from.scale) / f64::from(to.scale),
                })
                .collect(),
            ..Proof::default()
        };
        Ok(Lowered::one(
            movement::table_call(source, table, x.ty.len())?,
            proof,
        ))
    }
}

impl UnaryKind {
    /// The function of every element, computed in `R`.
    fn over<T: Copy, R: Real>(self, x: &[T], to: impl Fn(T) -> R, from: impl Fn(R) -> T) -> Vec<T> {
        let (function, alpha, beta) = self.function();
        let (alpha, beta) = (R::of(alpha.into()), R::of(beta.into()));
        // Resolved here, so that the loops over the frequent ones have nothing to decide.
        macro_rules! each {
            ($($frequent:ident)*) => {
                match function {
                    $(Function::$frequent => {
                        x.iter().map(|&x| from(Function::$frequent.apply(to(x), alpha, beta))).collect()
                    })*
                    other => x.iter().map(|&x| from(other.apply(to(x), alpha, beta))).collect(),
                }
            };
        }
        each!(Clamp Sigmoid Tanh Abs Neg Sqrt Exp LeakyRelu HardSigmoid HardSwish Swish)
    }
}

fn integers(kind: UnaryKind, x: &Values) -> Result<Data, OpError> {
    fn each<T: Integer>(x: &[T], of: impl Fn(T) -> T) -> Data {
        T::data(x.iter().map(|&x| of(x)).collect())
    }
    let refused = || OpError::new(format!("numbers wanted, {} found", x.ty()));
    if matches!(kind, UnaryKind::Shrink { .. } | UnaryKind::Erf) {
        let y = kind.over(&x.to_f64(), |x| x, |y: f64| y);
        return Ok(Data::F64(y).cast(x.data.dtype()));
    }
    Ok(with_integers!(
        x.data,
        v => match kind {
            UnaryKind::Abs => each(v, |x| x.multiply(x.sign())),
            UnaryKind::Neg => each(v, |x| x.subtract(x).subtract(x)),
            UnaryKind::Sign => each(v, Integer::sign),
            UnaryKind::Clamp(clamp) => each(v, |x| x.clamped(clamp)),
            _ => return Err(refused()),
        },
        else return Err(refused())
    ))
}
