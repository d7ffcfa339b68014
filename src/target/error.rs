//! Why a target description cannot be used.

/// Why a target description cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No target of that name is built in.
    #[error("no target `{name}` is built in; there are {}; a target of one's own is given by the path of its TOML file", .known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<&'static str>,
    },
    /// The text is no description of a target: a syntax error, an unknown field, a missing one, a wrong type.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Line in the TOML text, from 1.
        line: usize,
        /// What was wanted and what was found, with the fields or values that exist.
        reason: String,
    },
    /// The description contradicts itself or leaves out what every target needs.
    #[error("target `{name}`: {}", .reasons.join("; "))]
    Invalid {
        /// The target's name.
        name: String,
        /// All that is wrong.
        reasons: Vec<String>,
    },
}
