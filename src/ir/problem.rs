//! What stands in the way of a model: one entry per node and reason, all reported at once.

use std::fmt;

use serde::Serialize;

/// Why a node of the model cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The ONNX node's name; for an unnamed one, its first output's.
    pub node: String,
    /// Its ONNX operator.
    pub operator: String,
    /// What was wanted and what was found.
    pub reason: String,
    /// The way out, if there is one.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: {}", self.operator, self.node, self.reason)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}
