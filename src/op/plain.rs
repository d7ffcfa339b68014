//! What kernels over plain numbers and truth values lower to: tensors that are not quantized, of whatever element type
//! the model has.

use tinsmith_runtime::format::{BinaryInteger, Compare, Convert, Select};
use tinsmith_runtime::kernels::Layer;
use tinsmith_runtime::kernels::binary_integer::IntegerOperation;
use tinsmith_runtime::kernels::number::Number;

use super::geometry::Geometry;
use super::lower::{KernelCall, LowerError, Lowered, Operand};
use super::movement::fitting;
use super::quant::{QuantTensor, Quantization};
use super::tensor::DType;
use super::{Binary, BinaryKind, CompareKind, OpError};

const INT8_HELP: &str = "compile with --precision f32";

/// Whether a tensor holds integers or truth values that stand for themselves.
pub(super) fn is_integer(tensor: &QuantTensor) -> bool {
    is_plain(tensor) && (tensor.ty.dtype.is_integer() || tensor.ty.dtype == DType::Bool)
}

fn is_plain(tensor: &QuantTensor) -> bool {
    tensor.quantization == Quantization::Plain
}

/// The element type of a tensor that is not quantized, as records have it.
fn number(tensor: &QuantTensor) -> Result<Number, OpError> {
    if !is_plain(tensor) {
        return Err(OpError::new(format!(
            "it computes with plain numbers, but `{}` is quantized",
            tensor.name
        ))
        .with_help(INT8_HELP));
    }
    match tensor.ty.dtype {
        DType::F32 => Ok(Number::F32),
        DType::Bool => Ok(Number::Bool),
        DType::U8 => Ok(Number::U8),
        DType::I8 => Ok(Number::I8),
        DType::U16 => Ok(Number::U16),
        DType::I16 => Ok(Number::I16),
        DType::U32 => Ok(Number::U32),
        DType::I32 => Ok(Number::I32),
        DType::I64 => Ok(Number::I64),
        DType::F64 | DType::F16 | DType::BF16 | DType::U64 | DType::Narrow(_) => Err(OpError::new(format!(
            "no kernel computes with {}, the type of `{}`",
            tensor.ty.dtype, tensor.name
        ))
        .with_help("cast it to f32 in the model")),
    }
}

/// Two broadcast operands.
fn pair(inputs: &[&QuantTensor], y: &QuantTensor) -> Result<Geometry<2>, OpError> {
    Geometry::new([&inputs[0].ty.shape, &inputs[1].ty.shape], &y.ty.shape)
}

/// A comparison.
pub(super) fn compare(
    kind: CompareKind,
    inputs: &[&QuantTensor],
    y: &QuantTensor,
) -> Result<Lowered, LowerError> {
    number(y)?;
    number(inputs[1])?;
    let geometry = pair(inputs, y)?;
    let record = Compare {
        operands: geometry.pair()?,
        kind: match kind {
            CompareKind::Equal => 0,
            CompareKind::Less => 1,
            CompareKind::LessOrEqual => 2,
        },
        element: number(inputs[0])?.code(),
    };
    Ok(calls(geometry.calls(Layer::Compare(record), inputs, y)))
}

/// Arithmetic on integers, or logic.
pub(super) fn binary(op: &Binary, inputs: &[&QuantTensor], y: &QuantTensor) -> Result<Lowered, LowerError> {
    let operation = op.kind.of_integers().ok_or_else(|| {
        OpError::new(format!(
            "{:?} of computed integers has no kernel, and `{}` is {}",
            op.kind, y.name, y.ty
        ))
        .with_help("keep it to shapes and constants, which are folded")
    })?;
    if !op.clamp.is_none() {
        return Err(OpError::new("a fused activation has no kernel on integers").into());
    }
    let divides = matches!(
        operation,
        IntegerOperation::Div | IntegerOperation::Mod | IntegerOperation::Fmod
    );
    let divisors = inputs[1].data.as_deref().and_then(|values| values.to_i64());
    if divides && divisors.is_none_or(|divisors| divisors.contains(&0)) {
        return Err(
            OpError::new("integers are divided by constants other than zero only")
                .with_help("compute in floats, or make the divisor a constant")
                .into(),
        );
    }
    number(inputs[0])?;
    number(inputs[1])?;
    let geometry = pair(inputs, y)?;
    let record = BinaryInteger {
        operands: geometry.pair()?,
        kind: operation.code(),
        element: number(y)?.code(),
    };
    Ok(calls(geometry.calls(Layer::BinaryInteger(record), inputs, y)))
}

/// A choice between two operands.
pub(super) fn select(inputs: &[&QuantTensor], y: &QuantTensor) -> Result<Lowered, LowerError> {
    for tensor in inputs.iter().chain([&y]) {
        if !is_plain(tensor) {
            return Err(OpError::new(format!(
                "a choice between two tensors has no int8 kernel, and `{}` is quantized",
                tensor.name
            ))
            .with_help(INT8_HELP)
            .into());
        }
    }
    let shapes = [0, 1, 2].map(|side: usize| inputs[side].ty.shape.as_slice());
    let geometry = Geometry::new(shapes, &y.ty.shape)?;
    let record = Select {
        dims: geometry.dims()?,
        condition_strides: geometry.strides(0)?,
        a_strides: geometry.strides(1)?,
        b_strides: geometry.strides(2)?,
        element_bytes: fitting(y.ty.dtype.bytes())?,
        ..Select::default()
    };
    Ok(calls(geometry.calls(Layer::Select(record), inputs, y)))
}

/// Elements in another type.
pub(super) fn convert(x: &QuantTensor, y: &QuantTensor) -> Result<Lowered, LowerError> {
    let record = Convert {
        count: fitting(y.ty.len())?,
        from: number(x)?.code(),
        to: number(y)?.code(),
        ..Convert::default()
    };
    let source = Operand::Input {
        index: 0,
        byte_offset: 0,
    };
    Ok(Lowered::from(KernelCall::new(
        Layer::Convert(record),
        vec![source],
        Vec::new(),
    )))
}

fn calls(calls: Vec<KernelCall>) -> Lowered {
    Lowered {
        calls,
        ..Lowered::default()
    }
}

/// Whether int8 tensors, one of them with more than one element, have no kernel for an operation, whatever their
/// parameters.
pub(crate) fn needs_reals(kind: BinaryKind) -> bool {
    !matches!(
        kind,
        BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul | BinaryKind::Min | BinaryKind::Max
    )
}
