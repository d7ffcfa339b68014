//! All tests in one binary, because linking is the slow part.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod arith;
mod blobs;
mod boards;
mod cli;
mod data;
mod diagnosis;
mod emit;
mod evaluate;
mod firmware;
mod format;
mod growth;
mod import;
mod ir;
mod kernels;
mod mix;
mod models;
mod ops;
mod passes;
mod quantize;
mod reference;
mod schedule;
mod shared;
mod targets;
mod tidy;
