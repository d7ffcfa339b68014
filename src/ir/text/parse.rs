//! The reader of the text form.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use super::is_plain;
use crate::ir::{FloatTensor, Graph, Handle, Node, TensorInfo};
use crate::op::Op;
use crate::op::quant::{QuantParams, QuantTensor, Quantization};
use crate::op::tensor::{DType, Data, TensorType, Values};

/// The most elements a tensor of a text may have, so that a short text cannot ask for all memory.
const MAX_ELEMENTS: usize = 1 << 28;

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
    name: String,
    ty: TensorType,
    quantization: Option<Quantization>,
    model_dtype: Option<DType>,
    data: Option<Arc<Values>>,
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
    let mut reader = Reader {
        graph: Graph::new(""),
        named: false,
        tensors: HashMap::new(),
    };
    for (i, line) in text.lines().enumerate() {
        let mut cursor = Cursor { rest: line };
        cursor.skip_blanks();
        if !cursor.rest.is_empty() {
            reader
                .statement(&mut cursor)
                .map_err(|kind| ParseError { line: i + 1, kind })?;
        }
    }
    if reader.named {
        Ok(reader.graph)
    } else {
        Err(ParseError {
            line: text.lines().count().max(1),
            kind: ParseErrorKind::NoGraph,
        })
    }
}

struct Reader<T> {
    graph: Graph<T>,
    named: bool,
    tensors: HashMap<String, Handle<T>>,
}

