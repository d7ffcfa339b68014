//! The reader of the text form.

use std::collections::HashMap;
use std::sync::Arc;

use super::cursor::{Cursor, MAX_ELEMENTS, syntax};
use crate::ir::{FloatTensor, Graph, Handle, Node, TensorInfo};
use crate::op::quant::{QuantTensor, Quantization};
use crate::op::tensor::{DType, TensorType, Values};

/// Bodies within each other, at most: texts are not trusted.
const MAX_NESTING: usize = 32;

/// Where and why a text is no graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub kind: ParseErrorKind,
}

/// Why a line is no statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ParseErrorKind {
    #[error("wanted {wanted}, found `{found}`")]
    Syntax { wanted: &'static str, found: String },
    #[error("the text has no line `graph \"…\"`")]
    NoGraph,
    #[error("no line above defines `%{name}`")]
    Unknown { name: String },
    #[error("`%{name}` is defined above")]
    Repeated { name: String },
    #[error("no operator takes these fields: {reason}")]
    Operator { reason: String },
    #[error("the type cannot be inferred: {reason}")]
    Inference { reason: String },
    #[error("{ty} needs {wanted} elements, found {found}")]
    Elements { ty: String, wanted: usize, found: usize },
    #[error("a summary does not hold the elements; print the graph in full")]
    Summary,
    #[error("more than {MAX_ELEMENTS} elements")]
    TooLarge,
    #[error("tensors of this kind of graph carry no quantization")]
    Unquantized,
}

/// What the statement of a tensor says.
pub struct TensorParts {
    pub(super) name: String,
    pub(super) ty: TensorType,
    pub(super) quantization: Option<Quantization>,
    pub(super) model_dtype: Option<DType>,
    pub(super) data: Option<Arc<Values>>,
}

/// A kind of tensor that has a text form.
pub trait TextTensor: TensorInfo + Sized {
    /// The ONNX model's element type, where it is another than the stored one.
    fn model_dtype(&self) -> Option<DType>;

    /// The tensor of a statement.
    ///
    /// # Errors
    /// Where this kind of tensor cannot be what the statement says.
    fn from_parts(parts: TensorParts) -> Result<Self, ParseErrorKind>;
}

impl TextTensor for FloatTensor {
    fn model_dtype(&self) -> Option<DType> {
        None
    }

    fn from_parts(parts: TensorParts) -> Result<Self, ParseErrorKind> {
        if parts.quantization.is_some() || parts.model_dtype.is_some() {
            return Err(ParseErrorKind::Unquantized);
        }
        Ok(Self {
            name: parts.name,
            ty: parts.ty,
            data: parts.data,
        })
    }
}

impl TextTensor for QuantTensor {
    fn model_dtype(&self) -> Option<DType> {
        (self.model_dtype != self.ty.dtype).then_some(self.model_dtype)
    }

    fn from_parts(parts: TensorParts) -> Result<Self, ParseErrorKind> {
        Ok(Self {
            name: parts.name,
            model_dtype: parts.model_dtype.unwrap_or(parts.ty.dtype),
            ty: parts.ty,
            quantization: parts.quantization.unwrap_or(Quantization::Plain),
            data: parts.data,
        })
    }
}

/// The graph of a text. The text is not trusted, and the graph is not verified.
///
/// # Errors
/// The first line that is no statement, with the reason.
pub fn parse<T: TextTensor>(text: &str) -> Result<Graph<T>, ParseError> {
    let mut reader = Reader::new();
    // The graphs around a body, outermost first.
    let mut around = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let mut cursor = Cursor::new(line);
        let wrong = |kind| ParseError { line: i + 1, kind };
        match line.trim() {
            "body {" if around.len() < MAX_NESTING => {
                around.push(std::mem::replace(&mut reader, Reader::new()));
            }
            "}" if !around.is_empty() => {
                let body = reader.finish().map_err(wrong)?;
                reader = around.pop().expect("a body stands in a graph");
                reader.graph.bodies.push(body);
            }
            _ if cursor.is_at_end() => {}
            _ => reader.statement(&mut cursor).map_err(wrong)?,
        }
    }
    let line = text.lines().count().max(1);
    if !around.is_empty() {
        let kind = syntax("`}` behind a body", "the end of the text");
        return Err(ParseError { line, kind });
    }
    reader.finish().map_err(|kind| ParseError { line, kind })
}

