//! Matrix products. `Gemm` becomes a `MatMul` with what it needs around it; the optimizer then makes both `Dense`.

use super::super::builder::Tensor;
use super::super::layout::transpose_constant;
use super::{Call, Importer, Made, onnx};
use crate::op::tensor::broadcast_shape;
use crate::op::{Binary, BinaryKind, Clamp, MatMul, Op, OpError};

pub(super) const IMPORTERS: &[Importer] = &[onnx("Gemm", gemm), onnx("MatMul", matmul)];

fn matmul(call: &mut Call<'_>) -> Made {
    let inputs = [call.input(0)?, call.input(1)?];
    Ok(vec![call.graph.emit(Op::MatMul(MatMul {}), &inputs, "")?])
}

/// `alpha · a' · b' + beta · c`, where `a'` and `b'` may be transposed. Constants take up the factors.
fn gemm(call: &mut Call<'_>) -> Made {
    let a = operand(call, 0, "transA")?;
    let mut b = operand(call, 1, "transB")?;
    let alpha = call.attrs.float("alpha", 1.0)?;
    let beta = call.attrs.float("beta", 1.0)?;
    if call.version < 11 {
        call.input(2)?;
    }
    // Opset 7 made broadcasting the rule.
    let broadcasts = call.version >= 7 || call.attrs.flag("broadcast", false)?;
    let scale_b = alpha != 1.0 && call.graph.constant_of(b).is_some();
    if scale_b {
        b = scaled(call, b, alpha, "alpha")?;
    }
    let c = call.optional(2).filter(|_| beta != 0.0);
    let product = Op::MatMul(MatMul {});
    if c.is_none() && (scale_b || alpha == 1.0) {
        return Ok(vec![call.graph.emit(product, &[a, b], "")?]);
    }
    let mut y = call.graph.emit(product, &[a, b], "product")?;
    if alpha != 1.0 && !scale_b {
        y = scaled(call, y, alpha, "alpha")?;
    }
    if let Some(c) = c {
        let (to, from) = (call.graph.shape(y), call.graph.shape(c));
        let fits = if broadcasts {
            broadcast_shape(to, from).as_deref() == Some(to)
        } else {
            to == from
        };
        if !fits {
            return Err(OpError::new(format!(
                "c that broadcasts to {to:?} wanted, {from:?} found"
            )));
        }
        let c = if beta == 1.0 {
            c
        } else {
            scaled(call, c, beta, "beta")?
        };
        let sum = Op::Binary(Binary {
            kind: BinaryKind::Add,
            clamp: Clamp::NONE,
        });
        y = call.graph.emit(sum, &[y, c], "")?;
    }
    Ok(vec![y])
}

/// A matrix, transposed where the attribute says so.
fn operand(call: &mut Call<'_>, index: usize, transposed: &str) -> Result<Tensor, OpError> {
    let x = call.input(index)?;
    if call.graph.shape(x).len() != 2 {
        return Err(OpError::new(format!(
            "matrices wanted, {} found",
            call.graph.ty(x)
        )));
    }
    if call.attrs.flag(transposed, false)? {
        transpose_constant(call.graph, x, &[1, 0])
    } else {
        Ok(x)
    }
}

fn scaled(call: &mut Call<'_>, x: Tensor, factor: f32, role: &str) -> Result<Tensor, OpError> {
    let ty = call.graph.ty(x);
    if !ty.dtype.is_float() && factor.fract() != 0.0 {
        return Err(OpError::new(format!(
            "an integer as `{role}` of {ty} wanted, {factor} found"
        )));
    }
    let factor = call.graph.scalar_like(x, factor.into(), role);
    call.graph.mul(x, factor, &format!("times_{role}"))
}
