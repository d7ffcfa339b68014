//! Import: small models built in code, real models, bad ones.

mod about;
mod bad;
pub(crate) mod control;
mod elementwise;
mod external;
pub(crate) mod functions;
pub(crate) mod loops;
mod nodes;
pub(crate) mod onnx;
mod onnxruntime;
mod operators;
mod places;
mod quantized;
mod real;
mod refused;
mod scores;
mod windows;
