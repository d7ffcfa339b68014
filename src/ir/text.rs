//! The text form of graphs: for tests, for bug reports, for reading.
//!
//! ```text
//! graph "demo"
//! note "dimension `batch` was set to 1"
//! input %x: f32[1,8,8,3]
//! const %w: f32[4,1,1,3] = ramp
//! %y: f32[1,8,8,4] = Conv2d {"window":{…},"groups":1,"clamp":{}} (%x, %w) "conv_1"
//! output %y
//! ```
//!
//! One statement per line; `//` starts a comment. A tensor is named by `%` and its ONNX name, in double quotes where
//! that has more than letters, digits and `_ . / -`. An operator is written as its JSON, left out where it is `{}`,
//! then its inputs, then the node's name. A constant stands before the first node that reads it. Its elements are a
//! list in brackets, or to make fixtures short: `zeros`, `ones`, `full V`, or `ramp`, which is
//! `((7·i) mod 29 − 14) / 8` for reals and `(7·i) mod 29 − 14` for integers (`+ 14` for unsigned ones).
//!
//! Bodies that nodes repeat stand between lines `body {` and `}`, each a graph of its own, in the order of their numbers.
//!
//! The type of a node's output may be left out; it is then inferred. A tensor of a
//! [`QuantGraph`](super::QuantGraph) says after its type what its numbers mean: `scale S zero_point Z`, or
//! `axis A scales […]`; and where the ONNX model has another element type there, `model f32`.
//!
//! Printing with [`Constants::Full`] round-trips: [`parse()`] gives back an equal graph, but for tensors that nothing
//! names.

mod cursor;
mod parse;

use std::fmt::{self, Debug, Display, Write};

use super::{Graph, Handle};
use crate::op::data::with_elements;
use crate::op::quant::Quantization;
use crate::op::tensor::{Data, Values};

pub use parse::{ParseError, ParseErrorKind, TensorParts, TextTensor, parse};

/// How much of a constant is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constants {
    /// Every element.
    Full,
    /// Every element of small constants; of larger ones a hash, the least and the greatest element.
    Summary,
}

/// The elements up to which a summary shows them all.
const SMALL: usize = 16;

/// The text of a graph.
pub fn print<T: TextTensor>(graph: &Graph<T>, constants: Constants) -> String {
    let mut text = String::new();
    write_graph(&mut text, graph, constants).expect("writing to a string does not fail");
    text
}

fn write_graph<T: TextTensor>(text: &mut String, graph: &Graph<T>, constants: Constants) -> fmt::Result {
    writeln!(text, "graph {}", quoted(&graph.name))?;
    for note in &graph.notes {
        writeln!(text, "note {}", quoted(note))?;
    }
    for body in &graph.bodies {
        text.push_str("body {\n");
        write_graph(text, body, constants)?;
        text.push_str("}\n");
    }
    let tensor = |handle: Handle<T>| Typed {
        tensor: &graph.tensors[handle],
        constants,
    };
    for &input in &graph.inputs {
        writeln!(text, "input {}", tensor(input))?;
    }
    let mut written = vec![false; graph.tensors.len()];
    let mut write_constants = |text: &mut String, handles: &[Handle<T>]| {
        for &handle in handles {
            if let Some(data) = graph.tensors[handle].data()
                && !std::mem::replace(&mut written[handle.index()], true)
            {
                write!(text, "const {} = ", tensor(handle))?;
                write_values(text, data, constants)?;
                text.push('\n');
            }
        }
        Ok(())
    };
    for node in &graph.nodes {
        write_constants(text, &node.inputs)?;
        let outputs = list(node.outputs.iter().map(|&output| tensor(output)));
        let inputs = list(node.inputs.iter().map(|&input| Name(graph.tensors[input].name())));
        write!(text, "{outputs} = {}", node.op.name())?;
        let json = serde_json::to_string(&node.op).expect("operators have no map keys but strings");
        // The operator's enum is written as `{"Name":{…}}`.
        let fields = &json[node.op.name().len() + 4..json.len() - 1];
        if fields != "{}" {
            write!(text, " {fields}")?;
        }
        writeln!(text, " ({inputs}) {}", quoted(&node.name))?;
    }
    write_constants(text, &graph.outputs)?;
    for &output in &graph.outputs {
        writeln!(text, "output {}", Name(graph.tensors[output].name()))?;
    }
    Ok(())
}

fn list<D: Display>(items: impl Iterator<Item = D>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a name can stand without quotes.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_./-".contains(c)
}

/// `%name` or `%"name"`.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(is_plain) {
            write!(f, "%{}", self.0)
        } else {
            write!(f, "%{}", quoted(self.0))
        }
    }
}

/// A tensor's name, type and quantization.
struct Typed<'a, T> {
    tensor: &'a T,
    constants: Constants,
}

impl<T: TextTensor> Display for Typed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Name(self.tensor.name()), self.tensor.ty())?;
        match self.tensor.quantization() {
            None | Some(Quantization::Plain) => {}
            Some(Quantization::PerTensor(params)) => {
                write!(f, " scale {:?} zero_point {}", params.scale, params.zero_point)?;
            }
            Some(Quantization::PerChannel { axis, scales }) => {
                write!(f, " axis {axis} scales ")?;
                let values = Values::f32([scales.len()], scales.clone());
                write_values(f, &values, self.constants)?;
            }
            Some(Quantization::PerBlock {
                scales,
                block,
                factors,
            }) => {
                write!(f, " block {block} scales ")?;
                let values = Values::f32([scales.len()], scales.clone());
                write_values(f, &values, self.constants)?;
                f.write_str(" factors ")?;
                let values = Values::new([factors.len()], Data::U8(factors.clone()));
                write_values(f, &values, self.constants)?;
            }
        }
        match self.tensor.model_dtype() {
            Some(dtype) => write!(f, " model {dtype}"),
            None => Ok(()),
        }
    }
}

fn write_values(to: &mut impl Write, values: &Values, constants: Constants) -> fmt::Result {
    if constants == Constants::Full || values.data.len() <= SMALL {
        with_elements!(values.data, v => write_elements(to, v))
    } else {
        let reals = values.to_f64();
        let least = reals.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = reals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        write!(to, "summary {:016x} {least:?} to {greatest:?}", hash(values))
    }
}

fn write_elements(to: &mut impl Write, elements: &[impl Debug]) -> fmt::Result {
    to.write_char('[')?;
    for (i, element) in elements.iter().enumerate() {
        if i > 0 {
            to.write_str(", ")?;
        }
        // `Debug` of a float is the shortest text that reads back as the same float.
        write!(to, "{element:?}")?;
    }
    to.write_char(']')
}

/// FNV-1a over the elements' bytes: tells constants apart in snapshots, nothing more.
fn hash(values: &Values) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325;
    for byte in values.data.to_le_bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    state
}