struct Reader<T> {
    graph: Graph<T>,
    named: bool,
    tensors: HashMap<String, Handle<T>>,
}

impl<T: TextTensor> Reader<T> {
    fn new() -> Self {
        Self {
            graph: Graph::new(""),
            named: false,
            tensors: HashMap::new(),
        }
    }

    fn finish(self) -> Result<Graph<T>, ParseErrorKind> {
        if self.named {
            Ok(self.graph)
        } else {
            Err(ParseErrorKind::NoGraph)
        }
    }

    fn statement(&mut self, line: &mut Cursor<'_>) -> Result<(), ParseErrorKind> {
        if line.starts_with('%') {
            self.node(line)?;
        } else {
            match line.word() {
                "graph" if !self.named => {
                    self.graph.name = line.string()?;
                    self.named = true;
                }
                "note" => {
                    let note = line.string()?;
                    self.graph.notes.push(note);
                }
                "input" => {
                    let parts = line.tensor()?;
                    let input = self.define(parts)?;
                    self.graph.inputs.push(input);
                }
                "const" => {
                    let mut parts = line.tensor()?;
                    line.expect("=")?;
                    parts.data = Some(Arc::new(line.values(&parts.ty)?));
                    self.define(parts)?;
                }
                "output" => {
                    let output = self.tensor(line)?;
                    self.graph.outputs.push(output);
                }
                word => return Err(syntax("a statement", word)),
            }
        }
        if line.is_at_end() {
            Ok(())
        } else {
            Err(line.unexpected("the end of the line"))
        }
    }

    /// `%y: TYPE, … = Operator {…} (%x, …) "name"`
    fn node(&mut self, line: &mut Cursor<'_>) -> Result<(), ParseErrorKind> {
        let mut stated = Vec::new();
        loop {
            let name = line.tensor_name()?;
            let parts = if line.starts_with(':') {
                Some(line.tensor_type(name.clone())?)
            } else {
                None
            };
            stated.push((name, parts));
            if !line.accept(",") {
                break;
            }
        }
        line.expect("=")?;
        let op = line.operator()?;
        let mut inputs = Vec::new();
        line.expect("(")?;
        while !line.accept(")") {
            if !inputs.is_empty() {
                line.expect(",")?;
            }
            inputs.push(self.tensor(line)?);
        }
        let name = if line.starts_with('"') {
            line.string()?
        } else {
            stated[0].0.clone()
        };
        let inferred = if stated.iter().any(|(_, parts)| parts.is_none()) {
            let types: Vec<TensorType> = inputs
                .iter()
                .map(|&input| self.graph.tensors[input].real_type())
                .collect();
            op.output_types(&types.iter().collect::<Vec<_>>())
                .map_err(|error| ParseErrorKind::Inference {
                    reason: error.to_string(),
                })?
        } else {
            Vec::new()
        };
        let mut outputs = Vec::new();
        for (i, (name, parts)) in stated.into_iter().enumerate() {
            let parts = match parts {
                Some(parts) => parts,
                None => TensorParts {
                    name,
                    ty: inferred.get(i).cloned().ok_or(ParseErrorKind::Inference {
                        reason: format!("{} has {} outputs", op.name(), inferred.len()),
                    })?,
                    quantization: None,
                    model_dtype: None,
                    data: None,
                },
            };
            outputs.push(self.define(parts)?);
        }
        self.graph.nodes.push(Node {
            name,
            op,
            inputs,
            outputs,
        });
        Ok(())
    }

    fn define(&mut self, parts: TensorParts) -> Result<Handle<T>, ParseErrorKind> {
        let name = parts.name.clone();
        if self.tensors.contains_key(&name) {
            return Err(ParseErrorKind::Repeated { name });
        }
        let handle = self.graph.tensors.push(T::from_parts(parts)?);
        self.tensors.insert(name, handle);
        Ok(handle)
    }

    fn tensor(&self, line: &mut Cursor<'_>) -> Result<Handle<T>, ParseErrorKind> {
        let name = line.tensor_name()?;
        self.tensors
            .get(&name)
            .copied()
            .ok_or(ParseErrorKind::Unknown { name })
    }
}