impl<T: TextTensor> Reader<T> {
    fn statement(&mut self, line: &mut Cursor<'_>) -> Result<(), ParseErrorKind> {
        if line.rest.starts_with('%') {
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
        if line.rest.is_empty() {
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
            let parts = if line.rest.starts_with(':') {
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
        let name = if line.rest.starts_with('"') {
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

fn syntax(wanted: &'static str, found: &str) -> ParseErrorKind {
    ParseErrorKind::Syntax {
        wanted,
        found: found.chars().take(40).collect(),
    }
}

/// What is left of a line; every method eats the blanks behind what it read.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with("//") {
            self.rest = "";
        }
    }

    fn unexpected(&self, wanted: &'static str) -> ParseErrorKind {
        syntax(wanted, self.rest)
    }

    /// Moves on by `bytes`, which end on a character's border, and gives what was passed.
    fn advance(&mut self, bytes: usize) -> &'a str {
        let (passed, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.skip_blanks();
        passed
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len());
        self.advance(end)
    }

    fn accept(&mut self, token: &str) -> bool {
        let found = self.rest.starts_with(token);
        if found {
            self.advance(token.len());
        }
        found
    }

    fn expect(&mut self, token: &'static str) -> Result<(), ParseErrorKind> {
        if self.accept(token) {
            Ok(())
        } else {
            Err(self.unexpected(token))
        }
    }

    fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    fn number<N: FromStr>(&mut self, wanted: &'static str) -> Result<N, ParseErrorKind> {
        let text = self.take_while(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        text.parse().map_err(|_| syntax(wanted, text))
    }

    /// A JSON value, in its serde form.
    fn json(&mut self, wanted: &'static str) -> Result<serde_json::Value, ParseErrorKind> {
        let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter();
        match stream.next() {
            Some(Ok(value)) => {
                let end = stream.byte_offset();
                self.advance(end);
                Ok(value)
            }
            Some(Err(_)) | None => Err(self.unexpected(wanted)),
        }
    }

    fn string(&mut self) -> Result<String, ParseErrorKind> {
        const WANTED: &str = "a text in double quotes";
        if !self.rest.starts_with('"') {
            return Err(self.unexpected(WANTED));
        }
        match self.json(WANTED)? {
            serde_json::Value::String(text) => Ok(text),
            other => Err(syntax(WANTED, &other.to_string())),
        }
    }

    fn tensor_name(&mut self) -> Result<String, ParseErrorKind> {
        const WANTED: &str = "a tensor such as `%x`";
        let Some(rest) = self.rest.strip_prefix('%') else {
            return Err(self.unexpected(WANTED));
        };
        self.rest = rest;
        if rest.starts_with('"') {
            return self.string();
        }
        match self.take_while(is_plain) {
            "" => Err(self.unexpected(WANTED)),
            name => Ok(name.into()),
        }
    }

    fn tensor(&mut self) -> Result<TensorParts, ParseErrorKind> {
        let name = self.tensor_name()?;
        self.tensor_type(name)
    }

    /// `: f32[1,2] scale 0.5 zero_point 3 model f32`, the parts behind the type being optional.
    fn tensor_type(&mut self, name: String) -> Result<TensorParts, ParseErrorKind> {
        self.expect(":")?;
        let dtype = self.dtype()?;
        let shape = self.list("an extent")?;
        let elements = shape
            .iter()
            .try_fold(1usize, |product, &extent: &usize| product.checked_mul(extent));
        if elements.is_none_or(|elements| elements > MAX_ELEMENTS) {
            return Err(ParseErrorKind::TooLarge);
        }
        let quantization = if self.accept("scale ") {
            let scale = self.number("a scale")?;
            self.expect("zero_point ")?;
            let zero_point = self.number("a zero point")?;
            Some(Quantization::PerTensor(QuantParams { scale, zero_point }))
        } else if self.accept("axis ") {
            let axis = self.number("an axis")?;
            self.expect("scales ")?;
            if self.rest.starts_with("summary") {
                return Err(ParseErrorKind::Summary);
            }
            let scales = self.list("a scale")?;
            Some(Quantization::PerChannel { axis, scales })
        } else {
            None
        };
        let model_dtype = if self.accept("model ") {
            Some(self.dtype()?)
        } else {
            None
        };
        Ok(TensorParts {
            name,
            ty: TensorType { shape, dtype },
            quantization,
            model_dtype,
            data: None,
        })
    }

    fn dtype(&mut self) -> Result<DType, ParseErrorKind> {
        Ok(match self.word() {
            "f32" => DType::F32,
            "f64" => DType::F64,
            "i8" => DType::I8,
            "u8" => DType::U8,
            "i16" => DType::I16,
            "i32" => DType::I32,
            "i64" => DType::I64,
            "bool" => DType::Bool,
            word => return Err(syntax("an element type", word)),
        })
    }

    /// `[1, 2, 3]`
    fn list<N: FromStr>(&mut self, wanted: &'static str) -> Result<Vec<N>, ParseErrorKind> {
        self.expect("[")?;
        let mut items = Vec::new();
        while !self.accept("]") {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.number(wanted)?);
        }
        Ok(items)
    }

    fn operator(&mut self) -> Result<Op, ParseErrorKind> {
        let name = self.word();
        let fields = if self.rest.starts_with('{') {
            self.json("an operator's fields in JSON")?
        } else {
            serde_json::Value::Object(serde_json::Map::new())
        };
        let tagged = serde_json::Map::from_iter([(name.to_owned(), fields)]);
        serde_json::from_value(tagged.into()).map_err(|error| ParseErrorKind::Operator {
            reason: error.to_string(),
        })
    }

    /// The elements of a constant of this type.
    fn values(&mut self, ty: &TensorType) -> Result<Values, ParseErrorKind> {
        let data = if self.rest.starts_with('[') {
            self.elements(ty.dtype)?
        } else {
            let (len, signed) = (ty.len(), ty.dtype != DType::U8);
            let reals: Vec<f64> = match self.word() {
                "zeros" => vec![0.0; len],
                "ones" => vec![1.0; len],
                "full" => vec![self.number("a number")?; len],
                "ramp" => {
                    let unit = if ty.dtype.is_float() { 8.0 } else { 1.0 };
                    let shift = if signed { 14 } else { 0 };
                    (0..len as i64)
                        .map(|i| ((7 * i) % 29 - shift) as f64 / unit)
                        .collect()
                }
                "summary" => return Err(ParseErrorKind::Summary),
                word => return Err(syntax("elements, `zeros`, `ones`, `full V` or `ramp`", word)),
            };
            from_reals(ty.dtype, &reals)
        };
        if data.len() == ty.len() {
            Ok(Values::new(ty.shape.clone(), data))
        } else {
            Err(ParseErrorKind::Elements {
                ty: ty.to_string(),
                wanted: ty.len(),
                found: data.len(),
            })
        }
    }

    fn elements(&mut self, dtype: DType) -> Result<Data, ParseErrorKind> {
        Ok(match dtype {
            DType::F32 => Data::F32(self.list("an f32")?),
            DType::F64 => Data::F64(self.list("an f64")?),
            DType::I8 => Data::I8(self.list("an i8")?),
            DType::U8 => Data::U8(self.list("a u8")?),
            DType::I16 => Data::I16(self.list("an i16")?),
            DType::I32 => Data::I32(self.list("an i32")?),
            DType::I64 => Data::I64(self.list("an i64")?),
            DType::Bool => Data::Bool(self.list("true or false")?),
        })
    }
}

/// The reals in another element type; what does not fit saturates.
fn from_reals(dtype: DType, reals: &[f64]) -> Data {
    match dtype {
        DType::F32 => Data::F32(reals.iter().map(|&x| x as f32).collect()),
        DType::F64 => Data::F64(reals.to_vec()),
        DType::I8 => Data::I8(reals.iter().map(|&x| x as i8).collect()),
        DType::U8 => Data::U8(reals.iter().map(|&x| x as u8).collect()),
        DType::I16 => Data::I16(reals.iter().map(|&x| x as i16).collect()),
        DType::I32 => Data::I32(reals.iter().map(|&x| x as i32).collect()),
        DType::I64 => Data::I64(reals.iter().map(|&x| x as i64).collect()),
        DType::Bool => Data::Bool(reals.iter().map(|&x| x != 0.0).collect()),
    }
}
