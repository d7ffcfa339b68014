//! What a model says of itself beside what it computes.

use super::FloatGraph;

/// Remarks of a model. None of them changes what is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The tool that wrote the file, with its version.
    pub producer: String,
    /// The model's own version; empty where it has none.
    pub version: String,
    /// The names of the classes, in the order of the output's; empty where the model has none.
    pub labels: Vec<String>,
    /// All other remarks as keys and values: the file's format and opsets (`onnx.…`), documentation, and the model's
    /// own properties. Cut to what an artifact has room for.
    pub texts: Vec<(String, String)>,
}

impl FloatGraph {
    /// Whether an output tells so many classes apart: by one element for each, or two by one.
    pub fn has_classes(&self, classes: usize) -> bool {
        self.outputs.iter().any(|&output| {
            let ty = &self.tensors[output].ty;
            ty.shape.contains(&classes) || classes == 2 && ty.len() == 1
        })
    }
}
