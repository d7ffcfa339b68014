//! Import: small models built in code, real models, bad ones.

pub(crate) mod control;
mod external;
mod functions;
mod nodes;
pub(crate) mod onnx;
mod operators;
mod real;
mod refused;
