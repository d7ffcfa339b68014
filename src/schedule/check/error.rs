//! What the checker finds.

/// A contradiction between a program and its graph, or within a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CheckError {
    /// Two buffers are alive at once on the same bytes.
    #[error("buffers `{a}` and `{b}` overlap while both are alive")]
    Overlap { a: String, b: String },
    /// A buffer is not inside the arena, or a state buffer not inside the state region.
    #[error("buffer `{buffer}` ends outside its region")]
    OutsideArena { buffer: String },
    /// The arena is larger than its bank.
    #[error("the arena is larger than bank `{bank}`")]
    OutsideBank { bank: String },
    /// A buffer starts where the target's lanes cannot read.
    #[error("buffer `{buffer}` is not aligned to {align} bytes")]
    Misaligned { buffer: String, align: u32 },
    /// The plan's bound is not that of its buffers, or above its own size.
    #[error("the lower bound is told as {told} bytes, and found as {found}")]
    WrongBound { told: u32, found: u64 },
    /// The program has other inputs or outputs than the graph.
    #[error("the program has {ports} ports where the graph has {tensors} tensors")]
    PortCount { ports: usize, tensors: usize },
    /// A port is not of its tensor's type and size.
    #[error("port `{port}` is not of its tensor's type")]
    WrongPort { port: String },
    /// Two inputs share bytes.
    #[error("input `{port}` overlaps an earlier one")]
    PortsOverlap { port: String },
    /// An output does not hold its tensor at the end.
    #[error("output `{port}` does not hold its value at byte {byte}")]
    WrongOutput { port: String, byte: u32 },
    /// A node's calls leave a byte of its output unwritten.
    #[error("the calls of node `{node}` never write byte {byte} of its output")]
    Unwritten { node: String, byte: u32 },
    /// A step is wrong.
    #[error("step {step} (`{name}`): {fault}")]
    Step { step: usize, name: String, fault: Fault },
}

/// What is wrong with a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Fault {
    /// The record is not the one its operator asked for.
    #[error("the record is not the operator's")]
    WrongRecord,
    /// What the program tells about an access is not what the record does, or lies outside a live buffer.
    #[error("an access is not inside its live buffer, or not what the record does")]
    WrongAccess,
    /// A source does not hold the value that the graph says.
    #[error("byte {byte} of `{tensor}` is not where it is read")]
    WrongValue { tensor: String, byte: i64 },
    /// Constants differ from the operator's, or are misaligned.
    #[error("its constants are not the operator's")]
    WrongConstants,
    /// A state region is shared, outside the region, or written by an output.
    #[error("a state region is not its own")]
    WrongState,
    /// The step may rest though its output is read, or a guard reads no condition.
    #[error("a guard is not a condition that the step depends on")]
    WrongGuard,
    /// The output overwrites a source that the kernel still reads.
    #[error("the output overlaps a source")]
    ClobbersSource,
}
