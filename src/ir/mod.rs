//! What the stages hand to each other: graphs of operators, programs, samples; with a verifier, a text form and a stored one.

mod graph;
mod metadata;
mod problem;
mod program;
mod samples;
pub mod stored;
pub mod text;
pub mod verify;

pub use graph::{Arena, FloatGraph, FloatTensor, Graph, Handle, Neighbours, Node, QuantGraph, TensorInfo};
pub use metadata::Metadata;
pub use problem::Problem;
pub use program::{Access, Buffer, LiveRange, MemoryPlan, Port, Program, Step, StepGuard, StoredBytes};
pub use samples::{NoSamples, Progress, SampleError, Samples};
