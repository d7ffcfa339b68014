//! Import: small models built in code, real models, bad ones.

pub(crate) mod onnx;
mod real;
