//! What a model says of itself beside what it computes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FloatGraph, FloatTensor, Node};

/// Remarks of a model. None of them changes what is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The ONNX operator (with its domain where that is not ONNX's own) of each node of the file, by the node's name.
    pub operators: BTreeMap<String, String>,
}

impl FloatGraph {
    /// The name and the operator of the ONNX node that a node was made for, as who wrote the model knows them; the
    /// node's own where none is known.
    pub fn origin<'g>(&'g self, node: &'g Node<FloatTensor>) -> (&'g str, &'g str) {
        // What an ONNX node is made of is named after it, with a role behind.
        let mut name = node.name.as_str();
        loop {
            if let Some(operator) = self.metadata.operators.get(name) {
                return (name, operator);
            }
            match name.rsplit_once('/') {
                Some((front, _role)) => name = front,
                None => return (&node.name, node.op.name()),
            }
        }
    }

    /// Whether an output tells so many classes apart: by one element for each, or two by one.
    pub fn has_classes(&self, classes: usize) -> bool {
        self.outputs.iter().any(|&output| {
            let ty = &self.tensors[output].ty;
            ty.shape.contains(&classes) || classes == 2 && ty.len() == 1
        })
    }
}
