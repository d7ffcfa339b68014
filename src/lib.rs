//! Tinsmith: an ahead-of-time compiler for the edge.
//!
//! An ONNX model becomes a flashable blob in five stages; each is a verb, and only this file joins them:
//!
//! ```text
//! model.onnx     calibration samples
//!    │ import             protobuf → FloatGraph, static shapes, channels-last inside
//!    │ optimize           folding, fusion, transpose elimination
//!    │ quantize           FloatGraph + samples → QuantGraph, or QDQ nodes taken as they stand
//!    │ schedule(target)   QuantGraph → Program: kernels, packing, order, live ranges, memory plan
//!    │ emit               Program → blob, and from it .bin .hex .elf
//!    ▼
//! tinsmith-runtime on the device == tinsmith-runtime on the host (the simulator)
//! ```

pub mod data;
pub mod emit;
pub mod evaluate;
pub mod import;
pub mod ir;
pub mod op;
pub mod optimize;
pub mod quantize;
pub mod reference;
pub mod schedule;
pub mod simulate;
pub mod target;
