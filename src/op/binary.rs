//! Arithmetic and logic on two operands: <https://onnx.ai/onnx/operators/onnx__Add.html> and its neighbours, NumPy
//! broadcasting.

use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use tinsmith_runtime::kernels::binary_integer::IntegerOperation;
use tinsmith_runtime::kernels::float::function::{Operation, Real};

use super::element::Integer;
use super::pairwise::{Sides, one_value};
use super::quant::{QuantTensor, Range};
use super::runs::Runs;
use super::tensor::{DType, Data, TensorType, Values, View, broadcast_shape};
use super::{Clamp, Constraint, LowerError, Lowered, OpError, Operator, expect, plain, real, wide};
use crate::target::Target;

/// Which operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BinaryKind {
    Add,
    Sub,
    Mul,
    Div,
    /// The lesser; NaN where one is.
    Min,
    /// The greater; NaN where one is.
    Max,
    /// `a` to the power of `b`.
    Pow,
    /// The rest of a division, of the divisor's sign; integers only.
    Mod,
    /// The rest of a division, of the dividend's sign.
    Fmod,
    /// `a` if it is not negative, `b·a` else.
    PRelu,
    /// Of truth values, or bit by bit.
    And,
    /// Of truth values, or bit by bit.
    Or,
    /// Of truth values, or bit by bit.
    Xor,
    /// Integers only; nothing is left of a shift by all bits or more.
    ShiftLeft,
    /// Integers only; as [`BinaryKind::ShiftLeft`].
    ShiftRight,
}

impl BinaryKind {
    /// The operation on reals; `None` where there is none.
    pub(super) fn of_reals(self) -> Option<Operation> {
        match self {
            Self::Add => Some(Operation::Add),
            Self::Sub => Some(Operation::Sub),
            Self::Mul => Some(Operation::Mul),
            Self::Div => Some(Operation::Div),
            Self::Min => Some(Operation::Min),
            Self::Max => Some(Operation::Max),
            Self::Pow => Some(Operation::Pow),
            Self::Fmod => Some(Operation::Fmod),
            Self::PRelu => Some(Operation::PRelu),
            Self::Mod | Self::And | Self::Or | Self::Xor | Self::ShiftLeft | Self::ShiftRight => None,
        }
    }

    /// The device's operation on integers; `None` where there is none.
    pub(super) fn of_integers(self) -> Option<IntegerOperation> {
        match self {
            Self::Add => Some(IntegerOperation::Add),
            Self::Sub => Some(IntegerOperation::Sub),
            Self::Mul => Some(IntegerOperation::Mul),
            Self::Div => Some(IntegerOperation::Div),
            Self::Min => Some(IntegerOperation::Min),
            Self::Max => Some(IntegerOperation::Max),
            Self::Mod => Some(IntegerOperation::Mod),
            Self::Fmod => Some(IntegerOperation::Fmod),
            Self::And => Some(IntegerOperation::And),
            Self::Or => Some(IntegerOperation::Or),
            Self::Xor => Some(IntegerOperation::Xor),
            Self::Pow | Self::PRelu | Self::ShiftLeft | Self::ShiftRight => None,
        }
    }

    /// Whether it is defined on elements of this type.
    fn takes(self, dtype: DType) -> bool {
        match self {
            Self::And | Self::Or | Self::Xor => dtype.is_integer() || dtype == DType::Bool,
            Self::Mod | Self::ShiftLeft | Self::ShiftRight => dtype.is_integer(),
            Self::Add
            | Self::Sub
            | Self::Mul
            | Self::Div
            | Self::Min
            | Self::Max
            | Self::Pow
            | Self::Fmod
            | Self::PRelu => dtype.is_integer() || dtype.is_float(),
        }
    }

    /// What the operator takes, in words.
    fn wanted(self) -> &'static str {
        match self {
            Self::And | Self::Or | Self::Xor => "truth values or integers",
            Self::Mod | Self::ShiftLeft | Self::ShiftRight => "integers",
            _ => "numbers",
        }
    }
}

/// `y = clamp(a ∘ b)` elementwise.
///
/// Inputs: two of one element type whose shapes broadcast to one another; the output has their type. f16 and bf16 are
/// computed in f32 and rounded once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binary {
    /// Which operation.
    pub kind: BinaryKind,
    /// The activation fused behind it.
    pub clamp: Clamp,
}

