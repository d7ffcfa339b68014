//! Functions of one value, arithmetic on two, changes of element types.

use super::message::{count, float, int, number, word};
use super::order::Order;
use super::writer::Writer;
use super::{NEWEST_OPSET, no_form};
use crate::ir::{Handle, Node};
use crate::op::quant::QuantTensor;
use crate::op::tensor::DType;
use crate::op::{
    Binary, BinaryKind, Cast, DequantizeTo, Encoding, NarrowCast, OpError, QuantizeTo, Unary, UnaryKind,
};
use tinsmith_proto::AttributeProto;

/// Two operands in one order.
pub(super) fn pair(w: &mut Writer<'_>, node: &Node<QuantTensor>) -> ([String; 2], Order) {
    let rank = w.shape(node.outputs[0]).len();
    let order = w.order_of(&node.inputs, rank);
    let mut operand = |input: Handle<QuantTensor>| match order {
        Order::Own => w.read(input, order),
        Order::ChannelsFirst => w.read_as(input, order, rank),
    };
    ([operand(node.inputs[0]), operand(node.inputs[1])], order)
}

pub(super) fn binary(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Binary) -> Result<(), OpError> {
    if op.kind == BinaryKind::PRelu && w.shape(node.inputs[0]) != w.shape(node.outputs[0]) {
        return Err(no_form("a slope of more elements than what it slopes"));
    }
    let ([a, b], order) = pair(w, node);
    let dtype = w.dtype(node.outputs[0]);
    let is_bool = dtype == DType::Bool;
    let (op_type, attributes) = match op.kind {
        BinaryKind::Add => ("Add", Vec::new()),
        BinaryKind::Sub => ("Sub", Vec::new()),
        BinaryKind::Mul => ("Mul", Vec::new()),
        BinaryKind::Div => ("Div", Vec::new()),
        BinaryKind::Min => ("Min", Vec::new()),
        BinaryKind::Max => ("Max", Vec::new()),
        BinaryKind::Pow => ("Pow", Vec::new()),
        BinaryKind::Mod => ("Mod", vec![int("fmod", 0)]),
        BinaryKind::Fmod => ("Mod", vec![int("fmod", 1)]),
        BinaryKind::PRelu => ("PRelu", Vec::new()),
        BinaryKind::And if is_bool => ("And", Vec::new()),
        BinaryKind::Or if is_bool => ("Or", Vec::new()),
        BinaryKind::Xor if is_bool => ("Xor", Vec::new()),
        BinaryKind::And => ("BitwiseAnd", Vec::new()),
        BinaryKind::Or => ("BitwiseOr", Vec::new()),
        BinaryKind::Xor => ("BitwiseXor", Vec::new()),
        BinaryKind::ShiftLeft => ("BitShift", vec![word("direction", "LEFT")]),
        BinaryKind::ShiftRight => ("BitShift", vec![word("direction", "RIGHT")]),
    };
    let y = w.layer(op_type, &[&a, &b], attributes, op.clamp, dtype);
    w.write(node.outputs[0], order, y);
    Ok(())
}

pub(super) fn unary(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Unary) {
    let order = w.order_of(&node.inputs, w.shape(node.outputs[0]).len());
    let x = w.read(node.inputs[0], order);
    let dtype = w.dtype(node.outputs[0]);
    let y = match op.kind {
        UnaryKind::Clamp(clamp) => w.clamped(&x, clamp, dtype),
        UnaryKind::Swish { alpha } => {
            let scaled = if alpha == 1.0 {
                x.clone()
            } else {
                let alpha = w.number("alpha", alpha.into(), dtype);
                w.add("Mul", &[&x, &alpha], Vec::new())
            };
            let gate = w.add("Sigmoid", &[&scaled], Vec::new());
            w.own("Mul", &[&x, &gate], Vec::new())
        }
        kind => {
            if matches!(kind, UnaryKind::Gelu | UnaryKind::GeluTanh) {
                w.need(20);
            }
            let (op_type, attributes) = function(kind);
            w.own(op_type, &[&x], attributes)
        }
    };
    w.write(node.outputs[0], order, y);
}

