//! Import: small models built in code, real models, bad ones.

mod conformance;
mod onnx;
mod real;