impl From<BinaryKind> for Binary {
    /// The operation without a fused activation.
    fn from(kind: BinaryKind) -> Self {
        Self {
            kind,
            clamp: Clamp::NONE,
        }
    }
}

/// The shape of operands broadcast to one another.
pub(super) fn broadcast(inputs: &[&TensorType]) -> Result<Vec<usize>, OpError> {
    inputs
        .iter()
        .skip(1)
        .try_fold(inputs[0].shape.clone(), |shape, ty| {
            broadcast_shape(&shape, &ty.shape).ok_or_else(|| {
                let found: Vec<String> = inputs.iter().map(ToString::to_string).collect();
                OpError::new(format!(
                    "shapes that broadcast to one another wanted, {} found",
                    found.join(" and ")
                ))
            })
        })
}

impl Operator for Binary {
    const ONNX: &'static [&'static str] = &[
        "Add",
        "And",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "Div",
        "Max",
        "Mean",
        "Min",
        "Mod",
        "Mul",
        "Not",
        "Or",
        "PRelu",
        "Pow",
        "Sub",
        "Sum",
        "Xor",
    ];
    const CONSTRAINTS: &'static [Constraint<Self>] = &[];

    fn output_types(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, OpError> {
        expect::count(inputs, 2..=2)?;
        if !self.kind.takes(inputs[0].dtype) {
            return Err(OpError::new(format!(
                "{} wanted as `a`, {} found",
                self.kind.wanted(),
                inputs[0]
            )));
        }
        expect::dtype("b", inputs[1], inputs[0].dtype)?;
        Ok(vec![TensorType::new(inputs[0].dtype, broadcast(inputs)?)])
    }

    fn eval(&self, inputs: &[&Values]) -> Result<Vec<Values>, OpError> {
        let ty = expect::output(self, inputs)?;
        let pairs = Runs::broadcast([&inputs[0].shape, &inputs[1].shape], &ty.shape);
        let data = match (inputs[0].data.view(), inputs[1].data.view()) {
            (View::F32(a), View::F32(b)) => Data::F32(self.reals(&pairs, a, b, |x| x, |y: f32| y)?),
            (View::F64(a), View::F64(b)) => Data::F64(self.reals(&pairs, a, b, |x| x, |y: f64| y)?),
            (View::F16(a), View::F16(b)) => {
                Data::F16(self.reals(&pairs, a, b, f16::to_f32, f16::from_f32)?)
            }
            (View::BF16(a), View::BF16(b)) => {
                Data::BF16(self.reals(&pairs, a, b, bf16::to_f32, bf16::from_f32)?)
            }
            (View::I8(a), View::I8(b)) => self.integers(&pairs, a, b)?,
            (View::U8(a), View::U8(b)) => self.integers(&pairs, a, b)?,
            (View::I16(a), View::I16(b)) => self.integers(&pairs, a, b)?,
            (View::U16(a), View::U16(b)) => self.integers(&pairs, a, b)?,
            (View::I32(a), View::I32(b)) => self.integers(&pairs, a, b)?,
            (View::U32(a), View::U32(b)) => self.integers(&pairs, a, b)?,
            (View::I64(a), View::I64(b)) => self.integers(&pairs, a, b)?,
            (View::U64(a), View::U64(b)) => self.integers(&pairs, a, b)?,
            (View::Bool(a), View::Bool(b)) => Data::Bool(pairs.map(a, b, |a, b| match self.kind {
                BinaryKind::And => a & b,
                BinaryKind::Or => a | b,
                _ => a ^ b, // the type check let nothing else through
            })),
            _ => return Err(OpError::new(format!("numbers wanted, {ty} found"))),
        };
        Ok(vec![Values::new(ty.shape, data)])
    }

    fn output_range(&self, observed: Range) -> Range {
        observed.clamped(self.clamp)
    }

    fn lower(
        &self,
        _target: &Target,
        inputs: &[&QuantTensor],
        outputs: &[&QuantTensor],
    ) -> Result<Lowered, LowerError> {
        if plain::is_integer(outputs[0]) {
            return plain::binary(self, inputs, outputs[0]);
        }
        if real::computes(inputs, outputs)? {
            return real::binary(self.kind, self.clamp, inputs, outputs[0]);
        }
        if wide::computes(inputs, outputs)? {
            return wide::binary(self, inputs, outputs[0]);
        }
        let (a, b, y) = (inputs[0], inputs[1], outputs[0]);
        for (constant, other, constant_first) in [(b, a, false), (a, b, true)] {
            if let (Some(value), None) = (one_value(constant), &other.data)
                && other.ty.len() == y.ty.len()
            {
                return self.lower_constant(value, constant_first, other, y);
            }
        }
        if self.kind == BinaryKind::PRelu {
            return self.lower_slopes(inputs, y);
        }
        let sides = Sides::new(inputs, y)?;
        let refused = |what: &str, help: &str| {
            Err(OpError::new(format!("{what} has no exact integer kernel"))
                .with_help(help)
                .into())
        };
        match self.kind {
            BinaryKind::Add | BinaryKind::Sub => self.lower_sum(&sides, y),
            BinaryKind::Mul => self.lower_product(&sides, y),
            BinaryKind::Min | BinaryKind::Max => self.lower_min_max(&sides, y),
            BinaryKind::Div => self.lower_quotient(&sides, y),
            BinaryKind::Pow => refused(
                "a power with an exponent that is no scalar constant",
                "make the exponent a scalar constant, or compile with --precision f32",
            ),
            BinaryKind::Fmod => refused("the rest of a division", "compile with --precision f32"),
            BinaryKind::PRelu
            | BinaryKind::Mod
            | BinaryKind::And
            | BinaryKind::Or
            | BinaryKind::Xor
            | BinaryKind::ShiftLeft
            | BinaryKind::ShiftRight => refused("an operation on integers", "compile with --precision f32"),
        }
    }
}