/// The ONNX operator of a function.
fn function(kind: UnaryKind) -> (&'static str, Vec<AttributeProto>) {
    let plain = |op_type| (op_type, Vec::new());
    match kind {
        UnaryKind::Celu { alpha } => ("Celu", vec![float("alpha", alpha)]),
        UnaryKind::Elu { alpha } => ("Elu", vec![float("alpha", alpha)]),
        UnaryKind::HardSigmoid { alpha, beta } => {
            ("HardSigmoid", vec![float("alpha", alpha), float("beta", beta)])
        }
        UnaryKind::LeakyRelu { alpha } => ("LeakyRelu", vec![float("alpha", alpha)]),
        UnaryKind::Selu { alpha, gamma } => ("Selu", vec![float("alpha", alpha), float("gamma", gamma)]),
        UnaryKind::Shrink { lambd, bias } => ("Shrink", vec![float("lambd", lambd), float("bias", bias)]),
        UnaryKind::ThresholdedRelu { alpha } => ("ThresholdedRelu", vec![float("alpha", alpha)]),
        UnaryKind::GeluTanh => ("Gelu", vec![word("approximate", "tanh")]),
        // Both are written otherwise.
        UnaryKind::Clamp(_) | UnaryKind::Swish { .. } => plain("Identity"),
        UnaryKind::Sigmoid => plain("Sigmoid"),
        UnaryKind::Tanh => plain("Tanh"),
        UnaryKind::Abs => plain("Abs"),
        UnaryKind::Acos => plain("Acos"),
        UnaryKind::Acosh => plain("Acosh"),
        UnaryKind::Asin => plain("Asin"),
        UnaryKind::Asinh => plain("Asinh"),
        UnaryKind::Atan => plain("Atan"),
        UnaryKind::Atanh => plain("Atanh"),
        UnaryKind::Ceil => plain("Ceil"),
        UnaryKind::Cos => plain("Cos"),
        UnaryKind::Cosh => plain("Cosh"),
        UnaryKind::Erf => plain("Erf"),
        UnaryKind::Exp => plain("Exp"),
        UnaryKind::Floor => plain("Floor"),
        UnaryKind::Gelu => plain("Gelu"),
        UnaryKind::HardSwish => plain("HardSwish"),
        UnaryKind::Log => plain("Log"),
        UnaryKind::Mish => plain("Mish"),
        UnaryKind::Neg => plain("Neg"),
        UnaryKind::Reciprocal => plain("Reciprocal"),
        UnaryKind::Round => plain("Round"),
        UnaryKind::Sign => plain("Sign"),
        UnaryKind::Sin => plain("Sin"),
        UnaryKind::Sinh => plain("Sinh"),
        UnaryKind::Softplus => plain("Softplus"),
        UnaryKind::Softsign => plain("Softsign"),
        UnaryKind::Sqrt => plain("Sqrt"),
        UnaryKind::Tan => plain("Tan"),
    }
}

/// A node of one element after the other that reads its inputs as they are.
pub(super) fn plain(
    w: &mut Writer<'_>,
    node: &Node<QuantTensor>,
    op_type: &str,
    attributes: Vec<AttributeProto>,
) {
    let inputs: Vec<String> = node
        .inputs
        .iter()
        .map(|&input| w.read(input, Order::Own))
        .collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let y = w.own(op_type, &inputs, attributes);
    w.write(node.outputs[0], Order::Own, y);
}

pub(super) fn cast(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &Cast) {
    w.need(since(op.to));
    let order = w.order_of(&node.inputs, w.shape(node.outputs[0]).len());
    let x = w.read(node.inputs[0], order);
    let y = w.own("Cast", &[&x], vec![int("to", number(op.to))]);
    w.write(node.outputs[0], order, y);
}

/// The version of the operators that knows an element type.
fn since(dtype: DType) -> i64 {
    match dtype {
        DType::Narrow(narrow) if narrow.bits() < 8 => 21,
        DType::Narrow(_) => 19,
        _ => 0,
    }
}

pub(super) fn narrow_cast(
    w: &mut Writer<'_>,
    node: &Node<QuantTensor>,
    op: &NarrowCast,
) -> Result<(), OpError> {
    let to = DType::Narrow(op.to);
    if op.encoding.round != Encoding::default().round {
        return Err(no_form("a cast with a rounding of its own"));
    }
    w.need(since(to));
    let attributes = vec![int("to", number(to)), int("saturate", op.encoding.saturate)];
    plain(w, node, "Cast", attributes);
    Ok(())
}

pub(super) fn quantize(w: &mut Writer<'_>, node: &Node<QuantTensor>, axis: usize) {
    plain(w, node, "QuantizeLinear", vec![count("axis", axis)]);
}

pub(super) fn dequantize(w: &mut Writer<'_>, node: &Node<QuantTensor>, axis: usize) {
    plain(w, node, "DequantizeLinear", vec![count("axis", axis)]);
}

pub(super) fn quantize_to(
    w: &mut Writer<'_>,
    node: &Node<QuantTensor>,
    op: &QuantizeTo,
) -> Result<(), OpError> {
    if op.precision != w.dtype(node.inputs[1]) {
        return Err(no_form("a quantization in another precision than its scale's"));
    }
    w.need(NEWEST_OPSET);
    let attributes = vec![
        count("axis", op.axis),
        count("block_size", op.block_size),
        int("output_dtype", number(op.to)),
        int("saturate", op.saturate),
    ];
    plain(w, node, "QuantizeLinear", attributes);
    Ok(())
}

/// The reals in the scale's type, and from there in the one that is asked for.
pub(super) fn dequantize_to(w: &mut Writer<'_>, node: &Node<QuantTensor>, op: &DequantizeTo) {
    w.need(NEWEST_OPSET);
    let inputs: Vec<String> = node
        .inputs
        .iter()
        .map(|&input| w.read(input, Order::Own))
        .collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let attributes = vec![count("axis", op.axis), count("block_size", op.block_size)];
    let y = w.own("DequantizeLinear", &inputs, attributes);
    let y = w.cast(y, w.dtype(node.inputs[1]), op.to);
    w.write(node.outputs[0], Order::Own, y);
}
