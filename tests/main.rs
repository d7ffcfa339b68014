//! All tests in one binary, because linking is the slow part.

mod arith;
mod blobs;
mod boards;
mod cli;
mod data;
mod firmware;
mod format;
mod import;
mod kernels;
mod models;
mod ops;
mod passes;
mod quantize;
mod reference;
mod schedule;
mod shared;
mod targets;
mod tidy;