impl Binary {
    fn reals<T: Copy + Default, R: Real>(
        &self,
        pairs: &Runs<2>,
        a: &[T],
        b: &[T],
        to: impl Fn(T) -> R,
        from: impl Fn(R) -> T,
    ) -> Result<Vec<T>, OpError> {
        let operation = self
            .kind
            .of_reals()
            .ok_or_else(|| OpError::new("integers wanted, reals found"))?;
        let (min, max) = real::ends(self.clamp);
        let (min, max) = (R::of(min.into()), R::of(max.into()));
        let clamped = |y: R| {
            let y = if y < min { min } else { y };
            if y > max { max } else { y }
        };
        // Resolved here, so that the loops over the frequent ones have nothing to decide.
        macro_rules! each {
            ($($frequent:ident)*) => {
                match operation {
                    $(Operation::$frequent => pairs.map(a, b, |a, b| {
                        from(clamped(Operation::$frequent.apply(to(a), to(b))))
                    }),)*
                    other => pairs.map(a, b, |a, b| from(clamped(other.apply(to(a), to(b))))),
                }
            };
        }
        Ok(each!(Add Sub Mul Div Min Max PRelu))
    }

    fn integers<T: Integer>(&self, pairs: &Runs<2>, a: &[T], b: &[T]) -> Result<Data, OpError> {
        let of_pair = |a: T, b: T| {
            let y = match self.kind {
                BinaryKind::Add => a.add(b),
                BinaryKind::Sub => a.subtract(b),
                BinaryKind::Mul => a.multiply(b),
                BinaryKind::Div => a.divide(b)?,
                BinaryKind::Min => {
                    if a < b {
                        a
                    } else {
                        b
                    }
                }
                BinaryKind::Max => {
                    if a > b {
                        a
                    } else {
                        b
                    }
                }
                BinaryKind::Pow => a.power(b)?,
                BinaryKind::Mod => a.modulo(b)?,
                BinaryKind::Fmod => a.rest(b)?,
                BinaryKind::PRelu if a < T::default() => a.multiply(b),
                BinaryKind::PRelu => a,
                BinaryKind::And => a.and(b),
                BinaryKind::Or => a.or(b),
                BinaryKind::Xor => a.xor(b),
                BinaryKind::ShiftLeft => a.shifted_left(b),
                BinaryKind::ShiftRight => a.shifted_right(b),
            };
            Some(y.clamped(self.clamp))
        };
        let y: Option<Vec<T>> = pairs.map(a, b, of_pair).into_iter().collect();
        y.map(T::data)
            .ok_or_else(|| OpError::new("divisors other than zero wanted, an integer 0 found"))
    }
}
