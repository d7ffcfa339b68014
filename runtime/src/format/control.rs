//! Records that decide which steps run next; their opcodes start at 60.

use super::record::{Field, fields, record};

/// Loops within each other, at most.
pub const MOST_NESTING: usize = 4;

record! {
    /// Runs the steps behind it, its body, again and again: before each time, the number of times so far goes to `ofm`.
    /// All steps of a body lie within the body of the loop around, if there is one; at most 4 loops lie within each other.
    Repeat = 60 {
        /// Arena offset of one byte; where `conditional` is 1, the body runs only while that is not 0.
        condition: u32,
        /// Arena offset of the counter, i64.
        ofm: u32,
        /// Steps of the body, those of loops inside included; at least 1.
        steps: u32,
        /// The most times that the body runs; at least 1.
        trips: u32,
        /// 1: the condition counts; 0: the body runs `trips` times.
        conditional: u8,
    }
}
