//! The runtime that executes Tinsmith blobs: the product on the device, the simulator on the host.
//!
//! A blob is data and data is not trusted. [`Blob::check`] proves structure, bounds and checksum once; after it a
//! [`Model`] runs any number of times over an arena that the caller owns, without allocation, without panics and
//! without a loop whose length the check did not bound.
//!
//! ```text
//! format   the blob: header, records, fields; one definition for writer and reader
//! blob     Blob::check, accessors, Blob::verify
//! check    the proof that a program stays within its memory
//! arena    working memory, given by the caller
//! arith    the only code that rescales
//! kernels  one file per operator: what a record means
//! lanes    the register blocks an instruction set may speed up; `Portable` is the definition
//! exec     the loop over records
//! ```
//!
//! This crate knows nothing of the compiler. The compiler uses its format, its arithmetic and its records.
#![no_std]

pub mod arena;
pub mod arith;
pub mod blob;
pub mod check;
pub mod exec;
pub mod format;
pub mod kernels;
pub mod lanes;
pub mod sample;

pub use arith::{FixedScale, Rounding};
pub use blob::Blob;
pub use check::{BlobError, StepProblem};
pub use exec::{Model, Observer, RunError};
