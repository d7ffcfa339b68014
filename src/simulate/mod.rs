//! Runs blobs: on the host through the runtime, which makes the simulator, and on emulated boards, which must agree
//! with it byte for byte.
//!
//! The simulator has no arithmetic of its own: the same crate, the same kernels and the same blob run on the device.

pub mod board;
pub mod edge;
mod error;
pub mod firmware;
mod simulator;
pub mod toolchain;

pub use error::{BoardError, SimulateError};
pub use simulator::Simulator;
