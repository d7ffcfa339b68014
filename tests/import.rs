//! Import: small models built in code, real models, bad ones.

mod about;
mod bad;
mod external;
mod nodes;
pub(crate) mod onnx;
mod operators;
mod real;
mod refused;
