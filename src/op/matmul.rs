//! MatMul: <https://onnx.ai/onnx/operators/onnx__MatMul.html>, NumPy's rules for ranks and batches.

use serde::{Deserialize, Serialize};


/// `y[…, m, n] = Σ a[…, m, k]·b[…, k, n]`. With constant `b` of rank 2 the optimizer makes it a `Dense`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatMul {}
